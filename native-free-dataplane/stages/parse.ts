/**
 * Bytes → descriptor: Ethernet, IPv4 and the transport header, checked once so that no later stage can read outside
 * the frame. Refuses to guess: whatever does not add up ends here with its reason.
 *
 * Read before editing: RFC 1812 §5.2.2 (IPv4 checks), RFC 9293 §3.1, RFC 768, RFC 792, RFC 791 (fragments).
 */

import { ICMP_ANSWER } from '../conntrack/tuple-index.ts';
import type { Packet } from '../packet.ts';
import { Verdict } from '../verdicts.ts';
import { ipv4HeaderChecksum } from '../wire/checksum.ts';
import { ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_QINQ, ETHERTYPE_VLAN } from '../wire/ethernet.ts';
import { icmpQueryType, isIcmpRequest } from '../wire/icmp.ts';
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from '../wire/ipv4.ts';

const ETHERNET_BYTES = 14;
const IPV4_MIN_BYTES = 20;
const PROTOCOL_SCTP = 132;
const IPV4_MAPPED = 0xffff;

/** packet.family of a frame that carries ARP. */
export const FAMILY_ARP = 1;

/** The frame's Ethernet header and what it carries. GO_ON with pkt.family 4 or FAMILY_ARP, or why not. */
export function parseFrame(pkt: Packet): Verdict {
  const { view, start } = pkt;
  if (pkt.end - start < ETHERNET_BYTES) return Verdict.FRAME_TRUNCATED;
  pkt.l3 = start + ETHERNET_BYTES;
  if ((view.getUint8(start + 6) & 1) !== 0) return Verdict.SOURCE_MAC_INVALID;
  const type = view.getUint16(start + 12);
  if (type === ETHERTYPE_IPV4) return parseIpv4(pkt);
  if (type === ETHERTYPE_ARP) {
    pkt.family = FAMILY_ARP;
    return Verdict.GO_ON;
  }
  if (type === ETHERTYPE_IPV6) return Verdict.IPV6_NOT_FORWARDED;
  return type === ETHERTYPE_VLAN || type === ETHERTYPE_QINQ ? Verdict.VLAN_TAGGED : Verdict.ETHERTYPE_UNKNOWN;
}

/** IPv4 header at pkt.l3 (RFC 1812 §5.2.2), then the transport header. */
function parseIpv4(pkt: Packet): Verdict {
  const { view, l3 } = pkt;
  const room = pkt.end - l3;
  if (room < IPV4_MIN_BYTES) return Verdict.IPV4_TRUNCATED;
  const versionAndLength = view.getUint8(l3);
  if (versionAndLength >> 4 !== 4) return Verdict.IPV4_VERSION;
  const headerBytes = (versionAndLength & 15) << 2;
  if (headerBytes < IPV4_MIN_BYTES || headerBytes > room) return Verdict.IPV4_HEADER_LENGTH;
  const totalLength = view.getUint16(l3 + 2);
  if (totalLength < headerBytes || totalLength > room) return Verdict.IPV4_TOTAL_LENGTH;
  if (ipv4HeaderChecksum(view, l3, headerBytes) !== 0) return Verdict.IPV4_CHECKSUM;
  // Ethernet padding, or bytes an attacker hung on behind the packet (CVE-2020-35498): not part of it.
  pkt.end = l3 + totalLength;
  if (headerBytes > IPV4_MIN_BYTES && hasSourceRoute(pkt, headerBytes)) return Verdict.IPV4_SOURCE_ROUTE;

  pkt.family = 4;
  pkt.protocol = view.getUint8(l3 + 9);
  pkt.tupleKind = pkt.protocol;
  pkt.src[0] = 0;
  pkt.src[1] = 0;
  pkt.src[2] = IPV4_MAPPED;
  pkt.src[3] = view.getInt32(l3 + 12);
  pkt.dst[0] = 0;
  pkt.dst[1] = 0;
  pkt.dst[2] = IPV4_MAPPED;
  pkt.dst[3] = view.getInt32(l3 + 16);
  pkt.l4 = l3 + headerBytes;

  const fragment = view.getUint16(l3 + 6);
  if ((fragment & 0x3fff) !== 0) {
    pkt.fragmentOffset = (fragment & 0x1fff) << 3;
    pkt.moreFragments = (fragment >> 13) & 1;
    if (pkt.gsoType !== 0) return Verdict.OFFLOAD_INVALID;
    if (pkt.fragmentOffset !== 0) return Verdict.GO_ON;
  }
  return parseTransport(pkt);
}

