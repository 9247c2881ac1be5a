/**
 * Frames through a node, most of them invalid, with the checks on each: nothing throws, every frame ends in a verdict with
 * a name, every sent frame is well formed, translations keep a checksum as right or wrong as it was. Afterwards: the
 * counters add up, and the connection table is consistent.
 */
import { FRAME_AT } from '../../../native-free-dataplane/dataplane.ts';
import type { Packet } from '../../../native-free-dataplane/packet.ts';
import * as modules from '../../../native-free-dataplane/pipeline.ts';
import { PROTOCOL_TCP } from '../../../native-free-dataplane/protocols.ts';
import { portTotals } from '../../../native-free-dataplane/shared/counters.ts';
import { MAX_VERDICTS, VERDICTS, Verdict, verdictName } from '../../../native-free-dataplane/verdicts.ts';
import { isChecksumPending } from '../../../native-free-dataplane/wire/transport-checksum.ts';
import { readVnetHeader } from '../../../native-free-dataplane/wire/vnet-header.ts';
import type { Pipeline } from '../../../src/worker/stages.ts';
import { conntrackFaults } from '../conntrack-check.ts';
import { EmissionCheck } from '../frames/emission-check.ts';
import { type Residue, residueOf } from '../frames/frame-residue.ts';
import { Echoes } from '../frames/fuzz-echoes.ts';
import { type Mutant, mutate, offloadHeader, repair } from '../frames/fuzz-mutations.ts';
import { fuzzNode, seedFrames } from '../fuzz-node.ts';
import { pick, type Random } from '../seeded-random.ts';
import type { TestNode, TestNodeOptions } from '../test-node.ts';

/** Largest frame: 65535 bytes of IPv4 behind an Ethernet header. */
const ROOM = FRAME_AT + 14 + 65535;
/** Bytes behind a frame that are overwritten. */
const BEHIND_BYTES = 256;

/** The nodes: every overlay, with and without offloads. */
export const CONFIGURATIONS: Readonly<Record<string, TestNodeOptions>> = {
  'vxlan, all offloads': { overlay: 'vxlan' },
  'vxlan, no offloads, declared ports': {
    overlay: 'vxlan',
    portPolicy: 'declared',
    localPolicyDrops: true,
    features: { tunnelOffload: false, udpSegmentation: false },
  },
  ipip: { overlay: 'ipip', podMtu: 1480 },
  'host-gw': { overlay: 'host-gw', podMtu: 1500, maxConntrack: 64 },
};

const seeds = seedFrames();

/** The residue of the IPv4 packet at l3, undefined if its lengths are inconsistent. */
function residueAt(view: DataView, l3: number, end: number, pending: boolean): Residue | undefined {
  if (end - l3 < 20 || view.getUint8(l3) >> 4 !== 4) return undefined;
  const headerBytes = (view.getUint8(l3) & 15) << 2;
  const total = view.getUint16(l3 + 2);
  return headerBytes < 20 || total < headerBytes || total > end - l3 ? undefined : residueOf(view, l3, pending);
}

/** One node and the frames that it gets. */
export class FrameFuzzer {
  readonly check = new EmissionCheck();
  readonly node: TestNode;
  readonly random: Random;
  readonly echoes: Echoes;
  readonly headerBytes: number;
  fed = 0;
  refusedHeaders = 0;
  /** What became of each frame: a sum over its verdict and everything that was sent. */
  readonly outcomes: number[] = [];
  private readonly pipeline: Pipeline;
  private readonly behind: number | undefined;
  private readonly original = new Uint8Array(ROOM);
  private readonly originalView = new DataView(this.original.buffer);
  private outcome = 0;
  /** Sum of all verdicts counted so far. */
  private counted: number;

  /**
   * @param behind value of the bytes behind each frame, which nothing may read; undefined: those of earlier frames
   */
  constructor(options: TestNodeOptions, random: Random, pipeline: Pipeline = modules, behind?: number) {
    this.node = fuzzNode(this.check, options);
    this.check.node = this.node;
    this.random = random;
    this.pipeline = pipeline;
    this.behind = behind;
    this.headerBytes = this.node.dataplane.tunnelOffload ? 24 : 12;
    this.echoes = new Echoes(this.node, this.random);
    this.counted = totals(this.node);
    this.check.onFrame = (pkt, innerStart) => {
      this.echoes.remember(pkt, innerStart);
      if (behind === undefined) return;
      this.note(pkt.outPort, pkt.gsoType, pkt.gsoSize, pkt.needsChecksum);
      for (let at = pkt.start; at < pkt.end; at++) this.note(pkt.bytes[at]!);
    };
  }

  private note(...values: number[]): void {
    for (const value of values) this.outcome = (Math.imul(this.outcome, 31) + value) | 0;
  }

  /** One frame, from generation to comparison. Throws with all details if something is wrong. */
  step(index: number): void {
    const { random, node } = this;
    const { pkt } = node;
    const mutant: Mutant = { bytes: pkt.bytes, view: pkt.view, start: FRAME_AT, end: FRAME_AT };
    let port = this.echoes.next(mutant);
    let gso = false;
    if (port < 0) {
      const seed = pick(random, seeds);
      pkt.bytes.set(seed.bytes, FRAME_AT);
      mutant.end = FRAME_AT + seed.bytes.length;
      port = node.portOf(seed.from);
      gso = seed.gso;
    }
    const how = random.below(10);
    if (how < 6) mutate(mutant, random, seeds, ROOM);
    const pending = offloadHeader(mutant, FRAME_AT - this.headerBytes, random, gso, this.headerBytes);
    if (how < 4 || pending) repair(mutant, random, pending);

    const from = FRAME_AT - this.headerBytes;
    const length = mutant.end - from;
    this.original.set(pkt.bytes.subarray(from, mutant.end));
    if (random.below(20) === 0) node.nowMs += random.below(2000) === 0 ? 400_000 : 1 + random.below(40);
    if (random.below(64) === 0) {
      this.pipeline.tick(node.dataplane, node.nowMs);
      this.counted = totals(node);
    }
    if (this.behind !== undefined) pkt.bytes.fill(this.behind, mutant.end, mutant.end + BEHIND_BYTES);
    try {
      this.process(mutant, port);
    } catch (error) {
      const hex = Buffer.from(this.original.buffer, 0, Math.min(length, 4096)).toString('hex');
      const where = `frame ${index}, port ${port}, offload header of ${this.headerBytes} bytes`;
      throw new Error(`${where}, ${length} bytes:\n${hex}\n${(error as Error).stack}`);
    }
  }

