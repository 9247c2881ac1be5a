/**
 * From bytes to the descriptor: Ethernet, IPv4 and the transport header. Lengths are checked here once, so that no
 * later stage can read outside the frame. A malformed packet is dropped with the reason, never repaired.
 *
 * Read before editing: RFC 1812 §5.2.2 (IPv4 checks), RFC 9293 §3.1, RFC 768, RFC 792, RFC 791 (fragments).
 */
import { ICMP_ANSWER } from '../conntrack/tuple-index.ts';
import type { Packet } from '../packet.ts';
import { PROTOCOL_ICMP, PROTOCOL_SCTP, PROTOCOL_TCP, PROTOCOL_UDP } from '../protocols.ts';
import { Verdict } from '../verdicts.ts';
import {
  ETHERNET_BYTES,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  ethernetType,
  isGroupSource,
  isVlanType,
} from '../wire/ethernet.ts';
import { ICMP_BYTES, icmpCode, icmpPortsWord, icmpQueryType, icmpType, isIcmpRequest } from '../wire/icmp.ts';
import { IPV4, ipVersion, readAddresses } from '../wire/ip.ts';
import {
  hasSourceRoute,
  IPV4_MIN_BYTES,
  IPV4_MORE_FRAGMENTS,
  ipv4FragmentOffset,
  ipv4FragmentWord,
  ipv4HeaderBytes,
  ipv4HeaderChecksum,
  ipv4Protocol,
  ipv4TotalLength,
  isIpv4Fragment,
} from '../wire/ipv4.ts';
import { destinationPort, sourcePort } from '../wire/ports.ts';
import { SCTP_BYTES } from '../wire/sctp.ts';
import { TCP_MIN_BYTES, tcpFlags, tcpHeaderBytes } from '../wire/tcp.ts';
import { UDP_BYTES, udpLength } from '../wire/udp.ts';

/** packet.family of a frame that carries ARP. */
export const FAMILY_ARP = 1;

/** Parse a frame from pkt.start on. GO_ON with pkt.family 4 or FAMILY_ARP, or the reason to drop. */
export function parseFrame(pkt: Packet): Verdict {
  const { view, start } = pkt;
  if (pkt.end - start < ETHERNET_BYTES) return Verdict.FRAME_TRUNCATED;
  pkt.l3 = start + ETHERNET_BYTES;
  if (isGroupSource(view, start)) return Verdict.SOURCE_MAC_INVALID;
  const type = ethernetType(view, start);
  if (type === ETHERTYPE_IPV4) return parseIpv4(pkt);
  if (type === ETHERTYPE_ARP) {
    pkt.family = FAMILY_ARP;
    return Verdict.GO_ON;
  }
  if (type === ETHERTYPE_IPV6) return Verdict.IPV6_NOT_FORWARDED;
  return isVlanType(type) ? Verdict.VLAN_TAGGED : Verdict.ETHERTYPE_UNKNOWN;
}

/** IPv4 header at pkt.l3 (RFC 1812 §5.2.2), then the transport header. */
function parseIpv4(pkt: Packet): Verdict {
  const { view, l3 } = pkt;
  const room = pkt.end - l3;
  if (room < IPV4_MIN_BYTES) return Verdict.IPV4_TRUNCATED;
  if (ipVersion(view, l3) !== IPV4) return Verdict.IPV4_VERSION;
  const headerBytes = ipv4HeaderBytes(view, l3);
  if (headerBytes < IPV4_MIN_BYTES || headerBytes > room) return Verdict.IPV4_HEADER_LENGTH;
  const totalLength = ipv4TotalLength(view, l3);
  if (totalLength < headerBytes || totalLength > room) return Verdict.IPV4_TOTAL_LENGTH;
  if (ipv4HeaderChecksum(view, l3, headerBytes) !== 0) return Verdict.IPV4_CHECKSUM;
  // Ethernet padding, or bytes that an attacker appended (CVE-2020-35498), are not part of the packet.
  pkt.end = l3 + totalLength;
  // Loose and strict source routes are never forwarded (RFC 7126 §4.3, §4.4).
  if (headerBytes > IPV4_MIN_BYTES && hasSourceRoute(view, l3, headerBytes)) return Verdict.IPV4_SOURCE_ROUTE;

  pkt.family = IPV4;
  pkt.protocol = ipv4Protocol(view, l3);
  pkt.tupleKind = pkt.protocol;
  // A later fragment, and a protocol without ports, must not keep those of the tunnel they came out of.
  pkt.srcPort = 0;
  pkt.dstPort = 0;
  readAddresses(view, l3, pkt.src, pkt.dst);
  pkt.l4 = l3 + headerBytes;

  const fragment = ipv4FragmentWord(view, l3);
  if (isIpv4Fragment(fragment)) {
    pkt.fragmentOffset = ipv4FragmentOffset(fragment);
    pkt.moreFragments = (fragment & IPV4_MORE_FRAGMENTS) !== 0 ? 1 : 0;
    if (pkt.gsoType !== 0) return Verdict.OFFLOAD_INVALID;
    if (pkt.fragmentOffset !== 0) return Verdict.GO_ON;
  }
  return parseTransport(pkt);
}

