/**
 * ICMP errors about translated connections: the quoted packet is restored to what its sender sent, the outer addresses
 * are translated likewise, and all three checksums are updated. An error neither refreshes nor ends a connection.
 *
 * Read before editing: RFC 5508 §4 (REQ-3 to REQ-6), RFC 1812 §4.3.2; linux nf_conntrack_proto_icmp.c
 * nf_conntrack_inet_error, nf_nat_core.c nf_nat_icmp_reply_translation (any router may be the sender, eight bytes of
 * the quoted transport header suffice, inner options are skipped, redirects are dropped).
 */
import { LOCK_MASK, Rec, recordAt, Setting, Status, tupleAt } from '../conntrack/record.ts';
import { tcpInFlight } from '../conntrack/tcp/in-flight.ts';
import {
  isTupleSource,
  readTupleDestination,
  readTupleSource,
  tuplePortsAt,
  turnPorts,
  writeKey,
} from '../conntrack/tuple.ts';
import { findTuple, hashTuple, ICMP_ANSWER } from '../conntrack/tuple-index.ts';
import type { Dataplane } from '../dataplane.ts';
import { inNetwork, NodeWord } from '../node/config.ts';
import { HOST_HOP } from '../node/hops.ts';
import type { Packet } from '../packet.ts';
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from '../protocols.ts';
import { ADDRESS_WORDS, copyAddress, sameAddress } from '../shared/address.ts';
import { lock, unlock } from '../shared/spin-lock.ts';
import { Verdict } from '../verdicts.ts';
import {
  ICMP_BYTES,
  ICMP_REDIRECT,
  ICMP_UNREACHABLE,
  icmpMtu,
  icmpPortsWord,
  icmpQueryType,
  icmpType,
  isIcmpError as isIcmpErrorType,
  isIcmpIntact,
  isIcmpRequest,
  rewriteIcmpPorts,
  UNREACHABLE_FRAGMENTATION_NEEDED,
  writeIcmpChecksum,
} from '../wire/icmp.ts';
import {
  isLaterFragment,
  isQuoteIntact,
  readAddresses,
  rewriteAddresses,
  totalBytes,
  transportAt,
  transportProtocol,
} from '../wire/ip.ts';
import { hasPorts, portsWord, writePorts } from '../wire/ports.ts';
import { rewriteTcpPorts, TCP_CHECKSUM, tcpSequence } from '../wire/tcp.ts';
import { rewriteUdpPorts } from '../wire/udp.ts';

/** Addresses of the quoted packet, before or after translation; filled and used within one call. */
const quotedSrc: Int32Array = new Int32Array(ADDRESS_WORDS);
const quotedDst: Int32Array = new Int32Array(ADDRESS_WORDS);
/** New source of the error. */
const newSrc: Int32Array = new Int32Array(ADDRESS_WORDS);

/** Is the packet an ICMP error about another packet? */
export function isIcmpError(pkt: Packet): boolean {
  return pkt.protocol === PROTOCOL_ICMP && pkt.fragmentOffset === 0 && isIcmpErrorType(pkt.icmpType);
}

/**
 * Find the connection that the quoted packet belongs to: sets pkt.flow, and pkt.direction to the direction the error
 * travels.
 * @returns GO_ON, ICMP_ERROR_UNRELATED, or the reason the error is invalid
 */
export function relateIcmpError(pkt: Packet, dp: Dataplane): Verdict {
  const { view, l4 } = pkt;
  if (pkt.icmpType === ICMP_REDIRECT) return Verdict.ICMP_REDIRECT;
  const quoted = l4 + ICMP_BYTES;
  if (pkt.moreFragments !== 0 || !isQuoteIntact(view, quoted, pkt.end)) return Verdict.ICMP_ERROR_MALFORMED;
  if (pkt.needsChecksum === 0 && !isIcmpIntact(view, l4, pkt.end)) return Verdict.ICMP_ERROR_MALFORMED;
  if (isLaterFragment(view, quoted)) return Verdict.ICMP_ERROR_UNRELATED;
  const isIcmp = transportProtocol(view, quoted) === PROTOCOL_ICMP;
  if (isIcmp && icmpQueryType(icmpType(view, transportAt(view, quoted))) < 0) return Verdict.ICMP_ERROR_MALFORMED;
  readAddresses(view, quoted, quotedSrc, quotedDst);
  // Sent to an address other than the quoted packet's sender, which no router does (linux nf_conntrack_proto_icmp.c
  // nf_conntrack_inet_error, "address mismatch").
  if (!sameAddress(pkt.dst, quotedSrc, 0)) return Verdict.ICMP_ERROR_UNRELATED;
  return findQuoted(pkt, dp, quoted) ? Verdict.GO_ON : Verdict.ICMP_ERROR_UNRELATED;
}

