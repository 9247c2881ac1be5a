/**
 * The network header independent of its family, for the stages. Addresses are four words (shared/address.ts).
 *
 * Only IPv4 passes stages/parse.ts at present, so most functions support IPv4 only. IPv6 belongs here and not in the
 * stages: every function has the header's offset, whose first nibble is the version, and can branch on it as
 * pseudoHeaderSum (transport-checksum.ts) does. Comments state where IPv6 differs.
 *
 * The caller has checked that the whole header lies inside the frame. See RFC 791 §3.1, RFC 8200 §3 and §8.
 */
import { mapIpv4 } from '../shared/address.ts';
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from './ethernet.ts';
import {
  emitIpv4,
  IPV4_DONT_FRAGMENT,
  IPV4_MIN_BYTES,
  IPV4_OFFSET_MASK,
  ipv4Destination,
  ipv4Ecn,
  ipv4FragmentWord,
  ipv4HeaderBytes,
  ipv4HeaderChecksum,
  ipv4Identification,
  ipv4Protocol,
  ipv4Source,
  ipv4TotalLength,
  ipv4Ttl,
  lowerIpv4Ttl,
  resetIpv4Ttl,
  rewriteIpv4Addresses,
  writeIpv4Addresses,
  writeIpv4Ecn,
  writeIpv4Identification,
  writeIpv4Segment,
} from './ipv4.ts';
import { IPV6_BYTES } from './ipv6.ts';

export const IPV4 = 4;
export const IPV6 = 6;

/** Values of the ECN field: not ECN-capable, ECN-capable (two code points), congestion experienced (RFC 3168 §5). */
export const NOT_ECT = 0;
export const ECT_1 = 1;
export const ECT_0 = 2;
export const CONGESTION_EXPERIENCED = 3;

/** Bytes of the transport header that every ICMP error quotes (RFC 792); enough to find the connection. */
const QUOTED_TRANSPORT_BYTES = 8;

/** Version field: IPV4, IPV6, or anything else. */
export function ipVersion(view: DataView, l3: number): number {
  return view.getUint8(l3) >> 4;
}

/** EtherType of a frame with a packet of this family (IPV4 or IPV6). */
export function etherTypeOf(family: number): number {
  return family === IPV6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4;
}

/** Length of this family's header without options or extension headers. */
export function minHeaderBytes(family: number): number {
  return family === IPV6 ? IPV6_BYTES : IPV4_MIN_BYTES;
}

/** Read both addresses, four words each. */
export function readAddresses(view: DataView, l3: number, src: Int32Array, dst: Int32Array): void {
  mapIpv4(ipv4Source(view, l3), src);
  mapIpv4(ipv4Destination(view, l3), dst);
}

/** Write the addresses at src[srcAt] and dst[dstAt], four words each, without updating the checksum. */
export function writeAddresses(
  view: DataView,
  l3: number,
  src: Int32Array,
  srcAt: number,
  dst: Int32Array,
  dstAt: number,
): void {
  writeIpv4Addresses(view, l3, src[srcAt + 3], dst[dstAt + 3]);
}

/**
 * Write new addresses and update the header checksum (IPv6 has none).
 * @param src,dst four words each
 * @returns difference of the pseudo-header's sum, for the rewrite… function of the transport header
 */
export function rewriteAddresses(view: DataView, l3: number, src: Int32Array, dst: Int32Array): number {
  return rewriteIpv4Addresses(view, l3, src[3], dst[3]);
}

/** Swap source and destination. No checksum changes, because a sum does not depend on the order. */
export function swapAddresses(view: DataView, l3: number): void {
  writeIpv4Addresses(view, l3, ipv4Destination(view, l3), ipv4Source(view, l3));
}

/** Time to live, or hop limit. */
export function hopLimit(view: DataView, l3: number): number {
  return ipv4Ttl(view, l3);
}

/** The ECN field: NOT_ECT, ECT_1, ECT_0 or CONGESTION_EXPERIENCED (RFC 3168 §5). */
export function ecn(view: DataView, l3: number): number {
  return ipv4Ecn(view, l3);
}

/** Set the ECN field and update the header checksum (IPv6 has none). */
export function writeEcn(view: DataView, l3: number, mark: number): void {
  writeIpv4Ecn(view, l3, mark);
}

/** Decrement the time to live (hop limit). */
export function lowerHopLimit(view: DataView, l3: number): void {
  lowerIpv4Ttl(view, l3);
}

/** Set the time to live (hop limit) to the default, 64. */
export function resetHopLimit(view: DataView, l3: number): void {
  resetIpv4Ttl(view, l3);
}

/** May a router fragment the packet? IPv6: never (RFC 8200 §5). */
export function mayFragment(view: DataView, l3: number): boolean {
  return (ipv4FragmentWord(view, l3) & IPV4_DONT_FRAGMENT) === 0;
}

/** Identification of the datagram that a fragment belongs to. IPv6: 32 bits of the fragment header. */
export function fragmentIdentification(view: DataView, l3: number): number {
  return ipv4Identification(view, l3);
}

/** Set the identification of a new packet. IPv6 has one only in fragments (RFC 8200 §4.5). */
export function writeIdentification(view: DataView, l3: number, identification: number): void {
  writeIpv4Identification(view, l3, identification);
}

/** Protocol of the transport header. IPv6: at the end of the chain of extension headers (ipv6-extensions.ts). */
export function transportProtocol(view: DataView, l3: number): number {
  return ipv4Protocol(view, l3);
}

/** Packet length according to the header; may exceed the bytes available. */
export function totalBytes(view: DataView, l3: number): number {
  return ipv4TotalLength(view, l3);
}

/** Absolute offset of the transport header; IPv6: as transportProtocol. */
export function transportAt(view: DataView, l3: number): number {
  return l3 + ipv4HeaderBytes(view, l3);
}

/** Is the packet a fragment other than the first, without a transport header? */
export function isLaterFragment(view: DataView, l3: number): boolean {
  return (ipv4FragmentWord(view, l3) & IPV4_OFFSET_MASK) !== 0;
}

/**
 * Is the packet that an ICMP error quotes at `l3` usable: an intact network header, and 8 bytes of transport header?
 * Accepts any bytes at `l3` and reads nothing beyond `end`.
 */
export function isQuoteIntact(view: DataView, l3: number, end: number): boolean {
  if (end - l3 < IPV4_MIN_BYTES + QUOTED_TRANSPORT_BYTES || ipVersion(view, l3) !== IPV4) return false;
  const headerBytes = ipv4HeaderBytes(view, l3);
  if (headerBytes < IPV4_MIN_BYTES || end - l3 - headerBytes < QUOTED_TRANSPORT_BYTES) return false;
  return ipv4HeaderChecksum(view, l3, headerBytes) === 0;
}

/**
 * Turn a copy of a super-packet's header into the header of one of its segments, [l3, end).
 * @param l4 absolute offset of the segment's transport header
 * @param identification IPv6 has none, and needs only its payload length
 */
export function writeSegmentHeader(view: DataView, l3: number, l4: number, end: number, identification: number): void {
  writeIpv4Segment(view, l3, l4 - l3, end, identification);
}

/**
 * Write the header of a new packet [l3, end). The addresses, four words each, determine the family; the header has
 * minHeaderBytes of that family.
 */
export function emitIp(
  view: DataView,
  l3: number,
  end: number,
  protocol: number,
  src: Int32Array,
  dst: Int32Array,
): void {
  writeIpv4Addresses(view, l3, src[3], dst[3]);
  emitIpv4(view, l3, end, protocol);
}
