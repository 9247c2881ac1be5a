/**
 * The forwarding threads of a node: one never-ending Piscina task each. A task that fails is run again on a live
 * thread with the same tables and the same devices, so a crash costs the packets of one batch.
 */
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { Piscina } from 'piscina';
import type { Features } from '../../native-free-dataplane/dataplane.ts';
import type { Conntrack } from '../../native-free-dataplane/tables/conntrack.ts';
import { releaseLocksOf } from '../../native-free-dataplane/tables/conntrack-lifetime.ts';
import { SystemError, close, eventfd, write } from '../linux/ffi.ts';
import { openShared, unlinkShared } from '../linux/shm.ts';
import { mapPrivate } from '../linux/ffi.ts';
import { ControlWord, ThreadState, controlAt, controlBytes, createControl } from '../worker/control.ts';
import type { PortChange, PortOfWorker, WorkerTask } from '../worker/messages.ts';

const EFD_NONBLOCK_CLOEXEC = 0o4000 | 0o2000000;
/** Wait before a crashed worker is started again: none at first, doubled while it keeps crashing. */
const FIRST_RESTART_MS = 5;
const LAST_RESTART_MS = 2000;
/** A worker that ran so long is believed to be well again. */
const STEADY_MS = 10_000;
const STOP_TIMEOUT_MS = 2000;

export interface WorkerPoolOptions {
  readonly workers: number;
  readonly tables: WorkerTask['tables'];
  readonly features: Features;
  readonly conntrack: Conntrack;
  /** Called when a worker crashed and will be started again. */
  readonly onCrash?: (worker: number, error: Error) => void;
}

interface Thread {
  readonly wakeFd: number;
  messages: MessagePort;
  readonly ports: Map<number, PortOfWorker>;
  startedAt: number;
  backoffMs: number;
}

export class WorkerPool {
  readonly control: Int32Array;
  private readonly options: WorkerPoolOptions;
  private readonly pool: Piscina;
  private readonly threads: Thread[] = [];
  private readonly one: { address: number };
  private readonly running: Promise<void>[] = [];
  private stopping = false;

  constructor(options: WorkerPoolOptions) {
    this.options = options;
    unlinkShared(options.tables.control);
    const bytes = controlBytes(options.workers);
    this.control = createControl(openShared(options.tables.control, { bytes, create: true }).buffer);
    const memory = mapPrivate(4096);
    new DataView(memory.buffer).setBigUint64(0, 1n, true);
    this.one = memory;
    this.pool = new Piscina({
      filename: new URL('../worker/main.js', import.meta.url).href,
      minThreads: options.workers,
      maxThreads: options.workers,
      concurrentTasksPerWorker: 1,
      idleTimeout: Number.POSITIVE_INFINITY,
    });
    for (let worker = 0; worker < options.workers; worker++) {
      const wakeFd = eventfd(0, EFD_NONBLOCK_CLOEXEC);
      if (wakeFd < 0) throw new SystemError('eventfd', '');
      const { port1 } = new MessageChannel();
      this.threads.push({ wakeFd, messages: port1, ports: new Map(), startedAt: 0, backoffMs: 0 });
    }
  }

  /** Start the threads; resolves when all of them are in their loop. */
  async start(): Promise<void> {
    for (let worker = 0; worker < this.options.workers; worker++) this.running.push(this.keep(worker));
    for (let waited = 0; waited < 10_000; waited += 5) {
      if (this.threads.every((_, worker) => this.state(worker) !== ThreadState.ABSENT)) return;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    throw new Error('the forwarding threads did not start within 10 s');
  }

  /** ThreadState of a worker. */
  state(worker: number): number {
    return Atomics.load(this.control, controlAt(worker, ControlWord.STATE));
  }

  /** Give every worker its queue of a device. @param fds one for each worker */
  addPort(index: number, fds: readonly number[], headerBytes: number): void {
    this.threads.forEach((thread, worker) => {
      const fd = fds[worker];
      if (fd === undefined) throw new RangeError(`port ${index}: no queue for worker ${worker}`);
      const port = { index, fd, headerBytes };
      thread.ports.set(index, port);
      this.tell(thread, { kind: 'add', ...port });
    });
  }

  /** Take a device from all workers. The caller may close its descriptors when the promise resolves. */
  async removePort(index: number): Promise<void> {
    for (const thread of this.threads) {
      thread.ports.delete(index);
      this.tell(thread, { kind: 'remove', index });
    }
    await this.nextBatch();
  }

  /** Resolves when every worker has finished what it was doing when this was called; bounded at 200 ms. */
  private async nextBatch(): Promise<void> {
    const at = (worker: number): number => controlAt(worker, ControlWord.BATCHES);
    const before = this.threads.map((_, worker) => Atomics.load(this.control, at(worker)));
    for (const thread of this.threads) this.wake(thread);
    for (let waited = 0; waited < 200; waited += 2) {
      await new Promise((resolve) => setTimeout(resolve, 2));
      if (this.threads.every((_, worker) => ((Atomics.load(this.control, at(worker)) - (before[worker] ?? 0)) | 0) >= 2)) return;
      for (const thread of this.threads) this.wake(thread);
    }
  }

  /** Stop all threads; resolves when they have left their loops. */
  async stop(): Promise<void> {
    this.stopping = true;
    this.threads.forEach((thread, worker) => {
      Atomics.store(this.control, controlAt(worker, ControlWord.STOP), 1);
      this.wake(thread);
    });
    const timeout = new Promise<void>((resolve) => setTimeout(resolve, STOP_TIMEOUT_MS).unref());
    await Promise.race([Promise.allSettled(this.running).then(() => undefined), timeout]);
    await Promise.race([this.pool.destroy(), timeout]);
    for (const thread of this.threads) {
      thread.messages.close();
      close(thread.wakeFd);
    }
  }

  private tell(thread: Thread, change: PortChange): void {
    thread.messages.postMessage(change);
    this.wake(thread);
  }

  private wake(thread: Thread): void {
    write(thread.wakeFd, this.one.address, 8);
  }

  /** Run a worker, and again when it fails. */
  private async keep(worker: number): Promise<void> {
    const thread = this.threads[worker] as Thread;
    while (!this.stopping) {
      const { port1, port2 } = new MessageChannel();
      thread.messages = port1;
      port1.unref();
      thread.startedAt = Date.now();
      const task: WorkerTask = {
        worker,
        seed: (Date.now() & 0x7fffffff) ^ Math.imul(worker + 1, 0x9e3779b1),
        tables: this.options.tables,
        features: this.options.features,
        ports: [...thread.ports.values()],
        wakeFd: thread.wakeFd,
        messages: port2,
      };
      try {
        await this.pool.run(task, { transferList: [port2] });
      } catch (error) {
        if (this.stopping) return;
        this.crashed(worker, thread, error as Error);
        await new Promise((resolve) => setTimeout(resolve, thread.backoffMs));
      }
    }
  }

  private crashed(worker: number, thread: Thread, error: Error): void {
    const { control } = this;
    Atomics.store(control, controlAt(worker, ControlWord.STATE), ThreadState.CRASHED);
    Atomics.add(control, controlAt(worker, ControlWord.RESTARTS), 1);
    releaseLocksOf(this.options.conntrack, worker);
    const steady = Date.now() - thread.startedAt > STEADY_MS;
    thread.backoffMs = steady || thread.backoffMs === 0 ? FIRST_RESTART_MS : Math.min(thread.backoffMs * 2, LAST_RESTART_MS);
    this.options.onCrash?.(worker, error);
  }
}