/**
 * Find the connection of the intact, unfragmented packet quoted at `l3`: sets pkt.flow, and pkt.direction to the opposite
 * of the quoted packet's.
 */
function findQuoted(pkt: Packet, dp: Dataplane, l3: number): boolean {
  const { view } = pkt;
  const { conntrack } = dp;
  const protocol = transportProtocol(view, l3);
  const quotedL4 = transportAt(view, l3);
  const isIcmp = protocol === PROTOCOL_ICMP;
  readAddresses(view, l3, quotedSrc, quotedDst);
  // The quoted packet's tuple reversed is a tuple of its flow, in the direction the error travels.
  const ports = isIcmp ? icmpPortsWord(view, quotedL4) : hasPorts(protocol) ? portsWord(view, quotedL4) : 0;
  const kind = isIcmp && isIcmpRequest(icmpType(view, quotedL4)) ? ICMP_ANSWER : protocol;
  writeKey(conntrack, quotedDst, quotedSrc, turnPorts(ports), kind);
  const hash = hashTuple(conntrack, conntrack.key, 0, kind);
  const reference = findTuple(conntrack, hash);
  if (reference < 0) return false;
  const record = reference >> 1;
  if (((conntrack.words[recordAt(conntrack, record) + Rec.EXPIRES] - (dp.nowMs | 0)) | 0) <= 0) return false;
  pkt.flow = record;
  pkt.direction = reference & 1;
  pkt.hash = hash;
  return true;
}

/**
 * Can the quoted packet have been sent on its connection, pkt.flow? Whoever is not on its path must guess (RFC 5927 §4.1,
 * §7): a reply before the first, a TCP sequence number that is not in flight, a packet that fits the reported MTU.
 */
export function wasQuotedSent(pkt: Packet, dp: Dataplane): boolean {
  const { view, l4 } = pkt;
  const quoted = l4 + ICMP_BYTES;
  if (pkt.icmpType === ICMP_UNREACHABLE && pkt.icmpCode === UNREACHABLE_FRAGMENTATION_NEEDED) {
    // Routers from before RFC 1191 report 0.
    const mtu = icmpMtu(view, l4);
    if (mtu !== 0 && totalBytes(view, quoted) <= mtu) return false;
  }
  return isInFlight(pkt, dp, quoted);
}

function isInFlight(pkt: Packet, dp: Dataplane, l3: number): boolean {
  const { conntrack } = dp;
  const { words } = conntrack;
  const { view, direction } = pkt;
  const at = recordAt(conntrack, pkt.flow);
  if (direction === 0 && (words[at + Rec.META] & Status.SEEN_REPLY) === 0) return false;
  if (transportProtocol(view, l3) !== PROTOCOL_TCP) return true;
  const sequence = tcpSequence(view, transportAt(view, l3));
  const liberal = dp.timeouts[Setting.TCP_LIBERAL];
  if (conntrack.workers === 1) return tcpInFlight(words, at + Rec.TCP, 1 - direction, sequence, liberal);
  // Another worker may be tracking a segment of the connection (stages/flow.ts).
  const stripe = pkt.flow & LOCK_MASK;
  lock(conntrack.locks, stripe, dp.worker);
  const inFlight = tcpInFlight(words, at + Rec.TCP, 1 - direction, sequence, liberal);
  unlock(conntrack.locks, stripe);
  return inFlight;
}

/** What the packet inside a quoted overlay packet is; see lookInside. */
export const Inside = {
  /** Too little of it is quoted. */
  UNKNOWN: 0,
  /** One of a connection, and in flight. */
  SENT: 1,
  /** None that was sent. */
  NOT_SENT: 2,
} as const;
export type Inside = (typeof Inside)[keyof typeof Inside];

