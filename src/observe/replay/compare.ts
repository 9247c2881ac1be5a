/** Replays a recording, and compares what comes out with what was recorded, or with another build of the pipeline. */
import { createHash } from 'node:crypto';
import { printBytes } from '../../../native-free-dataplane/print/frame.ts';
import type { RecordedFrame, RecordedPacket, Recording } from './recording.ts';
import { NodeReplay, type Outcome, type PipelineBuild } from './replay.ts';
import type { Snapshot } from './snapshot-file.ts';

/** A packet that did not come out the same. */
export interface Difference {
  /** Number of the packet in the recording. */
  readonly number: number;
  readonly node: string;
  readonly packet: string;
  /** What was recorded, or the other build's result. */
  readonly expected: PrintedOutcome;
  readonly actual: PrintedOutcome;
}

export interface PrintedOutcome {
  readonly verdict: string;
  readonly sent: readonly { readonly port: number; readonly packet: string }[];
}

/** What became of one packet. */
export interface PacketOutcome extends PrintedOutcome {
  /** Number of the packet in the recording. */
  readonly number: number;
  readonly node: string;
  readonly packet: string;
}

export interface ReplayReport {
  readonly packets: number;
  /** Packets by verdict, in the replay. */
  readonly verdicts: Readonly<Record<string, number>>;
  readonly framesSent: number;
  /** SHA-256 of all verdicts and frames sent, in order. */
  readonly digest: string;
  /** Packets that were compared, and those that differ; the first of them in full. */
  readonly compared: number;
  readonly different: number;
  readonly differences: readonly Difference[];
}

const SHOWN = 10;

/**
 * @param other compared with in place of what was recorded
 * @param onOutcome called with each packet's outcome in the replay
 */
export function replay(
  snapshot: Snapshot,
  { packets }: Pick<Recording, 'packets'>,
  build: PipelineBuild,
  other?: PipelineBuild,
  onOutcome?: (outcome: PacketOutcome) => void,
): ReplayReport {
  const first = snapshot.nodes[0]?.node ?? '';
  const runs = new Map(snapshot.nodes.map((node) => [node.node, new NodeReplay(node, build)]));
  const others = other && new Map(snapshot.nodes.map((node) => [node.node, new NodeReplay(node, other)]));
  const verdicts: Record<string, number> = {};
  const digest = createHash('sha256');
  const differences: Difference[] = [];
  let [framesSent, compared, different, done] = [0, 0, 0, 0];
  packets.forEach((packet, i) => {
    const node = packet.node ?? first;
    const actual = runs.get(node)?.process(packet);
    if (actual === undefined) return;
    done++;
    verdicts[actual.verdict] = (verdicts[actual.verdict] ?? 0) + 1;
    framesSent += actual.sent.length;
    digest.update(actual.verdict);
    for (const { port, bytes } of actual.sent) digest.update(String(port)).update(bytes);
    onOutcome?.({ number: i + 1, node, packet: printBytes(packet.frame, true), ...printed(actual) });
    const expected = others === undefined ? recorded(packet) : others.get(node)?.process(packet);
    if (expected === undefined) return;
    compared++;
    if (isSame(expected, actual)) return;
    different++;
    if (differences.length >= SHOWN) return;
    const text = printBytes(packet.frame, true);
    differences.push({ number: i + 1, node, packet: text, expected: printed(expected), actual: printed(actual) });
  });
  return { packets: done, verdicts, framesSent, digest: digest.digest('hex'), compared, different, differences };
}

function recorded({ verdict, sent }: RecordedPacket): Outcome | undefined {
  return verdict === undefined || sent === undefined ? undefined : { verdict, sent };
}

function isSame(a: Outcome, b: Outcome): boolean {
  return (
    a.verdict === b.verdict &&
    a.sent.length === b.sent.length &&
    a.sent.every((frame, i) => isSameFrame(frame, b.sent[i]!))
  );
}

function isSameFrame(a: RecordedFrame, b: RecordedFrame): boolean {
  const sameOffload = a.checksumPending === b.checksumPending && a.segmentBytes === b.segmentBytes;
  return a.port === b.port && sameOffload && Buffer.compare(a.bytes, b.bytes) === 0;
}

const printed = ({ verdict, sent }: Outcome): PrintedOutcome => ({
  verdict,
  sent: sent.map(({ port, bytes }) => ({ port, packet: printBytes(bytes) })),
});
