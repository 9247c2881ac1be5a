/**
 * The worker threads of a node: one never-ending Piscina task each. A worker that throws or hangs is replaced within 200 ms
 * by a thread that is already running, over the same tables and devices. Before that, whatever it left half-written is
 * repaired while the other workers pause (conntrack/recovery.ts).
 *
 * A hung thread is terminated. V8 does that at the thread's next loop or call; a thread inside a system call, or stopped by
 * a debugger, continues until then. Until it has ended, descriptors that it may use stay open.
 */
import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { MessageChannel, type Worker } from 'node:worker_threads';
import { Piscina } from 'piscina';
import { releaseLocksOf } from '../../native-free-dataplane/conntrack/lifetime.ts';
import type { Conntrack } from '../../native-free-dataplane/conntrack/record.ts';
import { repairConntrack } from '../../native-free-dataplane/conntrack/recovery.ts';
import type { Features } from '../../native-free-dataplane/dataplane.ts';
import { type FragmentTable, releaseFragmentLock } from '../../native-free-dataplane/fragments/table.ts';
import { monotonicMs } from '../linux/clock.ts';
import { close, mapPrivate, write } from '../linux/ffi.ts';
import { openShared } from '../linux/shm.ts';
import { unlinkShared } from '../linux/shm-files.ts';
import type { Tap } from '../linux/tap.ts';
import {
  ControlWord,
  controlAt,
  controlBytes,
  createControl,
  isLooping,
  THREAD_STATE_NAMES,
  ThreadState,
} from '../worker/control.ts';
import { raiseInliningLimits } from '../worker/inlining.ts';
import {
  FAILED_MESSAGE,
  type NumberedChange,
  type PortChange,
  type TunnelOfWorker,
  type WorkerTask,
} from '../worker/messages.ts';
import { LOOK_MS, SLEEPER_LOOKS } from './hang-detector.ts';
import { newThread, type Thread } from './pool-thread.ts';
import { Rehearsal } from './rehearsal.ts';
import type { PortFollower } from './standby.ts';

/** Delay before a crashed worker is replaced: none at first, doubled while it keeps crashing. */
const FIRST_RESTART_MS = 5;
const LAST_RESTART_MS = 2000;
/** A worker that has run for this long is replaced without delay after a crash. */
const STEADY_MS = 10_000;
const STOP_TIMEOUT_MS = 2000;
const START_LOOK_MS = 2;
/** How long a worker may take to apply a change. */
const CHANGE_TIMEOUT_MS = 5000;
/** How long a repair waits for a terminated thread to end. */
const END_TIMEOUT_MS = 50;
/** A worker that is replaced within this time does not make the node not Ready. */
const GRACE_MS = 200;
/** A worker that has failed this often within STEADY_MS does not count as forwarding, even while it runs. */
const UNSTEADY_FAILURES = 3;

/** What the workers are started with. */
export interface WorkerPoolOptions {
  readonly workers: number;
  readonly tables: WorkerTask['tables'];
  readonly features: Features;
  readonly conntrack: Conntrack;
  readonly fragments: FragmentTable;
  /** Called when a worker has thrown or was found to hang, and will be replaced. */
  readonly onCrash?: (worker: number, error: Error) => void;
  /** Called when `obstacle` has changed. */
  readonly onHealth?: () => void;
  /** Number, used by no port, under which a second device of a port is polled. */
  readonly furtherSlot: number;
  /** Is sent every device too (standby.ts). */
  readonly standby?: PortFollower | undefined;
  /** The overlay's raw socket, if it has one; `drain` is called when a worker has added a packet to its empty ring. */
  readonly tunnel?: { readonly ofWorkers: readonly TunnelOfWorker[]; drain(worker: number): void } | undefined;
  /** Module that the threads run; default: the real worker. */
  readonly entry?: URL;
}

