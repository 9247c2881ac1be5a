/**
 * The forwarding loop of one worker: wait, read a batch from every ready port, pass each frame to the pipeline, write
 * the frames that it emits. It reads no cluster state and allocates nothing per frame.
 */
import { threadId as nodeThread } from 'node:worker_threads';
import { stampEvents } from '../../native-free-dataplane/conntrack/events.ts';
import { ARENA_BYTES, attachDataplane, type Dataplane } from '../../native-free-dataplane/dataplane.ts';
import { countUnseenDrop } from '../../native-free-dataplane/drops/ring.ts';
import { attachCaptureMemory } from '../../native-free-dataplane/live-capture/memory.ts';
import { firstNodeHop, tunnelPort } from '../../native-free-dataplane/node/hops.ts';
import { Packet } from '../../native-free-dataplane/packet.ts';
import * as pipeline from '../../native-free-dataplane/pipeline.ts';
import { Verdict } from '../../native-free-dataplane/verdicts.ts';
import { PacketRing } from '../devices/packet-ring.ts';
import { Read } from '../devices/port.ts';
import { RingPort } from '../devices/ring-port.ts';
import { TapPort } from '../devices/tap-port.ts';
import { monotonicMicros, monotonicMs } from '../linux/clock.ts';
import { Epoll } from '../linux/epoll.ts';
import { type Mapping, mapPrivate, munmap, read, schedYield, threadId } from '../linux/ffi.ts';
import { openShared, type SharedMemory } from '../linux/shm.ts';
import { AdaptivePoll } from './adaptive-poll.ts';
import { WorkerCapture } from './capture.ts';
import { attachControl, ControlWord, controlAt, Failure, ThreadState } from './control.ts';
import {
  type NumberedChange,
  type PortChange,
  TUNNEL_MESSAGE,
  type TunnelOfWorker,
  type WorkerTask,
} from './messages.ts';
import { PortEmitter } from './port-emitter.ts';
import type { Pipeline } from './stages.ts';

/** Frames taken from one port before the next port's turn. */
const BUDGET = 64;
/** The same in bytes: a super-packet takes as much time as dozens of small frames, and delays the frames behind it. */
const BUDGET_BYTES = 128 * 1024;
/**
 * The same in frames sent: one frame may be cut into hundreds (stages/offload.ts), each with a system call of its own. More
 * than BUDGET_BYTES are cut into at usual sizes.
 */
const BUDGET_SENT = 256;
/** Ready ports taken from one epoll_wait, before the clock is read again. */
const MAX_READY = 64;
/** epoll key of the wake-up eventfd; ports use their index. */
const WAKE_KEY = -1;
/** How often `tick` runs while traffic flows, milliseconds. */
const TICK_MS = 64;

/** One worker: its ports, its packet descriptor and its view of the tables. */
export class Forwarder {
  private readonly task: WorkerTask;
  /** The pipeline, or while frames are captured, `capture` around it. */
  private pipeline: Pipeline;
  private readonly capture: WorkerCapture;
  private readonly control: Int32Array;
  private readonly epoll = new Epoll(MAX_READY);
  private readonly poll = new AdaptivePoll();
  private readonly emitter = new PortEmitter();
  /** Its view of the node's tables. */
  readonly dataplane: Dataplane;
  private readonly pkt: Packet;
  private readonly arena: Mapping;
  private readonly shared: SharedMemory[] = [];
  /** This worker's block in the control words. */
  private readonly base: number;

  /** @throws SystemError, or Error if the shared memory does not match the task */
  constructor(task: WorkerTask, stages: Pipeline = pipeline) {
    this.task = task;
    this.pipeline = stages;
    const control = attachControl(this.map(task.tables.control));
    if (!control) throw new Error(`${task.tables.control} holds no control memory of this version`);
    this.control = control;
    const capture = attachCaptureMemory(this.map(task.tables.capture));
    if (!capture) throw new Error(`${task.tables.capture} holds no capture memory of this version`);
    this.capture = new WorkerCapture(capture, task.worker, stages);
    this.base = controlAt(task.worker, 0);
    // One page more than the arena, as a buffer for reading the wake-up eventfd.
    this.arena = mapPrivate(ARENA_BYTES + 4096);
    this.pkt = new Packet(this.arena.buffer);
    this.dataplane = attachDataplane(
      {
        conntrack: this.map(task.tables.conntrack),
        services: this.map(task.tables.services),
        routes: this.map(task.tables.routes),
        counters: this.map(task.tables.counters),
        fragments: this.map(task.tables.fragments),
        policies: this.map(task.tables.policies),
      },
      task.worker,
      this.emitter,
      task.features,
      task.seed,
    );
    this.emitter.dataplane = this.dataplane;
    for (let port = firstNodeHop(this.dataplane.node); port > 0; port--) this.emitter.ports.push(undefined);
    this.epoll.add(task.wakeFd, WAKE_KEY);
    for (const port of task.ports) this.change({ kind: 'add', ...port });
    if (task.tunnel) this.openTunnel(task.tunnel);
  }

  private map(name: string): ArrayBuffer {
    const memory = openShared(name);
    this.shared.push(memory);
    return memory.buffer;
  }

  private setWord(word: number, value: number): void {
    Atomics.store(this.control, this.base + word, value);
  }

  private openTunnel(tunnel: TunnelOfWorker): void {
    const index = tunnelPort(this.dataplane.node);
    this.emitter.ports[index] = new RingPort({
      index,
      fd: tunnel.wakeFd,
      outward: new PacketRing(this.map(tunnel.outward)),
      inward: new PacketRing(this.map(tunnel.inward)),
      scratch: this.arena.address + ARENA_BYTES,
      wake: () => this.task.messages.postMessage(TUNNEL_MESSAGE),
    });
    this.epoll.add(tunnel.wakeFd, index);
  }

