/**
 * The standby's only thread as a worker of the node: one forwarder for all queues of all devices, over the tables that the
 * agent has left. Which thread reads a queue matters for speed only.
 */
import { MessageChannel } from 'node:worker_threads';
import { recordAt, recordsUsed } from '../../native-free-dataplane/conntrack/record.ts';
import { repairConntrack } from '../../native-free-dataplane/conntrack/recovery.ts';
import type { Dataplane } from '../../native-free-dataplane/dataplane.ts';
import { releaseFragmentLock } from '../../native-free-dataplane/fragments/table.ts';
import * as pipeline from '../../native-free-dataplane/pipeline.ts';
import { MAX_WORKERS } from '../../native-free-dataplane/shared/layout.ts';
import { monotonicMs } from '../linux/clock.ts';
import { DeathWatch } from '../linux/robust-lock.ts';
import { openShared, type SharedMemory } from '../linux/shm.ts';
import { ControlWord, controlAt, Failure, LIFE_LOCK_AT, ThreadState } from '../worker/control.ts';
import { Forwarder } from '../worker/forwarder.ts';
import { type HeldDevice, slotOf, type Watched } from './messages.ts';

/** The worker whose place it takes. */
const WORKER = 0;
/** Number of its task (ControlWord.RUN). */
const RUN = 1;
/** Second and further queues of a device are polled under numbers above those of all ports. */
const QUEUE_STRIDE = 4096;
/** How often to look whether the node still exists, milliseconds. */
const LOOK_MS = 1000;
/** The longest that a message of the agent waits, if it arrives just as the standby begins to wait. */
const MESSAGE_MS = 500;
/** How often to look for new pages of the connection table. */
const TOUCH_MS = 5000;
const PAGE_WORDS = 1024;
/** How often it may throw before the process ends. */
const MAX_FAILURES = 3;

/** Calls back while it forwards. */
interface Callbacks {
  /** The wake-up descriptor is readable. */
  onWake(): void;
  /** Every second or so. */
  onLook(): void;
}

/** Forwards until `stop`, as often as `run` is called. */
export class StandbyForwarder {
  private readonly forwarder: Forwarder;
  private readonly controlMemory: SharedMemory;
  private readonly control: Int32Array;
  /** Of the agent whose tables these are. */
  private readonly life: DeathWatch;
  private readonly callbacks: Callbacks;
  private nextLookMs = 0;
  private nextTouchMs = 0;
  /** What `touch` has read: reads whose result is not used could be optimised away. */
  private touched = 0;

  /**
   * Everything that can be done before it forwards.
   * @param wakeFd is polled with the devices
   * @throws Error if a table is missing or has another layout
   */
  constructor(watched: Watched, wakeFd: number, callbacks: Callbacks) {
    this.callbacks = callbacks;
    const { tables, tunnelOffload, udpSegmentation } = watched;
    const { port1: messages } = new MessageChannel();
    this.forwarder = new Forwarder(
      {
        worker: WORKER,
        run: RUN,
        seed: process.pid,
        tables,
        features: { tunnelOffload, udpSegmentation },
        ports: [],
        changesDone: 0,
        wakeFd,
        messages,
      },
      { processFrame: pipeline.processFrame, tick: (dp, nowMs) => this.tick(dp, nowMs) },
    );
    // The forwarder has checked its layout.
    this.controlMemory = openShared(tables.control);
    const { buffer, address } = this.controlMemory;
    this.control = new Int32Array(buffer);
    this.life = new DeathWatch(this.control.subarray(LIFE_LOCK_AT), address + LIFE_LOCK_AT * 4, MESSAGE_MS);
  }

  /**
   * Forward until `stop` is called.
   * @param devices the node's devices; they were not polled before, which would slow down the agent's workers
   * @param repair whether the last user of the tables may have ended amid a change
   */
  run(devices: Iterable<HeldDevice>, repair: boolean): void {
    if (repair) this.repair();
    for (const { device, fds } of devices) {
      const { index, headerBytes } = device;
      for (const [queue, fd] of fds.entries()) {
        this.forwarder.change({ kind: 'add', index, fd, headerBytes, slot: slotOf(device) + queue * QUEUE_STRIDE });
      }
    }
    const { control } = this;
    for (let worker = 0; controlAt(worker + 1, 0) <= control.length; worker++) {
      Atomics.store(control, controlAt(worker, ControlWord.STATE), ThreadState.ABSENT);
    }
    control[controlAt(WORKER, ControlWord.FAIL)] = Failure.NONE;
    Atomics.store(control, controlAt(WORKER, ControlWord.RUN), RUN);
    for (let failures = 0; ; failures++) {
      try {
        this.forwarder.run(() => void this.callbacks.onWake());
        return;
      } catch (error) {
        if (failures === MAX_FAILURES) throw error;
        this.repair();
      }
    }
  }

  /**
   * Wait until the agent ends, sends something, or some time has passed. @returns whether it has ended
   */
  waitForEnd(): boolean {
    const nowMs = monotonicMs();
    if (nowMs >= this.nextTouchMs) {
      this.nextTouchMs = nowMs + TOUCH_MS;
      this.touch();
    }
    return this.life.wait();
  }

  /**
   * Have the memory of all connections mapped: the kernel maps a page when it is first used, and the repair would take three
   * times as long.
   */
  private touch(): void {
    const { conntrack } = this.forwarder.dataplane;
    const { words } = conntrack;
    const end = recordAt(conntrack, recordsUsed(conntrack));
    for (let at = 0; at < end; at += PAGE_WORDS) this.touched ^= words[at]!;
  }

  /** Make `run` return. */
  stop(): void {
    Atomics.store(this.control, controlAt(WORKER, ControlWord.RUN), 0);
  }

  close(): void {
    this.forwarder.close();
    this.controlMemory.close();
  }

  /** Repair what the agent's threads have left half-written. No thread uses the tables meanwhile. */
  private repair(): void {
    const { conntrack, fragments } = this.forwarder.dataplane;
    repairConntrack(conntrack, monotonicMs(), 1);
    for (let worker = 0; worker < MAX_WORKERS; worker++) releaseFragmentLock(fragments, worker);
  }

  private tick(dp: Dataplane, nowMs: number): number {
    if (nowMs >= this.nextLookMs) {
      this.nextLookMs = nowMs + LOOK_MS;
      this.callbacks.onLook();
    }
    return Math.min(pipeline.tick(dp, nowMs), LOOK_MS);
  }
}
