/**
 * Runs recorded frames through a pipeline over the tables of a snapshot: the same frames at the same times on the same
 * state, so the same verdicts and the same frames out, bit for bit. Each worker of the node is one pipeline over the
 * node's tables; frames of several workers are taken in the order of their times, so what two workers did to one
 * connection at the same moment may come out the other way round.
 */
import { recordAt } from '../../../native-free-dataplane/conntrack/record.ts';
import type { Dataplane, Emitter, TableBuffers } from '../../../native-free-dataplane/dataplane.ts';
import { attachNodeTable, HopWord } from '../../../native-free-dataplane/node/config.ts';
import { firstNodeHop, HopKind, hopAt, hopKind } from '../../../native-free-dataplane/node/hops.ts';
import type { Packet } from '../../../native-free-dataplane/packet.ts';
import type { TupleText } from '../../../native-free-dataplane/print/flow.ts';
import { flowText } from '../../../native-free-dataplane/print/record.ts';
import { sameAddress } from '../../../native-free-dataplane/shared/address.ts';
import { formatAddress } from '../../../native-free-dataplane/wire/address.ts';
import type { WorkerState } from '../capture/packet.ts';
import { MAX_FRAME_BYTES } from '../trace/frame-size.ts';
import { sourceOf } from '../trace/frames.ts';
import { type Passage, type Surroundings, traceFrame } from '../trace/node-copy.ts';
import type { RecordedFrame, RecordedPacket } from './recording.ts';
import { type NodeSnapshot, tablesOf } from './snapshot-file.ts';

/** What a build of the pipeline exports (native-free-dataplane/public.ts). */
export type PipelineBuild = Pick<
  typeof import('../../../native-free-dataplane/public.ts'),
  'ARENA_BYTES' | 'attachDataplane' | 'FRAME_AT' | 'Packet' | 'processFrame' | 'tick' | 'verdictName'
>;

/** The result for one packet. */
export interface Outcome {
  readonly verdict: string;
  readonly sent: readonly RecordedFrame[];
}

/** The result with how it came about. */
export interface TracedOutcome extends Outcome, Pick<Passage, 'steps' | 'wouldDiffer'> {}

/** Both ends of a connection's first packet. */
export interface Connection extends TupleText {
  readonly protocol: number;
}

/** The pipelines of one node. */
export class NodeReplay {
  private readonly build: PipelineBuild;
  private readonly snapshot: NodeSnapshot;
  private readonly tables: TableBuffers;
  private readonly workers = new Map<number, { readonly dp: Dataplane; readonly pkt: Packet }>();
  private sent: RecordedFrame[] = [];
  private nowMs: number;

  /** @throws Error if the build has other tables than the snapshot */
  constructor(snapshot: NodeSnapshot, build: PipelineBuild, tables: TableBuffers = tablesOf(snapshot)) {
    this.build = build;
    this.snapshot = snapshot;
    this.tables = tables;
    this.nowMs = snapshot.nowMs;
    this.worker(0);
  }

  /** The verdict, and what was sent; undefined for a frame that no device delivers. */
  process(packet: RecordedPacket): Outcome | undefined {
    const at = this.receive(packet);
    if (at === undefined) return undefined;
    const verdict = this.build.processFrame(at.pkt, at.dp, this.nowMs);
    return { verdict: this.build.verdictName(verdict), sent: this.sent };
  }

  /** As `process`, by the traced build of the pipeline, with the steps of the packet. */
  trace(packet: RecordedPacket, surroundings: Omit<Surroundings, 'nowMs'>): TracedOutcome | undefined {
    const at = this.receive(packet);
    if (at === undefined) return undefined;
    const passage = traceFrame(at.pkt, at.dp, { ...surroundings, nowMs: this.nowMs });
    return { ...passage, sent: this.sent };
  }

  /** The connection of the packet that was processed last, both ends of its first packet. */
  connection({ worker }: RecordedPacket): Connection {
    const { dp, pkt } = this.worker(worker);
    const { conntrack } = dp;
    if (pkt.flow >= 0) {
      const flow = flowText(conntrack, conntrack.words, conntrack.doubles, recordAt(conntrack, pkt.flow), this.nowMs);
      return { protocol: flow.protocol, ...flow.original };
    }
    const ends = {
      src: formatAddress(pkt.src),
      srcPort: pkt.srcPort,
      dst: formatAddress(pkt.dst),
      dstPort: pkt.dstPort,
    };
    return { protocol: pkt.protocol, ...ends };
  }