/**
 * Was the packet inside a quoted overlay packet sent? Routers quote as much as fits 576 bytes (RFC 1812 §4.3.2.3), but some
 * only eight bytes of transport header (RFC 792). Sets pkt.flow and pkt.direction if it was.
 * @param l3 offset of the inner packet, maybe beyond the quote
 */
export function lookInside(pkt: Packet, dp: Dataplane, l3: number): Inside {
  const { view } = pkt;
  if (!isQuoteIntact(view, l3, pkt.end) || isLaterFragment(view, l3)) return Inside.UNKNOWN;
  const isIcmp = transportProtocol(view, l3) === PROTOCOL_ICMP;
  // An ICMP error of a pod or a node: no connection's own packet.
  if (isIcmp && icmpQueryType(icmpType(view, transportAt(view, l3))) < 0) return Inside.NOT_SENT;
  return findQuoted(pkt, dp, l3) && isInFlight(pkt, dp, l3) ? Inside.SENT : Inside.NOT_SENT;
}

/** Does the error come from the far end of its connection, the one the quoted packet was sent to? */
export function isFromFarEnd(pkt: Packet, dp: Dataplane): boolean {
  return isTupleSource(dp.conntrack, tupleAt(dp.conntrack, pkt.flow, pkt.direction), pkt.src);
}

/** Translate the error and its quote as the flow requires. @param hop its next hop */
export function rewriteIcmpError(pkt: Packet, dp: Dataplane, hop: number): void {
  const { conntrack } = dp;
  const { words } = conntrack;
  if ((words[recordAt(conntrack, pkt.flow) + Rec.META] & (Status.SNAT | Status.DNAT)) === 0) return;
  const other = tupleAt(conntrack, pkt.flow, 1 - pkt.direction);
  // The quoted packet travelled the other way: the other tuple, unchanged, is what its sender sent.
  readTupleSource(conntrack, other, quotedSrc);
  readTupleDestination(conntrack, other, quotedDst);
  rewriteQuote(pkt, words[tuplePortsAt(conntrack, other)]);
  writeIcmpChecksum(pkt.view, pkt.l4, pkt.end);

  // An error from the far end itself gets the address that the client connected to as its source. So does one from a
  // router inside the pod network when it leaves that network, because the router's address has no meaning outside (RFC
  // 5508 REQ-5). Other routers keep their own.
  const asDestination = isFromFarEnd(pkt, dp) || leavesPodNetwork(pkt, dp, hop);
  copyAddress(asDestination ? quotedDst : pkt.src, 0, newSrc);
  rewriteAddresses(pkt.view, pkt.l3, newSrc, quotedSrc);
  copyAddress(newSrc, 0, pkt.src);
  copyAddress(quotedSrc, 0, pkt.dst);
}

function leavesPodNetwork(pkt: Packet, dp: Dataplane, hop: number): boolean {
  const { config } = dp.node;
  return hop === HOST_HOP && inNetwork(config, NodeWord.CLUSTER_CIDR, config[NodeWord.CLUSTER_CIDR_PREFIX], pkt.src);
}

/**
 * Restore the quoted packet: addresses quotedSrc and quotedDst, these ports or this identifier, and checksums as far as
 * they are quoted (eight bytes of TCP and SCTP end before theirs).
 */
function rewriteQuote(pkt: Packet, ports: number): void {
  const { view, l4, end } = pkt;
  const quoted = l4 + ICMP_BYTES;
  const quotedL4 = transportAt(view, quoted);
  const protocol = transportProtocol(view, quoted);
  const addresses = rewriteAddresses(view, quoted, quotedSrc, quotedDst);
  if (protocol === PROTOCOL_ICMP) rewriteIcmpPorts(view, quotedL4, ports);
  else if (protocol === PROTOCOL_UDP) rewriteUdpPorts(view, quotedL4, ports, addresses, 0);
  else if (protocol === PROTOCOL_TCP && quotedL4 + TCP_CHECKSUM + 2 <= end) {
    rewriteTcpPorts(view, quotedL4, ports, addresses, 0);
  } else if (hasPorts(protocol)) writePorts(view, quotedL4, ports);
}
