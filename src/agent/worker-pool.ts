/**
 * The worker threads of a node: one never-ending Piscina task each. A task that fails is started again on a live thread
 * with the same tables and devices, so a crash costs the packets of one batch.
 */
import { randomInt } from 'node:crypto';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { Piscina } from 'piscina';
import { releaseLocksOf } from '../../native-free-dataplane/conntrack/lifetime.ts';
import type { Conntrack } from '../../native-free-dataplane/conntrack/record.ts';
import type { Features } from '../../native-free-dataplane/dataplane.ts';
import { type FragmentTable, releaseFragmentLock } from '../../native-free-dataplane/fragments/table.ts';
import { monotonicMs } from '../linux/clock.ts';
import { close, eventfd, mapPrivate, SystemError, write } from '../linux/ffi.ts';
import { openShared } from '../linux/shm.ts';
import { unlinkShared } from '../linux/shm-files.ts';
import {
  ControlWord,
  controlAt,
  controlBytes,
  createControl,
  THREAD_STATE_NAMES,
  ThreadState,
} from '../worker/control.ts';
import type { NumberedChange, PortChange, PortOfWorker, TunnelOfWorker, WorkerTask } from '../worker/messages.ts';

const EFD_NONBLOCK_CLOEXEC = 0o4000 | 0o2000000;
/** Delay before a crashed worker is restarted: none at first, doubled while it keeps crashing. */
const FIRST_RESTART_MS = 5;
const LAST_RESTART_MS = 2000;
/** A worker that has run for this long is restarted without delay after a crash. */
const STEADY_MS = 10_000;
const STOP_TIMEOUT_MS = 2000;
/** Workers run a batch at least once a second, even when idle; one that has not for this long is hung. */
const STALL_MS = 5000;
const WATCH_MS = 1000;
/** How long a worker may take to apply a change before it counts as hung. */
const CHANGE_TIMEOUT_MS = 5000;

/** What the workers are started with. */
export interface WorkerPoolOptions {
  readonly workers: number;
  readonly tables: WorkerTask['tables'];
  readonly features: Features;
  readonly conntrack: Conntrack;
  readonly fragments: FragmentTable;
  /** Called when a worker has crashed and will be restarted. */
  readonly onCrash?: (worker: number, error: Error) => void;
  /**
   * Called once when a worker has had no batch for `stalledMs`, and again if it hangs another time. A thread inside a
   * system call or an endless loop can only be ended with its process: the caller decides what to do.
   */
  readonly onStall?: (worker: number, stalledMs: number) => void;
  /** The overlay's raw socket, if it has one; `drain` is called when a worker has added a packet to its empty ring. */
  readonly tunnel?: { readonly ofWorkers: readonly TunnelOfWorker[]; drain(worker: number): void } | undefined;
  /** Module that the threads run; default: the real worker. */
  readonly entry?: URL;
}

interface Thread {
  readonly wakeFd: number;
  messages: MessagePort;
  readonly ports: Map<number, PortOfWorker>;
  /** Number of the last change sent to it. */
  changesSent: number;
  startedAt: number;
  backoffMs: number;
  stalled: boolean;
}