/** Starts, replaces and stops the workers, and sends them changes of their ports. */
export class WorkerPool {
  readonly control: Int32Array;
  private readonly options: WorkerPoolOptions;
  private readonly pool: Piscina;
  private readonly threads: Thread[] = [];
  /** Threads that were terminated and have not ended yet. */
  private readonly ending = new Set<Worker>();
  private readonly one: { address: number };
  private readonly running: Promise<void>[] = [];
  private watchdog: NodeJS.Timeout | undefined;
  private readonly rehearsal: Rehearsal;
  /** Ends when the last repair is done: they happen one at a time. */
  private repaired: Promise<void> = Promise.resolve();
  private lastObstacle: string | undefined;
  private stopping = false;
  /** Do the threads pause when they have started? */
  private held = false;

  constructor(options: WorkerPoolOptions) {
    this.options = options;
    unlinkShared(options.tables.control);
    const bytes = controlBytes(options.workers);
    this.control = createControl(openShared(options.tables.control, { bytes, create: true }).buffer);
    const memory = mapPrivate(4096);
    new DataView(memory.buffer).setBigUint64(0, 1n, true);
    this.one = memory;
    raiseInliningLimits();
    // One thread more than workers: it has loaded the code, so that replacing a hung worker takes no start of a thread.
    const threads = options.workers + 1;
    this.pool = new Piscina({
      filename: (options.entry ?? new URL('../worker/main.js', import.meta.url)).href,
      minThreads: threads,
      maxThreads: threads,
      concurrentTasksPerWorker: 1,
      idleTimeout: Number.POSITIVE_INFINITY,
      // Packets allocate nothing.
      resourceLimits: { maxYoungGenerationSizeMb: 1 },
    });
    for (let worker = 0; worker < options.workers; worker++) this.threads.push(newThread());
    const { tables, features } = options;
    this.rehearsal = new Rehearsal(this.pool, { tables, features, wakeFd: this.threads[0]!.wakeFd });
  }

  /**
   * Start the threads; resolves when all of them are in their loops.
   * @param takeOver called when all are ready to begin, to stop whatever uses the tables until then
   */
  async start(takeOver?: () => void): Promise<void> {
    this.held = takeOver !== undefined;
    for (let worker = 0; worker < this.options.workers; worker++) this.running.push(this.keep(worker));
    if (takeOver !== undefined) {
      await this.whenAll((state) => state === ThreadState.PAUSED);
      takeOver();
      this.held = false;
      for (const [worker, { run }] of this.threads.entries()) this.order(worker, run);
    }
    await this.whenAll(isLooping);
    this.lookAfter(1);
    this.rehearsal.soon();
  }

