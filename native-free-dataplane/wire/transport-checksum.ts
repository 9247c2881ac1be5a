/**
 * Checksums of transport headers, which cover parts of the network header too (the pseudo-header). The version field
 * selects the address family.
 *
 * Read before editing: RFC 768, RFC 9293 §3.1, RFC 8200 §8.1, RFC 4443 §2.3; linux
 * Documentation/networking/checksum-offloads.rst (a pending checksum is the pseudo-header's folded sum).
 */
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from '../protocols.ts';
import { finishChecksum, fold16, sumBytes } from './checksum.ts';
import { IPV6, ipVersion } from './ip.ts';
import { ipv4Destination, ipv4Source } from './ipv4.ts';
import { sumIpv6Addresses } from './ipv6.ts';
import { TCP_CHECKSUM } from './tcp.ts';
import { UDP_CHECKSUM } from './udp.ts';

/** Offset of the checksum in the header of a protocol whose checksum may be left pending; -1 for others. */
export function checksumOffsetOf(protocol: number): number {
  if (protocol === PROTOCOL_TCP) return TCP_CHECKSUM;
  return protocol === PROTOCOL_UDP ? UDP_CHECKSUM : -1;
}

/**
 * Sum of the pseudo-header of the packet at `l3`, not folded. An IPv6 routing header's final destination is not
 * considered.
 * @param protocol of the transport header; behind IPv6 extension headers it is not in the IPv6 header itself
 * @param bytes transport header and payload
 */
export function pseudoHeaderSum(view: DataView, l3: number, protocol: number, bytes: number): number {
  if (ipVersion(view, l3) === IPV6) return sumIpv6Addresses(view, l3) + protocol + bytes;
  const src = ipv4Source(view, l3);
  const dst = ipv4Destination(view, l3);
  return (src >>> 16) + (src & 0xffff) + (dst >>> 16) + (dst & 0xffff) + protocol + bytes;
}

/**
 * Checksum over pseudo-header, transport header and payload: 0 if the stored checksum is right. If the checksum field
 * is 0, the result is the value to store (UDP stores 0 as 0xffff). ICMP has no pseudo-header, ICMPv6 has one.
 */
export function transportChecksum(view: DataView, l3: number, l4: number, end: number, protocol: number): number {
  const pseudo = protocol === PROTOCOL_ICMP ? 0 : pseudoHeaderSum(view, l3, protocol, end - l4);
  return finishChecksum(sumBytes(view, l4, end, pseudo));
}

/** Compute and set the checksum of the TCP header at `l4`, whose field is 0. */
export function writeTcpChecksum(view: DataView, l3: number, l4: number, end: number): void {
  view.setUint16(l4 + TCP_CHECKSUM, transportChecksum(view, l3, l4, end, PROTOCOL_TCP));
}

/**
 * Is the checksum pending: does the field hold only the pseudo-header's sum? False for protocols other than TCP and
 * UDP.
 */
export function isChecksumPending(view: DataView, l3: number, l4: number, end: number, protocol: number): boolean {
  const offset = checksumOffsetOf(protocol);
  if (offset < 0) return false;
  return view.getUint16(l4 + offset) === fold16(pseudoHeaderSum(view, l3, protocol, end - l4));
}

/** Set the checksum of a TCP or UDP header to the pseudo-header's sum: a pending checksum. */
export function writePendingChecksum(view: DataView, l3: number, l4: number, end: number, protocol: number): void {
  view.setUint16(l4 + checksumOffsetOf(protocol), fold16(pseudoHeaderSum(view, l3, protocol, end - l4)));
}

/**
 * Finish the pending checksum at `field`, which covers [start, end). A result of 0 is stored as 0xffff, as UDP requires
 * (RFC 768); both are the same number in one's complement.
 */
export function finishPendingChecksum(view: DataView, start: number, field: number, end: number): void {
  const sum = finishChecksum(sumBytes(view, start, end, 0));
  view.setUint16(field, sum === 0 ? 0xffff : sum);
}
