/**
 * The IPv4 header. The caller has made sure that 20 bytes (or headerBytes) lie inside the frame.
 *
 *   0                   1                   2                   3
 *   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *  +-------+-------+---------------+-------------------------------+
 *  |version|  IHL  |type of service|         total length          |  0
 *  +-------+-------+---------------+-----+-------------------------+
 *  |        identification         |0 D M|     fragment offset     |  4
 *  +---------------+---------------+-----+-------------------------+
 *  | time to live  |   protocol    |        header checksum        |  8
 *  +---------------+---------------+-------------------------------+
 *  |                        source address                         | 12
 *  |                      destination address                      | 16
 *  +-----------------------------------------------+---------------+
 *  |                    options                    |    padding    | 20
 *  +-----------------------------------------------+---------------+
 *
 * See RFC 791 §3.1; protocol numbers: IANA.
 */
import { ipv4HeaderChecksum } from './checksum.ts';

export const IPV4_MIN_BYTES = 20;
export const IPV4_MAX_HEADER_BYTES = 60;

export const IPV4_TOTAL_LENGTH = 2;
export const IPV4_IDENTIFICATION = 4;
export const IPV4_FRAGMENT = 6;
export const IPV4_TTL = 8;
export const IPV4_PROTOCOL = 9;
export const IPV4_CHECKSUM = 10;
export const IPV4_SOURCE = 12;
export const IPV4_DESTINATION = 16;

/** Bits of the fragment word. */
export const IPV4_DONT_FRAGMENT = 0x4000;
export const IPV4_MORE_FRAGMENTS = 0x2000;
export const IPV4_OFFSET_MASK = 0x1fff;

export const PROTOCOL_ICMP = 1;
export const PROTOCOL_IPIP = 4;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;
export const PROTOCOL_IPV6 = 41;
export const PROTOCOL_GRE = 47;
export const PROTOCOL_ICMPV6 = 58;
export const PROTOCOL_SCTP = 132;

/** Version field: 4 for IPv4, 6 for IPv6. */
export function ipVersion(view: DataView, l3: number): number {
  return view.getUint8(l3) >> 4;
}

/** Header length in bytes as stated, 0..60; below 20 it is invalid. */
export function ipv4HeaderBytes(view: DataView, l3: number): number {
  return (view.getUint8(l3) & 15) << 2;
}

/** Header and payload, bytes. */
export function ipv4TotalLength(view: DataView, l3: number): number {
  return view.getUint16(l3 + IPV4_TOTAL_LENGTH);
}

export function ipv4Identification(view: DataView, l3: number): number {
  return view.getUint16(l3 + IPV4_IDENTIFICATION);
}

/** The whole word: do-not-fragment, more-fragments and the offset in units of 8 bytes. */
export function ipv4FragmentWord(view: DataView, l3: number): number {
  return view.getUint16(l3 + IPV4_FRAGMENT);
}

/** Offset of this fragment in bytes. */
export function ipv4FragmentOffset(view: DataView, l3: number): number {
  return (view.getUint16(l3 + IPV4_FRAGMENT) & IPV4_OFFSET_MASK) << 3;
}

export function ipv4Ttl(view: DataView, l3: number): number {
  return view.getUint8(l3 + IPV4_TTL);
}

export function ipv4Protocol(view: DataView, l3: number): number {
  return view.getUint8(l3 + IPV4_PROTOCOL);
}

/** Source address, int32. */
export function ipv4Source(view: DataView, l3: number): number {
  return view.getInt32(l3 + IPV4_SOURCE);
}

/** Destination address, int32. */
export function ipv4Destination(view: DataView, l3: number): number {
  return view.getInt32(l3 + IPV4_DESTINATION);
}

/** Set the header checksum over the header as it stands. */
export function writeIpv4Checksum(view: DataView, l3: number, headerBytes: number): void {
  view.setUint16(l3 + IPV4_CHECKSUM, 0);
  view.setUint16(l3 + IPV4_CHECKSUM, ipv4HeaderChecksum(view, l3, headerBytes));
}

/**
 * Write a 20-byte header with its checksum; type of service 0.
 * @param totalLength header and payload, bytes
 * @param fragmentWord IPV4_DONT_FRAGMENT, IPV4_MORE_FRAGMENTS and the offset in units of 8 bytes
 * @param src,dst int32
 */
export function emitIpv4(
  view: DataView,
  l3: number,
  totalLength: number,
  identification: number,
  fragmentWord: number,
  ttl: number,
  protocol: number,
  src: number,
  dst: number,
): void {
  view.setUint16(l3, 0x4500);
  view.setUint16(l3 + IPV4_TOTAL_LENGTH, totalLength);
  view.setUint16(l3 + IPV4_IDENTIFICATION, identification);
  view.setUint16(l3 + IPV4_FRAGMENT, fragmentWord);
  view.setUint8(l3 + IPV4_TTL, ttl);
  view.setUint8(l3 + IPV4_PROTOCOL, protocol);
  view.setInt32(l3 + IPV4_SOURCE, src);
  view.setInt32(l3 + IPV4_DESTINATION, dst);
  writeIpv4Checksum(view, l3, IPV4_MIN_BYTES);
}
