/**
 * The VXLAN header, and the lengths of the headers in front of it over IPv4.
 *
 *   0                   1                   2                   3
 *   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *  +-+-+-+-+-+-+-+-+-----------------------------------------------+
 *  |R|R|R|R|I|R|R|R|                   reserved                    |  0
 *  +-+-+-+-+-+-+-+-+-----------------------------+-----------------+
 *  |       VXLAN network identifier (VNI)        |    reserved     |  4
 *  +---------------------------------------------+-----------------+
 *
 *  frame: Ethernet 14 · IPv4 20 · UDP 8 · VXLAN 8 · inner Ethernet 14 · inner IP …
 *
 * See RFC 7348 §5.
 */
import { VXLAN_PORT, VXLAN_PORT_LINUX } from '../protocols.ts';
import { ETHERNET_BYTES } from './ethernet.ts';
import { IPV4_MIN_BYTES } from './ipv4.ts';
import { destinationPort } from './ports.ts';
import { UDP_BYTES } from './udp.ts';

export const VXLAN_BYTES = 8;
/** Bytes from the start of the outer IPv4 header to the start of the inner Ethernet header. */
export const VXLAN_OUTER_IPV4_BYTES: number = IPV4_MIN_BYTES + UDP_BYTES + VXLAN_BYTES;
/** Bytes that encapsulation adds to an IP packet, without the outer Ethernet header: what the MTU is reduced by. */
export const VXLAN_OVERHEAD_IPV4: number = VXLAN_OUTER_IPV4_BYTES + ETHERNET_BYTES;

const IDENTIFIER = 4;
/** First word of a header with only the flag "VNI valid" set. */
const FLAGS_WORD = 0x08000000;

/** Network identifier, 0..2^24-1. */
export function vxlanNetwork(view: DataView, at: number): number {
  return view.getUint32(at + IDENTIFIER) >>> 8;
}

/** Is the flag set that makes the VNI valid? */
export function hasVxlanNetwork(view: DataView, at: number): boolean {
  return (view.getInt32(at) & FLAGS_WORD) !== 0;
}

/** Is the UDP packet at `l4`, to `end`, addressed to a VXLAN port, with the flag that makes the VNI valid? For displays. */
export function carriesVxlan(view: DataView, l4: number, end: number): boolean {
  if (end - l4 < UDP_BYTES + VXLAN_BYTES) return false;
  const port = destinationPort(view, l4);
  return (port === VXLAN_PORT || port === VXLAN_PORT_LINUX) && hasVxlanNetwork(view, l4 + UDP_BYTES);
}

/**
 * Is the VNI flag set and every reserved bit clear? (linux vxlan_rcv drops others; the RFC says to ignore those bits.)
 */
export function isCleanVxlan(view: DataView, at: number): boolean {
  return view.getInt32(at) === FLAGS_WORD && view.getUint8(at + IDENTIFIER + 3) === 0;
}

/** Write a header. @param network VNI, 0..2^24-1 */
export function emitVxlan(view: DataView, at: number, network: number): void {
  view.setInt32(at, FLAGS_WORD);
  view.setInt32(at + IDENTIFIER, network << 8);
}