/** Starts, restarts and stops the workers, and sends them changes of their ports. */
export class WorkerPool {
  readonly control: Int32Array;
  private readonly options: WorkerPoolOptions;
  private readonly pool: Piscina;
  private readonly threads: Thread[] = [];
  private readonly one: { address: number };
  private readonly running: Promise<void>[] = [];
  private readonly watchdog: NodeJS.Timeout;
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
      filename: (options.entry ?? new URL('../worker/main.js', import.meta.url)).href,
      minThreads: options.workers,
      maxThreads: options.workers,
      concurrentTasksPerWorker: 1,
      idleTimeout: Number.POSITIVE_INFINITY,
    });
    for (let worker = 0; worker < options.workers; worker++) {
      const wakeFd = eventfd(0, EFD_NONBLOCK_CLOEXEC);
      if (wakeFd < 0) throw new SystemError('eventfd', '');
      const { port1 } = new MessageChannel();
      const ports = new Map<number, PortOfWorker>();
      this.threads.push({ wakeFd, messages: port1, ports, changesSent: 0, startedAt: 0, backoffMs: 0, stalled: false });
    }
    this.watchdog = setInterval(() => this.lookForStalls(), WATCH_MS).unref();
  }

  /** Start the threads; resolves when all of them are in their loops. */
  async start(): Promise<void> {
    for (let worker = 0; worker < this.options.workers; worker++) this.running.push(this.keep(worker));
    for (let waited = 0; waited < 10_000; waited += 5) {
      if (this.threads.every((_, worker) => this.isLooping(worker))) return;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    throw new Error('the forwarding threads did not start within 10 s');
  }

  /** ThreadState of a worker. */
  state(worker: number): number {
    return Atomics.load(this.control, controlAt(worker, ControlWord.STATE));
  }

  /** State and restarts of all workers. */
  states(): { state: string; restarts: number }[] {
    return this.threads.map((_, worker) => ({
      state: THREAD_STATE_NAMES[this.state(worker)] ?? 'absent',
      restarts: this.control[controlAt(worker, ControlWord.RESTARTS)] ?? 0,
    }));
  }

  /** Are all workers forwarding? */
  isHealthy(): boolean {
    return this.threads.every(({ stalled }, worker) => !stalled && this.isLooping(worker));
  }

  private isLooping(worker: number): boolean {
    const state = this.state(worker);
    return state === ThreadState.RUNNING || state === ThreadState.SLEEPING;
  }

  /** Give every worker its queue of a device. @param fds one per worker */
  addPort(index: number, fds: readonly number[], headerBytes: number): void {
    this.threads.forEach((thread, worker) => {
      const fd = fds[worker];
      if (fd === undefined) throw new RangeError(`port ${index}: no queue for worker ${worker}`);
      const port = { index, fd, headerBytes };
      thread.ports.set(index, port);
      this.send(thread, { kind: 'add', ...port });
    });
  }

  /**
   * Remove a device from all workers. The caller may close its descriptors when the promise resolves.
   * @throws Error if a worker hangs: the descriptors must stay open then, or it might use their numbers for other files
   */
  async removePort(index: number): Promise<void> {
    const numbers = this.threads.map((thread) => {
      thread.ports.delete(index);
      return this.send(thread, { kind: 'remove', index });
    });
    const done = (worker: number): boolean => {
      // A thread that is not running takes its ports from the map when it starts, and this one is no longer in it.
      if (!this.isLooping(worker) && this.state(worker) !== ThreadState.STARTING) return true;
      return (
        ((Atomics.load(this.control, controlAt(worker, ControlWord.CHANGES_DONE)) - (numbers[worker] ?? 0)) | 0) >= 0
      );
    };
    const end = monotonicMs() + CHANGE_TIMEOUT_MS;
    for (let pauseMs = 0; !this.threads.every((_, worker) => done(worker)); pauseMs = Math.min(pauseMs + 1, 20)) {
      if (monotonicMs() > end) throw new Error(`port ${index}: a forwarding thread does not release it`);
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }

  /** Make a worker throw at its next batch, to test its restart. */
  crash(worker: number): void {
    Atomics.store(this.control, controlAt(worker, ControlWord.CRASH), 1);
    this.wake(this.threads[worker] as Thread);
  }

  /** Stop all threads; resolves when they have left their loops. */
  async stop(): Promise<void> {
    this.stopping = true;
    clearInterval(this.watchdog);
    this.threads.forEach((thread, worker) => {
      Atomics.store(this.control, controlAt(worker, ControlWord.STOP), 1);
      this.wake(thread);
    });
    let late = false;
    const timeout = new Promise<void>((resolve) => {
      setTimeout(() => {
        late = true;
        resolve();
      }, STOP_TIMEOUT_MS).unref();
    });
    await Promise.race([Promise.allSettled(this.running), timeout]);
    await Promise.race([this.pool.destroy(), timeout]);
    for (const thread of this.threads) {
      thread.messages.close();
      // A hung thread still uses the number of its eventfd.
      if (!late) close(thread.wakeFd);
    }
  }

  /** @returns the change's number */
  private send(thread: Thread, change: PortChange): number {
    thread.changesSent = (thread.changesSent + 1) | 0;
    const message: NumberedChange = { number: thread.changesSent, change };
    thread.messages.postMessage(message);
    this.wake(thread);
    return thread.changesSent;
  }

  private wake(thread: Thread): void {
    write(thread.wakeFd, this.one.address, 8);
  }

  /** Run a worker, and restart it when it fails. */
  private async keep(worker: number): Promise<void> {
    const thread = this.threads[worker] as Thread;
    while (!this.stopping) {
      const { port1, port2 } = new MessageChannel();
      thread.messages = port1;
      port1.on('message', () => this.options.tunnel?.drain(worker));
      port1.unref();
      thread.startedAt = Date.now();
      Atomics.store(this.control, controlAt(worker, ControlWord.STATE), ThreadState.STARTING);
      const task: WorkerTask = {
        worker,
        seed: randomInt(1, 2 ** 31),
        tables: this.options.tables,
        features: this.options.features,
        ports: [...thread.ports.values()],
        changesDone: thread.changesSent,
        wakeFd: thread.wakeFd,
        ...(this.options.tunnel && { tunnel: this.options.tunnel.ofWorkers[worker]! }),
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
    Atomics.store(control, controlAt(worker, ControlWord.CRASHED_MS), monotonicMs() | 0);
    Atomics.add(control, controlAt(worker, ControlWord.RESTARTS), 1);
    releaseLocksOf(this.options.conntrack, worker);
    releaseFragmentLock(this.options.fragments, worker);
    const steady = Date.now() - thread.startedAt > STEADY_MS;
    thread.backoffMs =
      steady || thread.backoffMs === 0 ? FIRST_RESTART_MS : Math.min(thread.backoffMs * 2, LAST_RESTART_MS);
    // It may have crashed between filling its ring and announcing it.
    this.options.tunnel?.drain(worker);
    this.options.onCrash?.(worker, error);
  }

  private lookForStalls(): void {
    const now = monotonicMs() | 0;
    this.threads.forEach((thread, worker) => {
      const silentMs = (now - Atomics.load(this.control, controlAt(worker, ControlWord.HEARTBEAT_MS))) | 0;
      const stalled = this.isLooping(worker) && silentMs > STALL_MS;
      if (stalled && !thread.stalled) this.options.onStall?.(worker, silentMs);
      thread.stalled = stalled;
    });
  }
}