  /** @throws Error if not all workers get to such a state within 10 s */
  private async whenAll(isThere: (state: number) => boolean): Promise<void> {
    for (let waited = 0; waited < 10_000; waited += START_LOOK_MS) {
      if (this.threads.every((_, worker) => isThere(this.state(worker)))) return;
      await sleep(START_LOOK_MS);
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

  /** Why the node does not forward as it should; undefined if it does, or if the replacement has only just begun. */
  get obstacle(): string | undefined {
    const nowMs = monotonicMs();
    for (const [worker, { failures, absentSinceMs }] of this.threads.entries()) {
      if (absentSinceMs !== undefined && nowMs - absentSinceMs > GRACE_MS) return `worker ${worker} does not forward`;
      if (failures.filter((atMs) => nowMs - atMs < STEADY_MS).length >= UNSTEADY_FAILURES)
        return `worker ${worker} fails again and again`;
    }
    return undefined;
  }

  /** Are all workers forwarding? */
  isHealthy(): boolean {
    return this.obstacle === undefined && this.threads.every((_, worker) => this.isLooping(worker));
  }

  private isLooping(worker: number): boolean {
    return isLooping(this.state(worker));
  }

  /** Give every worker its queue of a device. @param netnsPath where the device is; undefined: in this namespace */
  addPort(index: number, tap: Tap, netnsPath?: string): void {
    this.addDevice(index, index, tap, netnsPath);
  }

  /** The same for a device whose frames count as those of port `index`, which has another device already. */
  addFurtherDevice(index: number, tap: Tap): void {
    this.addDevice(index, this.options.furtherSlot, tap);
  }

  private addDevice(index: number, slot: number, tap: Tap, netnsPath?: string): void {
    const { fds, headerBytes } = tap;
    this.threads.forEach((thread, worker) => {
      const fd = fds[worker];
      if (fd === undefined) throw new RangeError(`port ${index}: no queue for worker ${worker}`);
      const port = { index, slot, fd, headerBytes };
      thread.ports.set(slot, port);
      this.send(thread, { kind: 'add', ...port });
    });
    const { fds: _, ...device } = tap;
    this.options.standby?.add({ ...device, index, slot, netnsPath }, fds);
  }

  /**
   * Remove a device from all workers. The caller may close its descriptors when the promise resolves.
   * @throws Error if a thread may still use the device: the descriptors must stay open then, or it might use their numbers
   *   for other files
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
    const isDone = () => this.ending.size === 0 && this.threads.every((_, worker) => done(worker));
    for (let pauseMs = 0; !isDone(); pauseMs = Math.min(pauseMs + 1, 20)) {
      if (monotonicMs() > end) throw new Error(`port ${index}: a forwarding thread does not release it`);
      await sleep(pauseMs);
    }
    await this.options.standby?.remove(index);
  }

  /** Stop all threads; resolves when they have left their loops. */
  async stop(): Promise<void> {
    this.stopping = true;
    clearTimeout(this.watchdog);
    this.rehearsal.stop();
    for (const [worker, thread] of this.threads.entries()) {
      thread.detector.close();
      this.order(worker, 0);
    }
    let late = false;
    const timeout = sleep(STOP_TIMEOUT_MS, undefined, { ref: false }).then(() => {
      late = true;
    });
    await Promise.race([Promise.allSettled(this.running), timeout]);
    if (!late && this.ending.size === 0) this.options.standby?.forward();
    await Promise.race([this.pool.destroy(), timeout]);
    for (const thread of this.threads) {
      thread.messages.close();
      // A hung thread still uses the number of its eventfd.
      if (!late && this.ending.size === 0) close(thread.wakeFd);
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

  /** Store what a worker is to do (ControlWord.RUN). */
  private order(worker: number, order: number): void {
    Atomics.store(this.control, controlAt(worker, ControlWord.RUN), order);
    this.wake(this.threads[worker] as Thread);
  }

  /** Run a worker, and replace it when it fails. */
  private async keep(worker: number): Promise<void> {
    const thread = this.threads[worker] as Thread;
    while (!this.stopping) {
      const { port1, port2 } = new MessageChannel();
      thread.messages = port1;
      const threw = new Promise<true>((resolve) => {
        port1.on('message', (message) =>
          message === FAILED_MESSAGE ? resolve(true) : this.options.tunnel?.drain(worker),
        );
      });
      port1.unref();
      thread.startedMs = monotonicMs();
      thread.run++;
      thread.abort = new AbortController();
      Atomics.store(this.control, controlAt(worker, ControlWord.STATE), ThreadState.STARTING);
      this.order(worker, this.held ? -thread.run : thread.run);
      const task: WorkerTask = {
        worker,
        run: thread.run,
        seed: randomInt(1, 2 ** 31),
        tables: this.options.tables,
        features: this.options.features,
        ports: [...thread.ports.values()],
        changesDone: thread.changesSent,
        wakeFd: thread.wakeFd,
        warmsUp: this.held,
        ...(this.options.tunnel && { tunnel: this.options.tunnel.ofWorkers[worker]! }),
        messages: port2,
      };
      const { signal } = thread.abort;
      const error = this.pool.run(task, { transferList: [port2], signal }).then(
        () => undefined,
        (error: Error) => (signal.aborted ? (signal.reason as Error) : error),
      );
      const hasFailed = await Promise.race([threw, error.then((error) => error !== undefined)]);
      if (this.stopping) return;
      if (!hasFailed) continue;
      await this.failed(worker, thread, error);
      await sleep(thread.backoffMs);
    }
  }

  /** @param reason arrives later than the news of the failure */
  private async failed(worker: number, thread: Thread, reason: Promise<Error | undefined>): Promise<void> {
    const { control } = this;
    const nowMs = monotonicMs();
    Atomics.store(control, controlAt(worker, ControlWord.STATE), ThreadState.CRASHED);
    Atomics.store(control, controlAt(worker, ControlWord.CRASHED_MS), nowMs | 0);
    Atomics.add(control, controlAt(worker, ControlWord.RESTARTS), 1);
    thread.absentSinceMs ??= nowMs;
    thread.failures = [...thread.failures.filter((atMs) => nowMs - atMs < STEADY_MS), nowMs];
    const steady = nowMs - thread.startedMs > STEADY_MS;
    thread.backoffMs =
      steady || thread.backoffMs === 0 ? FIRST_RESTART_MS : Math.min(thread.backoffMs * 2, LAST_RESTART_MS);
    this.repaired = this.repaired.then(() => this.repair(worker));
    await this.repaired;
    // It may have failed between filling its ring and announcing it.
    this.options.tunnel?.drain(worker);
    reason.then((error) => error && this.options.onCrash?.(worker, error));
    this.rehearsal.soon();
  }

  /** Repair the tables after a worker's failure, while the others pause between two batches. */
  private async repair(failed: number): Promise<void> {
    const { conntrack, fragments, workers } = this.options;
    const others = this.threads.map((_, worker) => worker).filter((worker) => worker !== failed);
    for (const worker of others) this.order(worker, -(this.threads[worker] as Thread).run);
    // A worker that waits for a lock of the failed one has to end its turn before it pauses.
    releaseLocksOf(conntrack, failed);
    releaseFragmentLock(fragments, failed);
    const end = monotonicMs() + END_TIMEOUT_MS;
    const isEnding = () => this.ending.size > 0 && monotonicMs() < end;
    // Without a limit for the others: one that hangs as well is found by the watchdog.
    while (!this.stopping && (isEnding() || others.some((worker) => this.isLooping(worker)))) await sleep(1);
    if (this.stopping) return;
    repairConntrack(conntrack, monotonicMs(), workers);
    for (const worker of others) this.order(worker, (this.threads[worker] as Thread).run);
  }

  /** Schedule the watchdog's next round. An idle node is looked at as rarely as a sleeping thread has to be. */
  private lookAfter(looks: number): void {
    this.watchdog = setTimeout(() => {
      this.look(looks);
      const allSleep = this.threads.every((_, worker) => this.state(worker) === ThreadState.SLEEPING);
      this.lookAfter(allSleep ? SLEEPER_LOOKS : 1);
    }, looks * LOOK_MS).unref();
  }

  /** One round of the watchdog. @param looks of LOOK_MS since the last one */
  private look(looks: number): void {
    const { control } = this;
    const nowMs = monotonicMs();
    for (const [worker, thread] of this.threads.entries()) {
      const state = this.state(worker);
      if (!isLooping(state)) {
        if (state !== ThreadState.PAUSED) thread.absentSinceMs ??= nowMs;
        continue;
      }
      thread.absentSinceMs = undefined;
      const word = (name: number): number => Atomics.load(control, controlAt(worker, name));
      const sleeping = state === ThreadState.SLEEPING;
      const sample = { thread: word(ControlWord.THREAD), turns: word(ControlWord.TURNS), sleeping };
      const why = thread.detector.look(sample, looks);
      if (why !== undefined) this.terminate(worker, thread, why);
    }
    const { obstacle } = this;
    if (obstacle === this.lastObstacle) return;
    this.lastObstacle = obstacle;
    this.options.onHealth?.();
  }

  private terminate(worker: number, thread: Thread, why: string): void {
    const id = Atomics.load(this.control, controlAt(worker, ControlWord.NODE_THREAD));
    const ending = this.pool.threads.find(({ threadId }) => threadId === id);
    if (ending !== undefined) {
      this.ending.add(ending);
      ending.once('exit', () => this.ending.delete(ending));
    }
    // Should it go on after all, it leaves its loop: the number is no longer its own.
    Atomics.store(this.control, controlAt(worker, ControlWord.RUN), 0);
    thread.abort.abort(new Error(`it ${why}`));
  }
}
