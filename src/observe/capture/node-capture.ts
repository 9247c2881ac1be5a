/** A capture on one node: a session in its shared memory, and the rings that its workers write. */
import {
  attachCaptureMemory,
  type CaptureMemory,
  type CaptureSettings,
  type Claim,
  claimSession,
  endSession,
  Point,
  renewSession,
  SESSIONS,
  startSession,
} from '../../../native-free-dataplane/live-capture/memory.ts';
import { RecordWord, RingReader } from '../../../native-free-dataplane/live-capture/ring.ts';
import { ruleText } from '../../../native-free-dataplane/policies/judge.ts';
import { readRule } from '../../../native-free-dataplane/policies/rules.ts';
import { openShared, type SharedMemory } from '../../linux/shm.ts';
import { sharedInode } from '../../linux/shm-files.ts';
import { memoryName } from '../../shm-names.ts';
import { NodePolicies } from '../policy/node-policies.ts';
import type { Step } from '../trace/step.ts';
import type { CapturedPacket, Offload, ReplayInput, WorkerState } from './packet.ts';

/** Frames read from one ring before the next ring's turn; bounds the memory of what is held. */
const BATCH = 4096;

/** Frames of one port, captured and lost. */
export interface PortCount {
  captured: number;
  lost: number;
}

/** Why a capture on a node cannot start. */
export class CaptureUnavailable extends Error {
  override readonly name = 'CaptureUnavailable';
}

export class NodeCapture {
  readonly node: string;
  /** Bytes of each frame that are kept. */
  readonly snapBytes: number;
  private readonly shared: SharedMemory;
  /** They name the rules that deny. */
  private readonly policies: NodePolicies;
  private readonly memory: CaptureMemory;
  private readonly claim: Claim;
  private readonly generation: number;
  /** Of the node's memory: an agent that cannot use that of its predecessor creates another. */
  private readonly inode: number;
  private readonly rings: readonly RingReader[];
  /** Lost frames by worker and port, as last read. */
  private readonly lost: readonly Int32Array[];
  private readonly counts = new Map<number, PortCount>();
  /** The frames of the packet that was read last, by worker: its steps come behind them. */
  private readonly latest: CapturedPacket[][] = [];
  /** By worker, until the next received frame. */
  private readonly ticks: number[][];
  private readonly states: (WorkerState | undefined)[] = [];
  private readonly isReplayed: boolean;

  /** Start capturing. @throws CaptureUnavailable, or as openShared */
  constructor(node: string, settings: CaptureSettings, nowMs: number) {
    this.node = node;
    this.snapBytes = settings.snapBytes;
    const name = memoryName(node, 'capture');
    this.inode = sharedInode(name);
    this.shared = openShared(name);
    const memory = attachCaptureMemory(this.shared.buffer);
    const claim = memory && claimSession(memory, nowMs);
    if (memory === undefined || claim === undefined) {
      this.shared.close();
      throw new CaptureUnavailable(
        memory === undefined
          ? `node ${node} runs another version of dataplane`
          : `node ${node} has ${SESSIONS} captures running, the most that are possible`,
      );
    }
    this.memory = memory;
    this.isReplayed = (settings.points & Point.REPLAY) !== 0;
    this.ticks = Array.from({ length: memory.workers }, () => []);
    this.claim = claim;
    this.rings = Array.from({ length: memory.workers }, (_, worker) => new RingReader(memory, claim.session, worker));
    this.lost = this.rings.map((ring) => Int32Array.from({ length: memory.ports }, (_, port) => ring.lostAt(port)));
    this.generation = startSession(memory, claim, settings);
    this.policies = new NodePolicies(node);
  }

  /** Renew the reader's mark. @returns why the capture has ended; undefined while it goes on */
  renew(nowMs: number): string | undefined {
    this.policies.reopen();
    if (sharedInode(memoryName(this.node, 'capture')) !== this.inode) return `node ${this.node} has been removed`;
    if (renewSession(this.memory, this.claim, nowMs)) return undefined;
    return `node ${this.node}: the capture has expired, because it was stopped for some seconds`;
  }

  /** Append the frames that have been captured since the last call. @returns true if there may be more */
  read(into: CapturedPacket[]): boolean {
    let more = false;
    this.rings.forEach((ring, worker) => {
      let read = 0;
      for (; read < BATCH && ring.next(); read++) {
        const wanted = ring.word(RecordWord.GENERATION) === this.generation && ring.word(RecordWord.POINT) !== 0;
        if (wanted) this.takeRecord(ring, worker, into);
        ring.release();
      }
      if (read === BATCH) more = true;
    });
    return more;
  }