/** Transport header at pkt.l4: ports, flags, types, and where the payload starts. */
function parseTransport(pkt: Packet): Verdict {
  const { view, l4 } = pkt;
  const room = pkt.end - l4;
  switch (pkt.protocol) {
    case PROTOCOL_TCP: {
      if (room < TCP_MIN_BYTES) return pkt.moreFragments ? Verdict.FRAGMENT_TINY : Verdict.TCP_TRUNCATED;
      const headerBytes = tcpHeaderBytes(view, l4);
      if (headerBytes < TCP_MIN_BYTES || headerBytes > room) return Verdict.TCP_HEADER_LENGTH;
      pkt.srcPort = sourcePort(view, l4);
      pkt.dstPort = destinationPort(view, l4);
      pkt.tcpFlags = tcpFlags(view, l4);
      pkt.payloadBytes = room - headerBytes;
      pkt.headersEnd = l4 + headerBytes;
      if (pkt.srcPort === 0 || pkt.dstPort === 0) return Verdict.PORT_ZERO;
      return Verdict.GO_ON;
    }
    case PROTOCOL_UDP: {
      if (room < UDP_BYTES) return pkt.moreFragments ? Verdict.FRAGMENT_TINY : Verdict.UDP_TRUNCATED;
      const length = udpLength(view, l4);
      // The UDP length of a super-packet may be that of one segment or of the whole (linux udp_offload.c); that of a
      // first fragment is the whole datagram's.
      if (length < UDP_BYTES || (length > room && pkt.moreFragments === 0)) return Verdict.UDP_LENGTH;
      pkt.srcPort = sourcePort(view, l4);
      pkt.dstPort = destinationPort(view, l4);
      pkt.payloadBytes = room - UDP_BYTES;
      pkt.headersEnd = l4 + UDP_BYTES;
      if (pkt.dstPort === 0) return Verdict.PORT_ZERO;
      return Verdict.GO_ON;
    }
    case PROTOCOL_ICMP:
      return parseIcmp(pkt, room);
    case PROTOCOL_SCTP:
      if (room < SCTP_BYTES) return pkt.moreFragments ? Verdict.FRAGMENT_TINY : Verdict.SCTP_TRUNCATED;
      pkt.srcPort = sourcePort(view, l4);
      pkt.dstPort = destinationPort(view, l4);
      pkt.payloadBytes = room - SCTP_BYTES;
      pkt.headersEnd = l4 + SCTP_BYTES;
      return Verdict.GO_ON;
    default:
      pkt.payloadBytes = room;
      pkt.headersEnd = l4;
      return Verdict.GO_ON;
  }
}

/**
 * ICMP: the identifier takes the place of one port and the request's type that of the other. Replies have a tuple kind
 * of their own, so that a request never matches as the reply to an earlier request (GHSA-c66w-hq56-4q97).
 */
function parseIcmp(pkt: Packet, room: number): Verdict {
  const { view, l4 } = pkt;
  if (room < ICMP_BYTES) return pkt.moreFragments ? Verdict.FRAGMENT_TINY : Verdict.ICMP_TRUNCATED;
  pkt.icmpType = icmpType(view, l4);
  pkt.icmpCode = icmpCode(view, l4);
  pkt.payloadBytes = room - ICMP_BYTES;
  pkt.headersEnd = l4 + ICMP_BYTES;
  if (icmpQueryType(pkt.icmpType) < 0) return Verdict.GO_ON;
  const ports = icmpPortsWord(view, l4);
  pkt.srcPort = ports >>> 16;
  pkt.dstPort = ports & 0xffff;
  if (!isIcmpRequest(pkt.icmpType)) pkt.tupleKind = ICMP_ANSWER;
  return Verdict.GO_ON;
}
