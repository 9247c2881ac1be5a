/**
 * Which TCP segments may be merged into a super-packet: those that segmentation of that super-packet would produce again
 * (the inverse of segment.ts), as in the kernel's receive offload.
 *
 * Read before editing: linux net/ipv4/tcp_offload.c (tcp_gro_receive), net/ipv4/af_inet.c (inet_gro_receive).
 */
import { PROTOCOL_TCP } from '../protocols.ts';
import { IPV4, ipVersion } from '../wire/ip.ts';
import {
  IPV4_MIN_BYTES,
  ipv4FragmentWord,
  ipv4HeaderBytes,
  ipv4HeaderChecksum,
  ipv4Protocol,
  ipv4TotalLength,
  isIpv4Fragment,
  isSameIpv4Header,
} from '../wire/ipv4.ts';
import {
  isSameTcpHeader,
  TCP_ACK,
  TCP_MIN_BYTES,
  TCP_PSH,
  tcpFlags,
  tcpHeaderBytes,
  tcpSequence,
} from '../wire/tcp.ts';
import { transportChecksum } from '../wire/transport-checksum.ts';

/**
 * Is the packet [l3, end) a whole TCP segment with data, no flags but ACK and PSH, and right checksums? A merged segment
 * gets a new checksum, so a wrong one must not be merged.
 */
export function isMergeable(view: DataView, l3: number, end: number): boolean {
  if (end - l3 < IPV4_MIN_BYTES + TCP_MIN_BYTES || ipVersion(view, l3) !== IPV4) return false;
  if (ipv4HeaderBytes(view, l3) !== IPV4_MIN_BYTES || ipv4TotalLength(view, l3) !== end - l3) return false;
  if (ipv4Protocol(view, l3) !== PROTOCOL_TCP || isIpv4Fragment(ipv4FragmentWord(view, l3))) return false;
  const l4 = l3 + IPV4_MIN_BYTES;
  const headerBytes = tcpHeaderBytes(view, l4);
  if (headerBytes < TCP_MIN_BYTES || l4 + headerBytes >= end) return false;
  if ((tcpFlags(view, l4) & ~TCP_PSH) !== TCP_ACK) return false;
  return ipv4HeaderChecksum(view, l3, IPV4_MIN_BYTES) === 0 && transportChecksum(view, l3, l4, end, PROTOCOL_TCP) === 0;
}

/** Bytes of both headers of a mergeable packet. */
export function mergedHeaderBytes(view: DataView, l3: number): number {
  return IPV4_MIN_BYTES + tcpHeaderBytes(view, l3 + IPV4_MIN_BYTES);
}

/**
 * Does the mergeable packet at `next` belong behind the one at `first`?
 * @param sequence the sequence number that it then has
 */
export function continues(view: DataView, first: number, next: number, sequence: number): boolean {
  return (
    tcpSequence(view, next + IPV4_MIN_BYTES) === (sequence | 0) &&
    isSameIpv4Header(view, first, next) &&
    isSameTcpHeader(view, first + IPV4_MIN_BYTES, next + IPV4_MIN_BYTES)
  );
}
