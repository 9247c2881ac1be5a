/**
 * Shared by the conformance tests of conntrack and NAT: a node with two pods behind its address, packets compared byte
 * for byte with ones built from scratch, and the contents of the connection table.
 */
import * as assert from 'uvu/assert';
import { flushRecord } from '../../native-free-dataplane/conntrack/flushed.ts';
import { Rec, recordAt, StateWord, Status, tupleAt } from '../../native-free-dataplane/conntrack/record.ts';
import { ethernetFrame, type FrameOptions } from './frames/frame-builder.ts';
import { packet } from './frames/frame-text.ts';
import type { Sent, TestNode, TestNodeOptions } from './test-node.ts';
import { TestNode as Node } from './test-node.ts';

export const A = '10.244.1.2';
export const B = '10.244.1.3';
export const GATEWAY = '10.244.1.1';
export const NODE = '172.18.0.11';
/** Hosts outside, and a router on the path to them. */
export const SERVER = '172.18.0.1';
export const OTHER = '172.18.0.2';
export const ROUTER = '172.18.0.254';

/** Options of a frame that the node's kernel hands over. */
export const HOST_MACS = { dstMac: '0a:58:0a:f4:01:01', srcMac: '02:00:00:00:00:09' };

/** The Ethernet header of an IPv4 packet from a pod or from the node's kernel. */
export const ETHERNET = {
  a: ethernetFrame('0a:58:0a:f4:01:02', HOST_MACS.dstMac, 0x0800, new Uint8Array(0)),
  b: ethernetFrame('0a:58:0a:f4:01:03', HOST_MACS.dstMac, 0x0800, new Uint8Array(0)),
  host: ethernetFrame(HOST_MACS.srcMac, HOST_MACS.dstMac, 0x0800, new Uint8Array(0)),
} as const;

/** A node with pods a and b, and node 2 beside it. */
export function natNode(options: TestNodeOptions = {}): TestNode {
  return new Node(options).pod('a', A).pod('b', B).peer(2);
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** The packet of a sent frame must equal, byte for byte, the one built from this text. */
export function isPacket(sent: Sent | undefined, text: string, options: FrameOptions = {}): void {
  assert.ok(sent, `nothing was sent, expected ${text}`);
  assert.is(hex(sent.bytes.subarray(14)), hex(packet(text, options)), text);
}

/** The one frame sent to a pod (or `host`) since the last call. */
export function onlySent(n: TestNode, to: string): Sent {
  const frames = n.sentFrames(to);
  assert.is(frames.length, 1, `${frames.length} frames to ${to}`);
  return frames[0]!;
}

/** Ports of the packet in a frame: source, destination; for an ICMP query its identifier, twice. */
export function portsOf(sent: Sent): [number, number] {
  const view = new DataView(sent.bytes.buffer, sent.bytes.byteOffset);
  const l4 = 14 + ((view.getUint8(14) & 15) << 2);
  if (view.getUint8(23) === 1) return [view.getUint16(l4 + 4), view.getUint16(l4 + 4)];
  return [view.getUint16(l4), view.getUint16(l4 + 2)];
}

/** A masqueraded connection of pod a that was flushed: the port it has outside, and a segment of its client. */
export function flushedConnection(n: TestNode): { port: number; segment: string } {
  n.receive('a', `tcp ${A}:30500 > ${SERVER}:80 S seq 1000`);
  const [port] = portsOf(onlySent(n, 'host'));
  n.receive('host', `tcp ${SERVER}:80 > ${NODE}:${port} SA seq 5000 ack 1001`);
  n.receive('a', `tcp ${A}:30500 > ${SERVER}:80 A seq 1001 ack 5001`);
  n.out.length = 0;
  assert.ok(flushRecord(n.conntrack, 0));
  return { port, segment: `tcp ${A}:30500 > ${SERVER}:80 PA seq 1001 ack 5001 len 10` };
}

/** Every word of every record ever used: equal before and after means that nothing changed. */
export function tableWords(n: TestNode): Int32Array {
  const { words, recordsAt, recordWords, state } = n.conntrack;
  return words.slice(recordsAt, recordsAt + state[StateWord.WATERMARK]! * recordWords);
}

export interface Entry {
  record: number;
  assured: boolean;
  /** Milliseconds until it expires. */
  life: number;
  original: number[];
  reply: number[];
}

/** The live connections. */
export function entries(n: TestNode): Entry[] {
  const { conntrack } = n;
  const { words, state, tupleWords } = conntrack;
  const found: Entry[] = [];
  for (let record = 0; record < state[StateWord.WATERMARK]!; record++) {
    const at = recordAt(conntrack, record);
    const meta = words[at + Rec.META]!;
    if ((meta & (Status.CONFIRMED | Status.DEAD)) !== Status.CONFIRMED) continue;
    const tuple = (direction: number): number[] => {
      const from = tupleAt(conntrack, record, direction);
      return [...words.subarray(from, from + tupleWords)];
    };
    found.push({
      record,
      assured: (meta & Status.ASSURED) !== 0,
      life: (words[at + Rec.EXPIRES]! - n.nowMs) | 0,
      original: tuple(0),
      reply: tuple(1),
    });
  }
  return found;
}

/** Seconds until the only live connection expires. */
export function secondsLeft(n: TestNode): number {
  const all = entries(n);
  assert.is(all.length, 1, `${all.length} connections`);
  return all[0]!.life / 1000;
}