  private takeRecord(ring: RingReader, worker: number, into: CapturedPacket[]): void {
    const point = ring.word(RecordWord.POINT);
    if (point === Point.STEPS) this.giveSteps(ring, worker);
    else if (point === Point.TICK) this.ticks[worker]!.push(ring.word(RecordWord.NOW_MS));
    else if (point === Point.STATE) this.states[worker] = JSON.parse(Buffer.from(ring.frame()).toString());
    else into.push(this.take(ring, worker));
  }

  /** What the pipeline was given beside the received frame, in a session for replay. */
  private inputOf(ring: RingReader, worker: number): ReplayInput {
    const [ticks, state] = [this.ticks[worker]!, this.states[worker]];
    this.ticks[worker] = [];
    this.states[worker] = undefined;
    return { nowMs: ring.word(RecordWord.NOW_MS), ticks, ...(state && { state }), offload: offloadOf(ring) };
  }

  private take(ring: RingReader, worker: number): CapturedPacket {
    const port = ring.word(RecordWord.PORT);
    const lostBefore = this.lostSince(worker, port, ring.word(RecordWord.LOST));
    this.countOf(port).captured++;
    const offload = ring.word(RecordWord.OFFLOAD);
    const plain: CapturedPacket = {
      node: this.node,
      worker,
      port,
      point: ring.word(RecordWord.POINT) === Point.SENT ? 'sent' : 'received',
      verdict: ring.word(RecordWord.VERDICT),
      number: ring.word(RecordWord.PACKET) >>> 0,
      seconds: ring.word(RecordWord.SECONDS) >>> 0,
      nanoseconds: ring.word(RecordWord.NANOSECONDS),
      bytes: ring.frame(),
      originalBytes: ring.word(RecordWord.ORIGINAL),
      checksumPending: (offload & 1) !== 0,
      segmentBytes: offload >>> 16,
      lostBefore,
    };
    const packet = this.isReplayed || ring.word(RecordWord.RULE) !== 0 ? this.withMore(plain, ring) : plain;
    const before = this.latest[worker];
    if (before?.[0]?.number === packet.number) before.push(packet);
    else this.latest[worker] = [packet];
    return packet;
  }

  /** What only some packets have. */
  private withMore(packet: CapturedPacket, ring: RingReader): CapturedPacket {
    const received = packet.point === 'received';
    return {
      ...packet,
      ...this.denierOf(ring.word(RecordWord.RULE)),
      ...(this.isReplayed && received && { replay: this.inputOf(ring, packet.worker) }),
    };
  }

  /** The steps belong to the frames of the packet, which are in front of them. */
  private giveSteps(ring: RingReader, worker: number): void {
    const number = ring.word(RecordWord.PACKET) >>> 0;
    const steps = JSON.parse(Buffer.from(ring.frame()).toString()) as Step[];
    for (const packet of this.latest[worker] ?? []) if (packet.number === number) packet.steps = steps;
  }

  private countOf(port: number): PortCount {
    const known = this.counts.get(port);
    if (known) return known;
    const count = { captured: 0, lost: 0 };
    this.counts.set(port, count);
    return count;
  }

  private lostSince(worker: number, port: number, now: number): number {
    const seen = this.lost[worker];
    if (seen === undefined || seen[port] === now) return 0;
    const lost = (now - (seen[port] ?? 0)) >>> 0;
    seen[port] = now;
    this.countOf(port).lost += lost;
    return lost;
  }

  /** Read at once: numbers are used again when policies change. */
  private denierOf(number: number): Pick<CapturedPacket, 'deniedBy'> {
    const { table } = this.policies;
    const rule = number === 0 || table === undefined ? undefined : readRule(table, number);
    return rule === undefined ? {} : { deniedBy: ruleText(rule) };
  }

  /** End the session. Frames that workers are writing may be read for some milliseconds more. */
  end(): void {
    endSession(this.memory, this.claim);
  }

  /** Frames captured and lost so far, by port. */
  totals(): ReadonlyMap<number, PortCount> {
    this.rings.forEach((ring, worker) => {
      for (let port = 0; port < this.memory.ports; port++) this.lostSince(worker, port, ring.lostAt(port));
    });
    return this.counts;
  }

  close(): void {
    this.shared.close();
    this.policies.close();
  }
}

function offloadOf(ring: RingReader): Offload | undefined {
  const checksum = ring.word(RecordWord.CHECKSUM);
  if (checksum === 0) return undefined;
  const segments = ring.word(RecordWord.SEGMENTS);
  const tunnel = ring.word(RecordWord.TUNNEL);
  return {
    checksumStart: checksum & 0xffff,
    checksumOffset: checksum >>> 16,
    gsoType: (segments >>> 16) & 0xff,
    gsoSize: ring.word(RecordWord.OFFLOAD) >>> 16,
    gsoEcn: segments >>> 24,
    headersEnd: segments & 0xffff,
    outerL4: tunnel & 0xffff,
    innerL3: tunnel >>> 16,
  };
}
