/**
 * A translated connection as seen by its two ends, and the packets they would send: correct ones, and ones with a
 * single error each. For test/e2e/kernel-nat.test.ts.
 */
import { concat, type FrameOptions, viewOf } from '../frames/frame-builder.ts';
import { repairChecksums } from '../frames/frame-residue.ts';
import { packet } from '../frames/frame-text.ts';
import { transportAt } from '../frames/reverse-packet.ts';
import type { Random } from '../seeded-random.ts';
import type { Side } from './nat.ts';
import { GATEWAY, NODE, OUTSIDE, POD_A, POD_B } from './nat-lockstep.ts';

/**
 * Client, server, and the client's address as the server sees it. Ports are kept, so that the other end is known
 * without a look-up.
 */
export interface Way {
  name: string;
  client: Side;
  server: Side;
  src: string;
  dst: string;
  dstPort: number;
  seenSrc: string;
  seenDst: string;
  seenPort: number;
}

const way = (name: string, client: Side, server: Side, asks: string, sees: string): Way => {
  const [src = '', dst = '', dstPort = ''] = asks.split(/ > |:/);
  const [seenSrc = '', seenDst = '', seenPort = ''] = sees.split(/ > |:/);
  return { name, client, server, src, dst, dstPort: Number(dstPort), seenSrc, seenDst, seenPort: Number(seenPort) };
};

export const WAYS: readonly Way[] = [
  way('clusterIP', 'a', 'b', `${POD_A} > 10.96.0.10:80`, `${POD_A} > ${POD_B}:8080`),
  way('nodePort', 'host', 'b', `${OUTSIDE} > ${NODE}:31418`, `${GATEWAY} > ${POD_B}:8080`),
  way('hairpin', 'b', 'b', `${POD_B} > ${NODE}:31418`, `${GATEWAY} > ${POD_B}:8080`),
  way('outside', 'a', 'host', `${POD_A} > ${OUTSIDE}:443`, `${NODE} > ${OUTSIDE}:443`),
  way('direct', 'a', 'b', `${POD_A} > ${POD_B}:8080`, `${POD_A} > ${POD_B}:8080`),
];

/** Ends of a conversation: 0 the client, 1 the server. */
export type End = 0 | 1;

export class Flow {
  readonly way: Way;
  readonly port: number;
  private id: number;

  constructor(its: Way, port: number) {
    this.way = its;
    this.port = port;
    // Eight per connection, so that no two fragmented datagrams have the same identification.
    this.id = port * 8;
  }

  side(end: End): Side {
    return end === 0 ? this.way.client : this.way.server;
  }

  /** `text` is the part after the addresses in frame-text.ts. ICMP has no ports. */
  packet(end: End, protocol: string, text: string, options: FrameOptions = {}): Uint8Array {
    const { src, dst, dstPort, seenSrc, seenDst, seenPort } = this.way;
    const at = (address: string, port: number): string => (protocol === 'icmp' ? address : `${address}:${port}`);
    const line =
      end === 0
        ? `${at(src, this.port)} > ${at(dst, dstPort)}`
        : `${at(seenDst, seenPort)} > ${at(seenSrc, this.port)}`;
    return packet(`${protocol} ${line} ${text}`, { id: this.id++ & 0xffff, ...options });
  }

  /** The packet as the other end received it, and would quote it. */
  seenBy(end: End, protocol: string, text: string, options: FrameOptions = {}): Uint8Array {
    const { src, dst, dstPort, seenSrc, seenDst, seenPort } = this.way;
    const at = (address: string, port: number): string => (protocol === 'icmp' ? address : `${address}:${port}`);
    const line =
      end === 1
        ? `${at(seenSrc, this.port)} > ${at(seenDst, seenPort)}`
        : `${at(dst, dstPort)} > ${at(src, this.port)}`;
    return packet(`${protocol} ${line} ${text}`, { id: this.id++ & 0xffff, ...options });
  }
}

export interface ErrorOptions {
  type: number;
  code: number;
  rest?: number;
  /** Bytes of the transport header that are quoted; all by default. */
  quoted?: number;
  /** Sender of the error; by default the destination of the quoted packet. */
  from?: string;
  /** Receiver of the error; by default the sender of the quoted packet. */
  to?: Uint8Array;
}

/** An ICMP error about a packet, its own checksums right. */
export function errorAbout(about: Uint8Array, { type, code, rest = 0, quoted, from, to }: ErrorOptions): Uint8Array {
  const l4 = transportAt(about);
  const bytes = Math.min(about.length, quoted === undefined ? 548 : l4 + quoted);
  const header = new Uint8Array(28);
  const view = viewOf(header);
  view.setUint16(0, 0x45c0);
  view.setUint16(4, 0x4d4d);
  view.setUint16(8, (64 << 8) | 1);
  header.set(from === undefined ? about.subarray(16, 20) : from.split('.').map(Number), 12);
  header.set(to ?? about.subarray(12, 16), 16);
  view.setUint16(20, (type << 8) | code);
  view.setUint32(24, rest);
  const error = concat(header, about.subarray(0, bytes));
  viewOf(error).setUint16(2, error.length);
  return repaired(error);
}

/** The packet with its IPv4 header's and transport's checksums right. */
export function repaired(bytes: Uint8Array): Uint8Array {
  repairChecksums(viewOf(bytes), 0, bytes.length, true, false);
  return bytes;
}

/** A change at a byte of the packet, and the checksums to be corrected afterwards. */
export function changed(
  bytes: Uint8Array,
  at: number,
  value: number,
  checksums: 'none' | 'header' | 'all' = 'none',
): Uint8Array {
  const copy = bytes.slice();
  copy[at] = value;
  if (checksums !== 'none') repairChecksums(viewOf(copy), 0, copy.length, checksums === 'all', false);
  return copy;
}

/** The packet truncated to this many bytes, its total length and header checksum right. */
export function cut(bytes: Uint8Array, length: number): Uint8Array {
  const copy = bytes.slice(0, length);
  viewOf(copy).setUint16(2, length);
  repairChecksums(viewOf(copy), 0, length, false, false);
  return copy;
}

/** The payload bytes [from, to) of a whole packet as a fragment. */
export function piece(bytes: Uint8Array, from: number, to: number, more: boolean): Uint8Array {
  const l4 = transportAt(bytes);
  const copy = concat(bytes.subarray(0, l4), bytes.subarray(l4 + from, l4 + to));
  const view = viewOf(copy);
  view.setUint16(2, copy.length);
  view.setUint16(6, (more ? 0x2000 : 0) | (from >> 3));
  repairChecksums(view, 0, copy.length, false, false);
  return copy;
}

export const someEnd = (random: Random): End => random.below(2) as End;

/** Sends packets that make up one step; false if the two nodes differed, which ends the sequence. */
export type Send = (side: Side, ...packets: Uint8Array[]) => boolean;
export type Sequence = (flow: Flow, send: Send, random: Random) => void;
