/**
 * Capturing in a worker. While a reader is attached, the forwarder runs this in place of the pipeline: it passes each
 * frame on, and lets every session record it as received and as sent. Without a reader nothing of this runs; the
 * forwarder compares one word at the start of each turn.
 */
import type { Dataplane } from '../../native-free-dataplane/dataplane.ts';
import { isProgram } from '../../native-free-dataplane/filter/program.ts';
import {
  activeSessions,
  type CaptureMemory,
  changesOf,
  expireSessions,
  Point,
  packetCounterAt,
} from '../../native-free-dataplane/live-capture/memory.ts';
import { enterPause, isPaused } from '../../native-free-dataplane/live-capture/pause.ts';
import type { Packet } from '../../native-free-dataplane/packet.ts';
import type { Verdict } from '../../native-free-dataplane/verdicts.ts';
import { monotonicMs, stampTime } from '../linux/clock.ts';
import { sleepSync } from '../linux/sleep.ts';
import { CaptureSession } from './capture-session.ts';
import { LiveTrace } from './live-trace.ts';
import type { Pipeline } from './stages.ts';
import { workerState } from './worker-state.ts';

const NOTHING = new Uint8Array(0);
/** How long a paused worker sleeps before it checks again, in milliseconds. */
const NAP_MS = 0.2;

/** How often expired sessions are looked for, milliseconds. */
const EXPIRY_MS = 500;

export class WorkerCapture implements Pipeline {
  private readonly memory: CaptureMemory;
  private readonly worker: number;
  private readonly stages: Pipeline;
  private readonly liveTrace: LiveTrace;
  private sessions: readonly CaptureSession[] = [];
  private seen = 0;
  /** Number of the packet being processed. */
  private number = 0;

  constructor(memory: CaptureMemory, worker: number, stages: Pipeline, liveTrace: LiveTrace = new LiveTrace()) {
    this.liveTrace = liveTrace;
    this.memory = memory;
    this.worker = worker;
    this.stages = stages;
  }

  /** Has a session started or ended, or a pause begun, since the last call of `reload`? */
  get isChanged(): boolean {
    return changesOf(this.memory) !== this.seen;
  }

  /**
   * Apply changes of sessions, and stop for a pause, if there is one.
   * @returns what to run from now on: this if there is a session, else the pipeline
   */
  reload(dp: Dataplane): Pipeline {
    this.seen = changesOf(this.memory);
    const before = new Set(this.sessions.map(({ name }) => name));
    this.sessions = activeSessions(this.memory)
      .filter(({ program }) => isProgram(program))
      .map((settings) => new CaptureSession(this.memory, this.worker, settings));
    for (const session of this.sessions) {
      if (!session.isReplayed || before.has(session.name)) continue;
      stampTime();
      session.note(Point.STATE, Buffer.from(JSON.stringify(workerState(dp))), monotonicMs());
    }
    if (isPaused(this.memory, monotonicMs())) {
      enterPause(this.memory, this.worker);
      // The core may be the one that the tables are copied on.
      while (isPaused(this.memory, monotonicMs())) sleepSync(NAP_MS);
    }
    return this.sessions.length > 0 ? this : this.stages;
  }

  processFrame(pkt: Packet, dp: Dataplane, nowMs: number): Verdict {
    const { sessions, memory, worker } = this;
    const counter = packetCounterAt(worker);
    const number = ((memory.words[counter] as number) + 1) | 0;
    memory.words[counter] = number;
    this.number = number;
    let steps = false;
    for (let i = 0; i < sessions.length; i++) {
      const session = sessions[i] as CaptureSession;
      session.receive(pkt, number, nowMs);
      if (session.wantsSteps) steps = true;
    }
    const verdict = steps ? this.traced(pkt, dp, nowMs) : this.stages.processFrame(pkt, dp, nowMs);
    for (let i = 0; i < sessions.length; i++) (sessions[i] as CaptureSession).finish(verdict, pkt.policyRule);
    return verdict;
  }

  /** Process a frame whose steps are wanted. */
  private traced(pkt: Packet, dp: Dataplane, nowMs: number): Verdict {
    const { sessions, liveTrace, number } = this;
    const taken = liveTrace.take(nowMs);
    const verdict = taken ? liveTrace.trace(pkt, dp, nowMs) : this.stages.processFrame(pkt, dp, nowMs);
    for (const session of sessions) {
      if (!session.wantsSteps) continue;
      if (taken) session.addSteps(pkt, number, liveTrace.steps);
      else session.countUntraced(pkt);
    }
    return verdict;
  }

  /**
   * A frame of the current packet is about to be sent. It may be received on the other side before the write returns, so
   * the time is read now, into `stamp` (clock.ts), if a session wants the frame.
   * @returns whether one does
   */
  sending(pkt: Packet): boolean {
    const { sessions } = this;
    let wanted = false;
    for (let i = 0; i < sessions.length; i++) if ((sessions[i] as CaptureSession).wantsSent(pkt)) wanted = true;
    if (wanted) stampTime();
    return wanted;
  }

  /**
   * The frame has been sent, or lost.
   * @param lost why the device did not accept it; GO_ON if it did
   */
  sent(pkt: Packet, lost: Verdict): void {
    const { sessions, number } = this;
    for (let i = 0; i < sessions.length; i++) (sessions[i] as CaptureSession).send(pkt, number, lost);
  }

  tick(dp: Dataplane, nowMs: number): number {
    expireSessions(this.memory, nowMs);
    for (const session of this.sessions) if (session.isReplayed) session.note(Point.TICK, NOTHING, nowMs);
    const idleMs = this.stages.tick(dp, nowMs);
    return idleMs < EXPIRY_MS ? idleMs : EXPIRY_MS;
  }
}
