/**
 * Replays a recording, and compares what comes out with what was recorded, with another build of the pipeline, or with other
 * tables, packet by packet and connection by connection.
 */
import { createHash } from 'node:crypto';
import type { TableBuffers } from '../../../native-free-dataplane/dataplane.ts';
import { printBytes } from '../../../native-free-dataplane/print/frame.ts';
import { protocolName } from '../../../native-free-dataplane/protocols.ts';
import { hasPorts } from '../../../native-free-dataplane/wire/ports.ts';
import type { RecordedFrame, RecordedPacket, Recording } from './recording.ts';
import { type Connection, NodeReplay, type Outcome, type PipelineBuild } from './replay.ts';
import { type NodeSnapshot, type Snapshot, tablesOf } from './snapshot-file.ts';

/** What a replay is compared with, in place of what was recorded. */
export interface Other {
  readonly build: PipelineBuild;
  /** Its tables, new ones at each call; left out: those of the snapshot. */
  readonly tables?: (node: NodeSnapshot) => TableBuffers;
}

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

/** A connection of which at least one packet did not come out the same, at one node. */
export interface ConnectionDifference extends Difference {
  /** Protocol and both ends of its first packet. */
  readonly connection: string;
  readonly ends: Connection;
  /** Packets that differ; `number` is the first of them. */
  readonly packets: number;
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
  /** Connections that differ, and the first of them. */
  readonly differentConnections: number;
  readonly connections: readonly ConnectionDifference[];
}

const SHOWN = 10;
const SHOWN_CONNECTIONS = 20;

/** @param onOutcome called with each packet's outcome in the replay */
export function replay(
  snapshot: Snapshot,
  { packets }: Pick<Recording, 'packets'>,
  build: PipelineBuild,
  other?: Other,
  onOutcome?: (outcome: PacketOutcome) => void,
): ReplayReport {
  const first = snapshot.nodes[0]?.node ?? '';
  const runs = replaysOf(snapshot, { build });
  const others = other && replaysOf(snapshot, other);
  const verdicts: Record<string, number> = {};
  const digest = createHash('sha256');
  const differences: Difference[] = [];
  const connections = new Map<string, Counted<ConnectionDifference>>();
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
    const ends = runs.get(node)!.connection(packet);
    const connection = printConnection(ends);
    const known = connections.get(`${node} ${connection}`);
    if (known !== undefined) known.packets++;
    if (known !== undefined && differences.length >= SHOWN) return;
    const text = printBytes(packet.frame, true);
    const found = { number: i + 1, node, packet: text, expected: printed(expected), actual: printed(actual) };
    if (differences.length < SHOWN) differences.push(found);
    if (known === undefined) connections.set(`${node} ${connection}`, { ...found, connection, ends, packets: 1 });
  });
  return {
    packets: done,
    verdicts,
    framesSent,
    digest: digest.digest('hex'),
    compared,
    different,
    differences,
    differentConnections: connections.size,
    connections: [...connections.values()].slice(0, SHOWN_CONNECTIONS),
  };
}

type Counted<T extends { readonly packets: number }> = Omit<T, 'packets'> & { packets: number };

/** The nodes of a snapshot at its moment, by name. */
export function replaysOf({ nodes }: Snapshot, { build, tables = tablesOf }: Other): Map<string, NodeReplay> {
  return new Map(nodes.map((node) => [node.node, new NodeReplay(node, build, tables(node))]));
}

function printConnection({ protocol, src, srcPort, dst, dstPort }: Connection): string {
  const ports = hasPorts(protocol);
  return `${protocolName(protocol)} ${src}${ports ? `:${srcPort}` : ''} > ${dst}${ports ? `:${dstPort}` : ''}`;
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
