/**
 * Ports: the first four bytes of a TCP, UDP or SCTP header, source before destination. They are compared and written as
 * one word, source << 16 | destination; an ICMP query has such a word too (icmp.ts).
 *
 * The caller has checked that PORTS_BYTES lie inside the packet. See RFC 9293 §3.1, RFC 768, RFC 9260 §3.1.
 */
import { PROTOCOL_SCTP, PROTOCOL_TCP, PROTOCOL_UDP } from '../protocols.ts';

export const PORTS_BYTES = 4;

/** Does a header of this protocol begin with ports? */
export function hasPorts(protocol: number): boolean {
  return protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP || protocol === PROTOCOL_SCTP;
}

/** Source port, 0..65535. */
export function sourcePort(view: DataView, l4: number): number {
  return view.getUint16(l4);
}

/** Destination port, 0..65535. */
export function destinationPort(view: DataView, l4: number): number {
  return view.getUint16(l4 + 2);
}

/** Both ports, source << 16 | destination, int32. */
export function portsWord(view: DataView, l4: number): number {
  return view.getInt32(l4);
}

/** Write both ports without updating the checksum; the rewrite… function of each header does both. */
export function writePorts(view: DataView, l4: number, ports: number): void {
  view.setInt32(l4, ports);
}
