/**
 * Sends packets through a node and back, with every kind of translation. The packet that comes back must be, with its
 * direction reversed, the packet that went in.
 */
import { concat, viewOf } from './frames/frame-builder.ts';
import { ipv4HeaderIsRight } from './frames/frame-residue.ts';
import { reversePacket, withTtl } from './frames/reverse-packet.ts';
import { A, B, ETHERNET } from './nat-node.ts';
import { TestNode } from './test-node.ts';

export const OUTSIDE = '198.51.100.7';

/** Where a packet enters or leaves: a pod, or the node's kernel. */
export type Side = keyof typeof ETHERNET;

/** A path through the node: sender, destination, where it comes out, and what is translated. */
export interface Way {
  name: string;
  from: Side;
  to: Side;
  src: string;
  srcPort: number;
  dst: string;
  dstPort: number;
}

export const WAYS: readonly Way[] = [
  { name: 'not at all', from: 'a', to: 'b', src: A, srcPort: 4000, dst: B, dstPort: 8080 },
  { name: 'destination (ClusterIP)', from: 'a', to: 'b', src: A, srcPort: 4000, dst: '10.96.0.10', dstPort: 80 },
  { name: 'both (NodePort)', from: 'host', to: 'b', src: OUTSIDE, srcPort: 5000, dst: '172.18.0.11', dstPort: 31418 },
  { name: 'both (hairpin)', from: 'a', to: 'a', src: A, srcPort: 4000, dst: '10.96.0.20', dstPort: 80 },
  { name: 'source, port kept', from: 'a', to: 'host', src: A, srcPort: 40000, dst: OUTSIDE, dstPort: 53 },
  { name: 'source and port', from: 'a', to: 'host', src: A, srcPort: 60000, dst: OUTSIDE, dstPort: 53 },
];

/** A node with pods a and b, and services for every path. */
export function nodeFor(): TestNode {
  const node = new TestNode().pod('a', A).pod('b', B);
  for (const protocol of ['tcp', 'udp', 'sctp']) {
    const endpoints = [`${B}:8080`];
    node.service(`${protocol} 10.96.0.10:80`, { endpoints, nodePort: 31418, name: `${protocol}-web` });
    node.service(`${protocol} 10.96.0.20:80`, { endpoints: [`${A}:80`], name: `${protocol}-self` });
  }
  return node;
}

/** Pass an IPv4 packet to the node at a port, and return what comes out at another. */
export function pass(node: TestNode, from: Side, bytes: Uint8Array, to: Side): Uint8Array {
  const verdict = node.receiveBytes(from, concat(ETHERNET[from], bytes));
  const out = node.sentFrames(to);
  if (out.length !== 1) throw new Error(`${verdict}: ${out.length} frames out at ${to}`);
  const sent = out[0]!.bytes.subarray(14);
  if (!ipv4HeaderIsRight(viewOf(sent), 0)) throw new Error('a wrong IPv4 checksum');
  return sent;
}

/** Round trip: the packet that comes back equals the one that went in, reversed. @returns the packet on the far side */
export function thereAndBack(node: TestNode, way: Way, bytes: Uint8Array): Uint8Array {
  const out = pass(node, way.from, bytes, way.to);
  const back = pass(node, way.to, withTtl(reversePacket(out), 64), way.from);
  const expected = withTtl(bytes, 64);
  const got = withTtl(reversePacket(back), 64);
  if (!Buffer.from(got).equals(expected)) {
    const hex = (data: Uint8Array): string => Buffer.from(data).toString('hex');
    throw new Error(`${way.name}: not what it was\n in   ${hex(expected)}\n there ${hex(out)}\n back ${hex(got)}`);
  }
  return out;
}

/** Of an IPv4 header: a record route with one place left, and the end of the list. */
export const ODD_OPTIONS = Uint8Array.of(7, 7, 4, 0, 0, 0, 0, 0);

/** The input packet as text, with this many bytes of payload. */
export function textOf(protocol: string, way: Way, bytes: number): string {
  const { src, srcPort, dst, dstPort } = way;
  if (protocol === 'tcp') return `tcp ${src}:${srcPort} > ${dst}:${dstPort} PA seq 7 ack 9 len ${bytes}`;
  return `${protocol} ${src}:${srcPort} > ${dst}:${dstPort} len ${bytes}`;
}