  /** Add or remove a port. */
  change(change: PortChange): void {
    const slot = change.kind === 'add' ? (change.slot ?? change.index) : change.index;
    const known = this.emitter.ports[slot];
    if (known) {
      this.epoll.remove(known.fd);
      this.emitter.ports[slot] = undefined;
    }
    if (change.kind === 'add') {
      this.emitter.ports[slot] = new TapPort(change.index, change.fd, change.headerBytes, this.arena.address);
      this.epoll.add(change.fd, slot);
    }
  }

  /**
   * Forward until ControlWord.RUN no longer has the number of this task.
   * @param nextChange the next change sent by the agent, undefined if there is none
   */
  run(nextChange: () => NumberedChange | undefined): void {
    const { control, base, epoll, dataplane, poll } = this;
    const { run, changesDone } = this.task;
    this.setWord(ControlWord.CHANGES_DONE, changesDone);
    this.setWord(ControlWord.NODE_THREAD, nodeThread);
    this.setWord(ControlWord.THREAD, threadId());
    this.setWord(ControlWord.STATE, ThreadState.RUNNING);
    let nextTick = 0;
    let idleMs = 0;
    for (;;) {
      let ready = poll.poll(epoll);
      if (ready === 0) {
        this.setWord(ControlWord.STATE, ThreadState.SLEEPING);
        ready = poll.sleep(epoll, idleMs);
        this.setWord(ControlWord.STATE, ThreadState.RUNNING);
      }
      const nowMs = monotonicMs();
      control[base + ControlWord.HEARTBEAT_MS] = nowMs | 0;
      stampEvents(dataplane.conntrack, nowMs, monotonicMicros());
      this.countTurn();
      if (Atomics.load(control, base + ControlWord.RUN) !== run && !this.mayContinue()) break;
      if (control[base + ControlWord.FAIL] !== 0) this.fail();
      if (this.capture.isChanged) {
        this.pipeline = this.capture.reload(dataplane);
        this.emitter.capture = this.pipeline === this.capture ? this.capture : undefined;
        nextTick = nowMs;
      }
      if (nowMs >= nextTick) {
        idleMs = this.pipeline.tick(dataplane, nowMs);
        nextTick = nowMs + Math.min(TICK_MS, idleMs);
      }
      for (let i = 0; i < ready; i++) {
        const key = epoll.keyAt(i);
        if (key === WAKE_KEY) this.applyChanges(nextChange);
        else this.drain(key, nowMs);
      }
    }
    // Not if another thread has taken over: the word is that thread's.
    if (Atomics.load(control, base + ControlWord.RUN) === 0) this.setWord(ControlWord.STATE, ThreadState.STOPPED);
  }

  /** Fail as ControlWord.FAIL asks for. */
  private fail(): void {
    const how = this.control[this.base + ControlWord.FAIL] as number;
    this.control[this.base + ControlWord.FAIL] = Failure.NONE;
    if (how === Failure.THROW) throw new Error('failure requested by the control word FAIL');
    while (how === Failure.HANG);
  }

  private countTurn(): void {
    this.control[this.base + ControlWord.TURNS] = ((this.control[this.base + ControlWord.TURNS] as number) + 1) | 0;
  }

  /** Pause while the agent repairs the tables. @returns false if this thread is to leave its loop */
  private mayContinue(): boolean {
    const { control, base } = this;
    const { run } = this.task;
    if (Atomics.load(control, base + ControlWord.RUN) === -run) this.setWord(ControlWord.STATE, ThreadState.PAUSED);
    while (Atomics.load(control, base + ControlWord.RUN) === -run) schedYield();
    if (Atomics.load(control, base + ControlWord.RUN) !== run) return false;
    this.setWord(ControlWord.STATE, ThreadState.RUNNING);
    return true;
  }

  /** Release what the constructor acquired. Neither the forwarder nor its packet may be used afterwards. */
  close(): void {
    this.epoll.close();
    munmap(this.arena.address, this.arena.bytes);
    for (const memory of this.shared) memory.close();
  }

  /** Apply every change the agent has sent since the last call. */
  private applyChanges(nextChange: () => NumberedChange | undefined): void {
    read(this.task.wakeFd, this.arena.address + ARENA_BYTES, 8);
    for (let next = nextChange(); next; next = nextChange()) {
      this.change(next.change);
      this.setWord(ControlWord.CHANGES_DONE, next.number);
    }
  }

  /**
   * Read up to BUDGET frames or BUDGET_BYTES from one port, or until BUDGET_SENT frames were sent. When frames arrive one at a time, only one is read: epoll
   * reports whether there is another, and a read that finds the device empty costs a system call.
   */
  private drain(index: number, nowMs: number): void {
    const port = this.emitter.ports[index];
    if (!port) return;
    const { pkt, dataplane, emitter } = this;
    const budget = port.lastBatch === 1 && this.poll.waited ? 1 : BUDGET;
    const sentBefore = emitter.sent;
    let bytes = BUDGET_BYTES;
    let n = 0;
    for (; n < budget && bytes > 0 && ((emitter.sent - sentBefore) | 0) < BUDGET_SENT; n++) {
      const result = port.read(pkt);
      if (result === Read.FRAME) {
        bytes -= pkt.end - pkt.start;
        this.pipeline.processFrame(pkt, dataplane, nowMs);
      } else if (result === Read.INVALID) countUnseenDrop(dataplane.counters, Verdict.OFFLOAD_INVALID, nowMs);
      else {
        // A removed device would be ready forever: stop polling it until the agent sends the change.
        if (result === Read.GONE) this.change({ kind: 'remove', index });
        break;
      }
    }
    port.lastBatch = n;
    this.countTurn();
  }
}
