/**
 * The forwarding loop of one worker: wait, read a batch from every ready port, hand each frame to the pipeline, write
 * what it emits. Reads nothing of the cluster and allocates nothing per frame.
 */
import { stampEvents } from '../../native-free-dataplane/conntrack/events.ts';
import { ARENA_BYTES, attachDataplane, type Dataplane } from '../../native-free-dataplane/dataplane.ts';
import { tunnelPort } from '../../native-free-dataplane/node/hops.ts';
import { Packet } from '../../native-free-dataplane/packet.ts';
import * as pipeline from '../../native-free-dataplane/pipeline.ts';
import { countVerdict } from '../../native-free-dataplane/shared/counters.ts';
import { Verdict } from '../../native-free-dataplane/verdicts.ts';
import { PacketRing } from '../devices/packet-ring.ts';
import { Read } from '../devices/port.ts';
import { RingPort } from '../devices/ring-port.ts';
import { TapPort } from '../devices/tap-port.ts';
import { monotonicMs } from '../linux/clock.ts';
import { Epoll } from '../linux/epoll.ts';
import { type Mapping, mapPrivate, munmap, read, threadId } from '../linux/ffi.ts';
import { openShared, type SharedMemory } from '../linux/shm.ts';
import { attachControl, ControlWord, controlAt, ThreadState } from './control.ts';
import {
  type NumberedChange,
  type PortChange,
  TUNNEL_MESSAGE,
  type TunnelOfWorker,
  type WorkerTask,
} from './messages.ts';
import { Patience } from './patience.ts';
import { PortEmitter } from './port-emitter.ts';

/** Frames taken from one port before the next one has its turn. */
const BUDGET = 64;
/** And bytes: a super-packet costs as much time as dozens of small frames, and the others' wait for it. */
const BUDGET_BYTES = 128 * 1024;
/** Rounds over the ready ports before the clock is read and epoll asked again. */
const MAX_READY = 64;
/** Key of the wake-up eventfd among the epoll keys; ports use their index. */
const WAKE_KEY = -1;
/** How often `tick` runs while traffic flows, milliseconds. */
const TICK_MS = 64;

/** What becomes of a frame: the real pipeline, or a stand-in that shows what the loop alone costs. */
export interface Pipeline {
  processFrame(pkt: Packet, dp: Dataplane, nowMs: number): Verdict;
  /** @returns milliseconds until it wants to be called again */
  tick(dp: Dataplane, nowMs: number): number;
}

export class Forwarder {
  private readonly task: WorkerTask;
  private readonly pipeline: Pipeline;
  private readonly control: Int32Array;
  private readonly epoll = new Epoll(MAX_READY);
  private readonly patience = new Patience();
  private readonly emitter = new PortEmitter();
  private readonly dataplane: Dataplane;
  private readonly pkt: Packet;
  private readonly arena: Mapping;
  private readonly shared: SharedMemory[] = [];
  /** This worker's block in the control words. */
  private readonly base: number;

  /** @throws SystemError, Error when the shared memory is not what the task says */
  constructor(task: WorkerTask, stages: Pipeline = pipeline) {
    this.task = task;
    this.pipeline = stages;
    const control = attachControl(this.map(task.tables.control));
    if (!control) throw new Error(`${task.tables.control} holds no control memory of this version`);
    this.control = control;
    this.base = controlAt(task.worker, 0);
    // One page more than the arena: what the wake-up descriptor is read into.
    this.arena = mapPrivate(ARENA_BYTES + 4096);
    this.pkt = new Packet(this.arena.buffer);
    this.dataplane = attachDataplane(
      {
        conntrack: this.map(task.tables.conntrack),
        services: this.map(task.tables.services),
        routes: this.map(task.tables.routes),
        counters: this.map(task.tables.counters),
        fragments: this.map(task.tables.fragments),
      },
      task.worker,
      this.emitter,
      task.features,
      task.seed,
    );
    this.emitter.dataplane = this.dataplane;
    this.epoll.add(task.wakeFd, WAKE_KEY);
    for (const port of task.ports) this.change({ kind: 'add', ...port });
    if (task.tunnel) this.openTunnel(task.tunnel);
    this.say(ControlWord.CHANGES_DONE, task.changesDone);
    this.say(ControlWord.THREAD, threadId());
  }