/** Loose or strict source route among the options: never forwarded (RFC 7126 §4.3, §4.4). */
function hasSourceRoute(pkt: Packet, headerBytes: number): boolean {
  const { view, l3 } = pkt;
  let at = l3 + IPV4_MIN_BYTES;
  const end = l3 + headerBytes;
  while (at < end) {
    const kind = view.getUint8(at);
    if (kind === 0) return false;
    if (kind === 131 || kind === 137) return true;
    if (kind === 1) at++;
    else {
      if (at + 1 >= end) return false;
      const bytes = view.getUint8(at + 1);
      if (bytes < 2) return false;
      at += bytes;
    }
  }
  return false;
}

/** Transport header at pkt.l4: ports, flags, types, and where the payload starts. */
export function parseTransport(pkt: Packet): Verdict {
  const { view, l4 } = pkt;
  const room = pkt.end - l4;
  switch (pkt.protocol) {
    case PROTOCOL_TCP: {
      if (room < 20) return pkt.moreFragments ? Verdict.FRAGMENT_TINY : Verdict.TCP_TRUNCATED;
      const headerBytes = (view.getUint8(l4 + 12) >> 4) << 2;
      if (headerBytes < 20 || headerBytes > room) return Verdict.TCP_HEADER_LENGTH;
      pkt.srcPort = view.getUint16(l4);
      pkt.dstPort = view.getUint16(l4 + 2);
      pkt.tcpFlags = view.getUint8(l4 + 13);
      pkt.payloadBytes = room - headerBytes;
      pkt.headersEnd = l4 + headerBytes;
      if (pkt.srcPort === 0 || pkt.dstPort === 0) return Verdict.PORT_ZERO;
      return Verdict.GO_ON;
    }
    case PROTOCOL_UDP: {
      if (room < 8) return pkt.moreFragments ? Verdict.FRAGMENT_TINY : Verdict.UDP_TRUNCATED;
      const length = view.getUint16(l4 + 4);
      // A super-packet's UDP length may be that of one segment or of the whole (linux udp_offload.c); a first fragment's is the whole datagram's.
      if (length < 8 || (length > room && pkt.moreFragments === 0)) return Verdict.UDP_LENGTH;
      pkt.srcPort = view.getUint16(l4);
      pkt.dstPort = view.getUint16(l4 + 2);
      pkt.payloadBytes = room - 8;
      pkt.headersEnd = l4 + 8;
      if (pkt.dstPort === 0) return Verdict.PORT_ZERO;
      return Verdict.GO_ON;
    }
    case PROTOCOL_ICMP:
      return parseIcmp(pkt, room);
    case PROTOCOL_SCTP:
      if (room < 12) return pkt.moreFragments ? Verdict.FRAGMENT_TINY : Verdict.FRAME_TRUNCATED;
      pkt.srcPort = view.getUint16(l4);
      pkt.dstPort = view.getUint16(l4 + 2);
      pkt.payloadBytes = room - 12;
      pkt.headersEnd = l4 + 12;
      return Verdict.GO_ON;
    default:
      pkt.payloadBytes = room;
      pkt.headersEnd = l4;
      return Verdict.GO_ON;
  }
}

/**
 * ICMP: an identifier takes the place of the port, and the request's type stands opposite to it. Answers are a kind of
 * tuple of their own, so that a request is never taken for the answer to somebody's earlier one (GHSA-c66w-hq56-4q97).
 */
function parseIcmp(pkt: Packet, room: number): Verdict {
  const { view, l4 } = pkt;
  if (room < 8) return pkt.moreFragments ? Verdict.FRAGMENT_TINY : Verdict.ICMP_TRUNCATED;
  pkt.icmpType = view.getUint8(l4);
  pkt.icmpCode = view.getUint8(l4 + 1);
  pkt.payloadBytes = room - 8;
  pkt.headersEnd = l4 + 8;
  const query = icmpQueryType(pkt.icmpType);
  if (query < 0) return Verdict.GO_ON;
  const identifier = view.getUint16(l4 + 4);
  if (isIcmpRequest(pkt.icmpType)) {
    pkt.srcPort = identifier;
    pkt.dstPort = query;
  } else {
    pkt.srcPort = query;
    pkt.dstPort = identifier;
    pkt.tupleKind = ICMP_ANSWER;
  }
  return Verdict.GO_ON;
}
