/**
 * One reader's capture, on the worker's side. A frame is copied only if it matches; all records of a packet are published
 * together, when its verdict is known.
 *
 * A packet whose frame matches as received is followed: it is captured where it is sent too, whatever translation and
 * encapsulation have made of it. Otherwise each frame that is sent is matched by itself.
 */
import { matches } from '../../native-free-dataplane/filter/run.ts';
import {
  type ActiveSession,
  ANY_PORT,
  type CaptureMemory,
  Point,
} from '../../native-free-dataplane/live-capture/memory.ts';
import { NO_ROOM, RecordWord, RingWriter } from '../../native-free-dataplane/live-capture/ring.ts';
import type { Packet } from '../../native-free-dataplane/packet.ts';
import { FAILED } from '../../native-free-dataplane/verdicts.ts';
import { stamp, stampTime } from '../linux/clock.ts';

export class CaptureSession {
  private readonly words: Int32Array;
  private readonly settings: ActiveSession;
  private readonly ring: RingWriter;
  /** Does the packet's frame match as received? */
  private followed = false;
  /** Is the frame that is being sent wanted? */
  private sentWanted = false;
  /** Are the steps of the packet wanted? */
  wantsSteps = false;
  /** The record of the received frame, until its verdict is known; NO_ROOM: none. */
  private received: number = NO_ROOM;

  constructor(memory: CaptureMemory, worker: number, settings: ActiveSession) {
    this.words = memory.words;
    this.settings = settings;
    this.ring = new RingWriter(memory, settings.session, worker);
  }

  /** Place and generation: unlike any other session. */
  get name(): string {
    return `${this.settings.session}/${this.settings.generation}`;
  }

  /** Is the session to be replayed? */
  get isReplayed(): boolean {
    return (this.settings.points & Point.REPLAY) !== 0;
  }

  /** Record what belongs to no packet: the worker's state, or its periodic work. @param point STATE or TICK */
  note(point: number, contents: Uint8Array, nowMs: number): void {
    const at = this.ring.reserve(0, contents, 0, contents.length);
    if (at === NO_ROOM) return;
    this.describe(at, 0, contents.length, point);
    this.words[at + RecordWord.NOW_MS] = nowMs;
    this.ring.publish(0);
  }

  /** A packet has been received. @param number identifies it on this worker */
  receive(pkt: Packet, number: number, nowMs: number): void {
    this.followed = this.isMatch(pkt);
    this.wantsSteps = this.followed && (this.settings.points & Point.STEPS) !== 0 && this.isPort(pkt.inPort);
    this.received = NO_ROOM;
    if (!this.followed || (this.settings.points & (Point.RECEIVED | Point.DROPPED)) === 0) return;
    if (!this.isPort(pkt.inPort)) return;
    stampTime();
    this.received = this.record(pkt, number, pkt.inPort, Point.RECEIVED, 0);
    if (this.received !== NO_ROOM && this.isReplayed) this.recordInput(pkt, this.received, nowMs);
  }

  /** Is a frame of the packet, which is about to be sent, to be recorded whatever becomes of it? */
  wantsSent(pkt: Packet): boolean {
    const wanted =
      (this.settings.points & Point.SENT) !== 0 && this.isPort(pkt.outPort) && (this.followed || this.isMatch(pkt));
    this.sentWanted = wanted;
    return wanted;
  }

  /**
   * The frame has been sent, at the time of `stamp`, or lost.
   * @param lost why the device did not accept it; 0 if it did
   */
  send(pkt: Packet, number: number, lost: number): void {
    if (!this.sentWanted) {
      if (lost === 0 || (this.settings.points & Point.DROPPED) === 0 || !this.isPort(pkt.outPort)) return;
      if (!this.followed && !this.isMatch(pkt)) return;
      stampTime();
    }
    this.record(pkt, number, pkt.outPort, Point.SENT, lost);
  }

  /** Record the steps of the packet; if there is no room, they are lost and counted. */
  addSteps(pkt: Packet, number: number, steps: Uint8Array): void {
    const at = this.ring.reserve(pkt.inPort, steps, 0, steps.length);
    if (at !== NO_ROOM) this.describe(at, number, steps.length, Point.STEPS);
  }

  /** A packet's steps were wanted and not recorded, to spare the others. */
  countUntraced(pkt: Packet): void {
    this.ring.countLost(pkt.inPort);
  }

  /** The packet is finished. @param rule of a policy that denied it; 0: none */
  finish(verdict: number, rule: number): void {
    const { ring, received, words } = this;
    if (!ring.pending) return;
    // Only drops are captured, and this packet was not dropped.
    if (received !== NO_ROOM && (this.settings.points & Point.RECEIVED) === 0 && FAILED[verdict] === 0) {
      if (ring.drop(received)) return;
      words[received + RecordWord.POINT] = 0;
    }
    ring.publish(verdict, rule);
  }

  private isPort(port: number): boolean {
    return this.settings.port === ANY_PORT || this.settings.port === port;
  }

  private isMatch({ view, start, end }: Packet): boolean {
    return matches(this.settings.program, view, start, end, end - start);
  }

  private record(pkt: Packet, number: number, port: number, point: number, verdict: number): number {
    const { words, settings } = this;
    const length = pkt.end - pkt.start;
    const captured = length < settings.snapBytes ? length : settings.snapBytes;
    const at = this.ring.reserve(port, pkt.bytes, pkt.start, captured);
    if (at === NO_ROOM) return NO_ROOM;
    this.describe(at, number, length, point);
    words[at + RecordWord.VERDICT] = verdict;
    words[at + RecordWord.OFFLOAD] = pkt.needsChecksum | (pkt.gsoSize << 16);
    return at;
  }

  /** What the pipeline is given beside the frame. */
  private recordInput(pkt: Packet, at: number, nowMs: number): void {
    const { words } = this;
    const { start } = pkt;
    words[at + RecordWord.NOW_MS] = nowMs;
    words[at + RecordWord.CHECKSUM] =
      pkt.needsChecksum === 0 ? 0 : (pkt.checksumStart - start) | (pkt.checksumOffset << 16);
    words[at + RecordWord.SEGMENTS] =
      pkt.gsoType === 0 ? 0 : (pkt.headersEnd - start) | (pkt.gsoType << 16) | (pkt.gsoEcn << 24);
    words[at + RecordWord.TUNNEL] = pkt.outerL4 === 0 ? 0 : (pkt.outerL4 - start) | ((pkt.innerL3 - start) << 16);
  }

  private describe(at: number, number: number, length: number, point: number): void {
    const { words, settings } = this;
    words[at + RecordWord.GENERATION] = settings.generation;
    words[at + RecordWord.ORIGINAL] = length;
    words[at + RecordWord.SECONDS] = stamp.seconds;
    words[at + RecordWord.NANOSECONDS] = stamp.nanoseconds;
    words[at + RecordWord.POINT] = point;
    words[at + RecordWord.VERDICT] = 0;
    words[at + RecordWord.PACKET] = number;
  }
}