  /** The residue of the packet at `l3` as it was before it was processed. */
  private residueBefore(l3: number, end: number, pending: boolean): Residue | undefined {
    const moved = FRAME_AT - this.headerBytes;
    return residueAt(this.originalView, l3 - moved, end - moved, pending);
  }

  private process(mutant: Mutant, port: number): void {
    const { node, check } = this;
    const { pkt } = node;
    pkt.reset(mutant.start, mutant.end, port);
    if (!readVnetHeader(pkt.view, mutant.start - this.headerBytes, this.headerBytes, pkt)) {
      this.refusedHeaders++;
      return;
    }
    this.fed++;
    const pending = pkt.needsChecksum !== 0;
    const { end } = mutant;
    const l3 = mutant.start + 14;
    const ipip = node.identity.overlay === 'ipip';
    const nested = l3 + (ipip ? 20 : 50);
    // A raw socket does not indicate what the kernel merged: it is larger than the overlay's MTU, its checksum pending.
    const merged =
      ipip && pkt.view.getUint16(nested + 2) > node.identity.podMtu && isPendingTcp(pkt, nested, mutant.end);
    const outerPending = pending && isChecksumAt(pkt, l3);
    const innerPending = pending && isChecksumAt(pkt, nested);
    check.emissions.length = 0;
    const before = this.counted;
    this.outcome = 0;
    const verdict = this.pipeline.processFrame(pkt, node.dataplane, node.nowMs);
    if (this.behind !== undefined) {
      this.note(verdict);
      this.outcomes.push(this.outcome);
    }
    this.counted = totals(node);
    const ended = this.counted - before;

    const row = VERDICTS[verdict];
    if (row === undefined || row.class === 'go-on' || row.class === 'lost')
      throw new Error(`${verdictName(verdict)} does not end a packet`);
    if (ended < 1 && row.class !== 'held') throw new Error(`${verdictName(verdict)} was not counted`);
    // A first fragment may be followed by those that waited for it.
    if (ended > 1) return;
    const sent = check.emissions.length;
    const answers = row.class === 'answered';
    const mustSend = answers || row.class === 'forwarded' || row.class === 'delivered';
    if (mustSend !== sent > 0) throw new Error(`${row.name}: ${row.class}, and ${sent} frames were sent`);
    if (sent === 0) return;
    const tunnelled = check.emissions[0]!.tunnelled && node.identity.overlay !== 'host-gw';
    // A checksum inside the payload was finished, which changes bytes that the outer checksum covers.
    const echo = verdict === Verdict.PING_ANSWERED;
    const covered = tunnelled ? outerPending || innerPending : outerPending;
    if ((echo || !answers) && pending && !covered) return;
    const was = tunnelled
      ? this.residueBefore(nested, end, merged || innerPending)
      : this.residueBefore(l3, end, outerPending);
    if (was === undefined) {
      if (verdict === Verdict.ARP_ANSWERED) return;
      throw new Error(`${row.name}: a packet whose lengths do not hold`);
    }
    const kind = echo ? 'echo' : answers ? 'answer' : 'forward';
    const wrong = check.compare(was, kind);
    if (wrong !== undefined) throw new Error(`${row.name}: ${wrong}`);
  }
}

/** Checks what must hold after any number of frames. @throws Error */
export function checkTables({ node, check, fed }: FrameFuzzer): void {
  const faults = conntrackFaults(node.conntrack);
  if (faults.length > 0) throw new Error(`connection table: ${faults.slice(0, 5).join('; ')}`);
  let framesIn = 0;
  let framesOut = 0;
  for (let port = 0; port < 64; port++) {
    const counted = portTotals(node.counters, port);
    framesIn += counted.framesIn;
    framesOut += counted.framesOut;
  }
  if (framesIn !== fed || framesOut !== check.total) {
    throw new Error(`${framesIn} frames in of ${fed}, ${framesOut} frames out of ${check.total}`);
  }
}

/** Is the pending checksum that of the packet at `l3`? */
const isChecksumAt = ({ view, checksumStart }: Packet, l3: number): boolean =>
  checksumStart === l3 + ((view.getUint8(l3) & 15) << 2);

/** Is there a TCP packet whose checksum field holds the pseudo-header's sum? */
function isPendingTcp({ view }: Packet, l3: number, end: number): boolean {
  const l4 = l3 + ((view.getUint8(l3) & 15) << 2);
  if (view.getUint8(l3 + 9) !== PROTOCOL_TCP || l4 + 20 > end) return false;
  return isChecksumPending(view, l3, l4, l3 + view.getUint16(l3 + 2), PROTOCOL_TCP);
}

function totals(node: TestNode): number {
  const block = node.counters.blocks[0]!;
  let sum = 0;
  for (let verdict = 0; verdict < MAX_VERDICTS; verdict++) sum += block[verdict]!;
  return sum;
}