  /** The pipeline of the first worker, to look at the tables. */
  get dp(): Dataplane {
    return this.worker(0).dp;
  }

  /** Time passes to that of the packet, which is put where a worker reads it. */
  private receive(packet: RecordedPacket): { dp: Dataplane; pkt: Packet } | undefined {
    const { build } = this;
    if (packet.frame.length > MAX_FRAME_BYTES) return undefined;
    const { dp, pkt } = this.worker(packet.worker, packet.state);
    for (const atMs of packet.ticks) build.tick(dp, this.wholeTime(atMs));
    this.nowMs = packet.nowMs === undefined ? this.timeOf(packet) : this.wholeTime(packet.nowMs);
    this.sent = [];
    load(pkt, packet, build.FRAME_AT, packet.port ?? this.portOf(packet.frame));
    return { dp, pkt };
  }

  private wholeTime(lowMs: number): number {
    const { nowMs } = this.snapshot;
    return nowMs + ((lowMs - (nowMs | 0)) | 0);
  }

  /** Of a frame with a time of day only: never earlier than the one before it. */
  private timeOf({ timeMs }: RecordedPacket): number {
    const { nowMs, timeMs: snapshotTimeMs } = this.snapshot;
    return Math.max(this.nowMs, nowMs + Math.floor(timeMs - snapshotTimeMs));
  }

  /** The port of the pod with the frame's source address, or dp0. */
  private portOf(frame: Uint8Array): number {
    const source = sourceOf(frame);
    const table = attachNodeTable(this.tables.routes);
    if (source === undefined || table === undefined) return 0;
    for (let hop = 1; hop < firstNodeHop(table); hop++) {
      if (hopKind(table, hop) !== HopKind.POD) continue;
      if (sameAddress(source, table.hops, hopAt(hop) + HopWord.ADDRESS)) return hop;
    }
    return 0;
  }

  private worker(number: number, state?: WorkerState) {
    let found = this.workers.get(number);
    if (found === undefined) {
      const { build, snapshot, tables } = this;
      const emitter: Emitter = {
        emit: (pkt) => {
          this.sent.push({
            port: pkt.outPort,
            bytes: pkt.bytes.slice(pkt.start, pkt.end),
            checksumPending: pkt.needsChecksum !== 0,
            segmentBytes: pkt.gsoSize,
          });
        },
      };
      found = {
        dp: build.attachDataplane(tables, number, emitter, snapshot.features),
        pkt: new build.Packet(new ArrayBuffer(build.ARENA_BYTES)),
      };
      this.workers.set(number, found);
    }
    if (state !== undefined) restore(found.dp, state);
    return found;
  }
}

function restore(dp: Dataplane, { random, nextIpId, tokens }: WorkerState): void {
  dp.random = random;
  dp.nextIpId = nextIpId;
  dp.replyTokens.fill(0);
  dp.replyFilledMs.fill(0);
  for (const [hop, left, filledMs] of tokens) {
    dp.replyTokens[hop] = left;
    dp.replyFilledMs[hop] = filledMs;
  }
}

/** Put the frame into the arena, with its offload fields. */
function load(pkt: Packet, { frame, offload }: RecordedPacket, at: number, port: number): void {
  pkt.bytes.set(frame, at);
  pkt.reset(at, at + frame.length, port);
  if (offload === undefined) return;
  pkt.needsChecksum = 1;
  pkt.checksumStart = at + offload.checksumStart;
  pkt.checksumOffset = offload.checksumOffset;
  pkt.gsoType = offload.gsoType;
  pkt.gsoSize = offload.gsoSize;
  pkt.gsoEcn = offload.gsoEcn;
  if (offload.gsoType !== 0) pkt.headersEnd = at + offload.headersEnd;
  if (offload.outerL4 !== 0) {
    pkt.outerL4 = at + offload.outerL4;
    pkt.innerL3 = at + offload.innerL3;
  }
}
