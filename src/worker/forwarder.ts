/**
 * The forwarding loop of one worker: wait, read a batch from every ready port, hand each frame to the pipeline, write
 * what it emits. Reads nothing of the cluster and allocates nothing per frame.
 */
import { type Dataplane, type Emitter, attachDataplane } from '../../native-free-dataplane/dataplane.ts';
import { ARENA_BYTES } from '../../native-free-dataplane/dataplane.ts';
import { Packet } from '../../native-free-dataplane/packet.ts';
import { processFrame, tick } from '../../native-free-dataplane/pipeline.ts';
import { countVerdict } from '../../native-free-dataplane/tables/counters.ts';
import { Verdict } from '../../native-free-dataplane/verdicts.ts';
import { type Port, Read, Write } from '../devices/port.ts';
import { TapPort } from '../devices/tap-port.ts';
import { monotonicMs } from '../linux/clock.ts';
import { Epoll } from '../linux/epoll.ts';
import { mapPrivate, read } from '../linux/ffi.ts';
import { openShared } from '../linux/shm.ts';
import { ControlWord, ThreadState, attachControl, controlAt } from './control.ts';
import type { PortChange, WorkerTask } from './messages.ts';

/** Frames taken from one port before the next one has its turn. */
const BUDGET = 64;
/** Rounds over the ready ports before the clock is read and epoll asked again. */
const MAX_READY = 64;
/** Key of the wake-up eventfd among the epoll keys; ports use their index. */
const WAKE_KEY = -1;
/** How often `tick` runs while traffic flows, milliseconds. */
const TICK_MS = 64;

/** Sends the pipeline's frames out of this worker's ports. */
class PortEmitter implements Emitter {
  readonly ports: (Port | undefined)[] = [];
  dataplane: Dataplane | undefined;

  emit(pkt: Packet): void {
    const port = this.ports[pkt.outPort];
    if (port === undefined) this.lost(Verdict.PORT_DOWN);
    else {
      const result = port.write(pkt);
      if (result !== Write.SENT) this.lost(result === Write.FULL ? Verdict.WRITE_QUEUE_FULL : Verdict.WRITE_FAILED);
    }
  }

  private lost(verdict: Verdict): void {
    if (this.dataplane) countVerdict(this.dataplane.counters, verdict);
  }
}

export class Forwarder {
  private readonly task: WorkerTask;
  private readonly control: Int32Array;
  private readonly epoll = new Epoll(MAX_READY);
  private readonly emitter = new PortEmitter();
  private readonly dataplane: Dataplane;
  private readonly pkt: Packet;
  private readonly arena: number;
  private readonly scratch: number;

  constructor(task: WorkerTask) {
    this.task = task;
    const buffer = (name: string): ArrayBuffer => openShared(name).buffer;
    const control = attachControl(buffer(task.tables.control));
    if (!control) throw new Error(`${task.tables.control} holds no control memory of this version`);
    this.control = control;
    const memory = mapPrivate(ARENA_BYTES + 4096);
    this.arena = memory.address;
    this.scratch = memory.address + ARENA_BYTES;
    this.pkt = new Packet(memory.buffer);
    this.dataplane = attachDataplane(
      {
        conntrack: buffer(task.tables.conntrack),
        services: buffer(task.tables.services),
        routes: buffer(task.tables.routes),
        counters: buffer(task.tables.counters),
      },
      task.worker,
      this.emitter,
      task.features,
      task.seed,
    );
    this.emitter.dataplane = this.dataplane;
    this.epoll.add(task.wakeFd, WAKE_KEY);
    for (const port of task.ports) this.change({ kind: 'add', ...port });
  }

  /** A port came or went. */
  change(change: PortChange): void {
    const known = this.emitter.ports[change.index];
    if (known) {
      this.epoll.remove(known.fd);
      this.emitter.ports[change.index] = undefined;
    }
    if (change.kind === 'add') {
      this.emitter.ports[change.index] = new TapPort(change.index, change.fd, change.headerBytes, this.arena);
      this.epoll.add(change.fd, change.index);
    }
  }

  /**
   * Forward until told to stop.
   * @param nextChange the next port change the agent has sent, undefined when there is none
   */
  run(nextChange: () => PortChange | undefined): void {
    const { control, epoll, task } = this;
    const at = (word: number): number => controlAt(task.worker, word);
    let nowMs = monotonicMs();
    let nextTick = nowMs;
    let idleMs = 0;
    Atomics.store(control, at(ControlWord.STATE), ThreadState.RUNNING);
    for (;;) {
      let ready = epoll.wait(0);
      if (ready === 0) {
        Atomics.store(control, at(ControlWord.STATE), ThreadState.SLEEPING);
        ready = epoll.wait(idleMs);
        Atomics.store(control, at(ControlWord.STATE), ThreadState.RUNNING);
      }
      nowMs = monotonicMs();
      control[at(ControlWord.HEARTBEAT_MS)] = nowMs | 0;
      control[at(ControlWord.BATCHES)] = (control[at(ControlWord.BATCHES)] as number) + 1;
      if (Atomics.load(control, at(ControlWord.STOP)) !== 0) break;
      if (control[at(ControlWord.CRASH)] !== 0) {
        control[at(ControlWord.CRASH)] = 0;
        throw new Error('told to crash');
      }
      if (nowMs >= nextTick) {
        idleMs = tick(this.dataplane, nowMs);
        nextTick = nowMs + TICK_MS;
      }
      for (let i = 0; i < ready; i++) {
        const key = epoll.keyAt(i);
        if (key === WAKE_KEY) {
          read(task.wakeFd, this.scratch, 8);
          for (let change = nextChange(); change; change = nextChange()) this.change(change);
        } else this.drain(key, nowMs);
      }
    }
    Atomics.store(control, at(ControlWord.STATE), ThreadState.STOPPED);
    epoll.close();
  }

  /** Take up to BUDGET frames from one port. */
  private drain(index: number, nowMs: number): void {
    const port = this.emitter.ports[index];
    if (!port) return;
    const { pkt, dataplane } = this;
    for (let n = 0; n < BUDGET; n++) {
      const result = port.read(pkt);
      if (result === Read.FRAME) processFrame(pkt, dataplane, nowMs);
      else if (result === Read.INVALID) countVerdict(dataplane.counters, Verdict.OFFLOAD_INVALID);
      else {
        // A device that is gone would be ready for ever: stop watching it until the agent says what became of it.
        if (result === Read.GONE) this.change({ kind: 'remove', index });
        return;
      }
    }
  }
}