  private map(name: string): ArrayBuffer {
    const memory = openShared(name);
    this.shared.push(memory);
    return memory.buffer;
  }

  private say(word: number, value: number): void {
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

  /** A port came or went. */
  change(change: PortChange): void {
    const known = this.emitter.ports[change.index];
    if (known) {
      this.epoll.remove(known.fd);
      this.emitter.ports[change.index] = undefined;
    }
    if (change.kind === 'add') {
      this.emitter.ports[change.index] = new TapPort(change.index, change.fd, change.headerBytes, this.arena.address);
      this.epoll.add(change.fd, change.index);
    }
  }

  /**
   * Forward until told to stop.
   * @param nextChange the next change the agent has sent, undefined when there is none
   */
  run(nextChange: () => NumberedChange | undefined): void {
    const { control, base, epoll, dataplane, patience } = this;
    let nextTick = 0;
    let idleMs = 0;
    for (;;) {
      let ready = patience.look(epoll);
      if (ready === 0) {
        this.say(ControlWord.STATE, ThreadState.SLEEPING);
        ready = patience.sleep(epoll, idleMs);
        this.say(ControlWord.STATE, ThreadState.RUNNING);
      }
      const nowMs = monotonicMs();
      control[base + ControlWord.HEARTBEAT_MS] = nowMs | 0;
      stampEvents(dataplane.conntrack, nowMs);
      control[base + ControlWord.BATCHES] = ((control[base + ControlWord.BATCHES] as number) + 1) | 0;
      if (Atomics.load(control, base + ControlWord.STOP) !== 0) break;
      if (control[base + ControlWord.CRASH] !== 0) {
        control[base + ControlWord.CRASH] = 0;
        throw new Error('told to crash');
      }
      if (nowMs >= nextTick) {
        idleMs = this.pipeline.tick(dataplane, nowMs);
        nextTick = nowMs + Math.min(TICK_MS, idleMs);
      }
      for (let i = 0; i < ready; i++) {
        const key = epoll.keyAt(i);
        if (key === WAKE_KEY) this.carryOut(nextChange);
        else this.drain(key, nowMs);
      }
    }
    this.say(ControlWord.STATE, ThreadState.STOPPED);
  }

  /** Give back what the constructor took. Neither the forwarder nor its packet may be used afterwards. */
  close(): void {
    this.epoll.close();
    munmap(this.arena.address, this.arena.bytes);
    for (const memory of this.shared) memory.close();
  }

  /** Everything the agent has sent since the last time. */
  private carryOut(nextChange: () => NumberedChange | undefined): void {
    read(this.task.wakeFd, this.arena.address + ARENA_BYTES, 8);
    for (let next = nextChange(); next; next = nextChange()) {
      this.change(next.change);
      this.say(ControlWord.CHANGES_DONE, next.number);
    }
  }

  /**
   * Take up to BUDGET frames or BUDGET_BYTES from one port. When frames come one at a time only one is asked for: epoll
   * tells whether there is another, and to hear from the device that there is none costs a system call of its own.
   */
  private drain(index: number, nowMs: number): void {
    const port = this.emitter.ports[index];
    if (!port) return;
    const { pkt, dataplane } = this;
    const budget = port.lastBatch === 1 && this.patience.waited ? 1 : BUDGET;
    let bytes = BUDGET_BYTES;
    let n = 0;
    for (; n < budget && bytes > 0; n++) {
      const result = port.read(pkt);
      if (result === Read.FRAME) {
        bytes -= pkt.end - pkt.start;
        this.pipeline.processFrame(pkt, dataplane, nowMs);
      } else if (result === Read.INVALID) countVerdict(dataplane.counters, Verdict.OFFLOAD_INVALID);
      else {
        // A device that is gone would be ready for ever: stop watching it until the agent says what became of it.
        if (result === Read.GONE) this.change({ kind: 'remove', index });
        break;
      }
    }
    port.lastBatch = n;
  }
}
