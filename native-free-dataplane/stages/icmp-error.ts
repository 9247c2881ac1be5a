/**
 * ICMP errors about translated connections: the packet quoted inside is turned back into what its sender sent, the
 * outside likewise, and all three checksums are made right. An error neither refreshes nor ends a connection.
 *
 * Read before editing: RFC 5508 §4 (REQ-3 to REQ-6), RFC 1812 §4.3.2; linux nf_conntrack_proto_icmp.c
 * nf_conntrack_inet_error, nf_nat_core.c nf_nat_icmp_reply_translation (any router may be the sender, eight bytes of
 * the quoted transport header are enough, inner options are walked over, redirects are dropped).
 */

import { Rec, recordAt, Status, tupleAt } from '../conntrack/record.ts';
import { findTuple, hashTuple, ICMP_ANSWER } from '../conntrack/tuple-index.ts';
import type { Dataplane } from '../dataplane.ts';
import { inNetwork, NodeWord } from '../node/config.ts';
import { HOST_HOP } from '../node/hops.ts';
import type { Packet } from '../packet.ts';
import { PROTOCOL_ICMP, PROTOCOL_SCTP, PROTOCOL_TCP, PROTOCOL_UDP } from '../protocols.ts';
import { Verdict } from '../verdicts.ts';
import { finishChecksum, sumBytes, updateChecksum16, updateChecksum32 } from '../wire/checksum.ts';
import { icmpQueryType, isIcmpRequest } from '../wire/icmp.ts';
import { ipv4HeaderChecksum } from '../wire/ipv4.ts';

const UNREACHABLE = 3;
const SOURCE_QUENCH = 4;
const REDIRECT = 5;
const TIME_EXCEEDED = 11;
const PARAMETER_PROBLEM = 12;

/** Does the packet tell of another packet? */
export function isIcmpError(pkt: Packet): boolean {
  if (pkt.protocol !== PROTOCOL_ICMP || pkt.fragmentOffset !== 0) return false;
  const type = pkt.icmpType;
  return (
    type === UNREACHABLE ||
    type === SOURCE_QUENCH ||
    type === REDIRECT ||
    type === TIME_EXCEEDED ||
    type === PARAMETER_PROBLEM
  );
}

/**
 * Find the connection that the quoted packet belongs to: pkt.flow, and pkt.direction in which the error travels.
 * @returns GO_ON, ICMP_ERROR_UNRELATED, or why the error is no error
 */
export function relateIcmpError(pkt: Packet, dp: Dataplane): Verdict {
  const { view, l4 } = pkt;
  if (pkt.icmpType === REDIRECT) return Verdict.ICMP_REDIRECT;
  const inner = l4 + 8;
  if (pkt.moreFragments !== 0 || pkt.end - inner < 28) return Verdict.ICMP_ERROR_MALFORMED;
  const innerHeader = (view.getUint8(inner) & 15) << 2;
  const innerL4 = inner + innerHeader;
  if (view.getUint8(inner) >> 4 !== 4 || innerHeader < 20 || pkt.end - innerL4 < 8) return Verdict.ICMP_ERROR_MALFORMED;
  if (pkt.needsChecksum === 0 && finishChecksum(sumBytes(view, l4, pkt.end, 0)) !== 0)
    return Verdict.ICMP_ERROR_MALFORMED;
  if (ipv4HeaderChecksum(view, inner, innerHeader) !== 0) return Verdict.ICMP_ERROR_MALFORMED;
  if ((view.getUint16(inner + 6) & 0x1fff) !== 0) return Verdict.ICMP_ERROR_UNRELATED;

  const protocol = view.getUint8(inner + 9);
  const { conntrack } = dp;
  const { key } = conntrack;
  // The quoted packet turned round is a tuple of its flow, in the direction the error travels.
  key[0] = view.getInt32(inner + 16);
  key[1] = view.getInt32(inner + 12);
  if (protocol === PROTOCOL_ICMP && icmpQueryType(view.getUint8(innerL4)) < 0) return Verdict.ICMP_ERROR_MALFORMED;
  key[2] = turnedPorts(pkt, innerL4, protocol);
  const kind = protocol === PROTOCOL_ICMP && isIcmpRequest(view.getUint8(innerL4)) ? ICMP_ANSWER : protocol;
  key[3] = kind;
  // Told to somebody else than the quoted packet's sender: no router does that (linux nf_conntrack_proto_icmp.c
  // nf_conntrack_inet_error, "address mismatch").
  if (pkt.dst[3] !== key[1]) return Verdict.ICMP_ERROR_UNRELATED;
  const hash = hashTuple(conntrack, key, 0, kind);
  const reference = findTuple(conntrack, hash);
  if (reference < 0) return Verdict.ICMP_ERROR_UNRELATED;
  const record = reference >> 1;
  if (((conntrack.words[recordAt(conntrack, record) + Rec.EXPIRES] - (dp.nowMs | 0)) | 0) <= 0)
    return Verdict.ICMP_ERROR_UNRELATED;
  pkt.flow = record;
  pkt.direction = reference & 1;
  pkt.hash = hash;
  return Verdict.GO_ON;
}

/** Ports word of the quoted packet turned round. */
function turnedPorts(pkt: Packet, innerL4: number, protocol: number): number {
  const { view } = pkt;
  if (protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP || protocol === PROTOCOL_SCTP) {
    return (view.getUint16(innerL4 + 2) << 16) | view.getUint16(innerL4);
  }
  if (protocol !== PROTOCOL_ICMP) return 0;
  const type = view.getUint8(innerL4);
  const identifier = view.getUint16(innerL4 + 4);
  return isIcmpRequest(type) ? (type << 16) | identifier : (identifier << 16) | icmpQueryType(type);
}

/** Rewrite the error and its quote as the flow says. @param hop by which it is about to be sent */
export function rewriteIcmpError(pkt: Packet, dp: Dataplane, hop: number): void {
  const { conntrack } = dp;
  const { words } = conntrack;
  if ((words[recordAt(conntrack, pkt.flow) + Rec.META] & (Status.SNAT | Status.DNAT)) === 0) return;
  const { view, l3, l4 } = pkt;
  const mine = tupleAt(conntrack, pkt.flow, pkt.direction);
  const other = tupleAt(conntrack, pkt.flow, 1 - pkt.direction);

  rewriteQuote(pkt, words[other], words[other + 1], words[other + 2]);
  view.setUint16(l4 + 2, 0);
  view.setUint16(l4 + 2, finishChecksum(sumBytes(view, l4, pkt.end, 0)));

  // An error from the far end itself appears to come from who was asked. So does one from a router inside the pod
  // network when it leaves it, as nobody outside knows that address (RFC 5508 REQ-5). Other routers keep their own.
  const src = pkt.src[3] === words[mine] || leavesPodNetwork(pkt, dp, hop) ? words[other + 1] : pkt.src[3];
  const dst = words[other];
  let sum = view.getUint16(l3 + 10);
  sum = updateChecksum32(sum, pkt.src[3], src);
  sum = updateChecksum32(sum, pkt.dst[3], dst);
  view.setUint16(l3 + 10, sum);
  view.setInt32(l3 + 12, src);
  view.setInt32(l3 + 16, dst);
  pkt.src[3] = src;
  pkt.dst[3] = dst;
}

function leavesPodNetwork(pkt: Packet, dp: Dataplane, hop: number): boolean {
  const { config } = dp.node;
  return hop === HOST_HOP && inNetwork(config, NodeWord.CLUSTER_CIDR, config[NodeWord.CLUSTER_CIDR_PREFIX], pkt.src);
}

/** The quoted packet as its sender knows it: addresses, ports or identifier, and checksums as far as they are quoted. */
function rewriteQuote(pkt: Packet, src: number, dst: number, ports: number): void {
  const { view, l4 } = pkt;
  const inner = l4 + 8;
  const innerL4 = inner + ((view.getUint8(inner) & 15) << 2);
  const protocol = view.getUint8(inner + 9);
  const oldSrc = view.getInt32(inner + 12);
  const oldDst = view.getInt32(inner + 16);
  let sum = view.getUint16(inner + 10);
  sum = updateChecksum32(sum, oldSrc, src);
  view.setUint16(inner + 10, updateChecksum32(sum, oldDst, dst));
  view.setInt32(inner + 12, src);
  view.setInt32(inner + 16, dst);

  if (protocol === PROTOCOL_ICMP) {
    const type = view.getUint8(innerL4);
    const identifier = isIcmpRequest(type) ? ports >>> 16 : ports & 0xffff;
    const before = view.getUint16(innerL4 + 4);
    view.setUint16(innerL4 + 4, identifier);
    view.setUint16(innerL4 + 2, updateChecksum16(view.getUint16(innerL4 + 2), before, identifier));
    return;
  }
  if (protocol !== PROTOCOL_TCP && protocol !== PROTOCOL_UDP && protocol !== PROTOCOL_SCTP) return;
  const oldPorts = view.getInt32(innerL4);
  view.setInt32(innerL4, ports);
  const field = protocol === PROTOCOL_TCP ? innerL4 + 16 : protocol === PROTOCOL_UDP ? innerL4 + 6 : 0;
  if (field === 0 || field + 2 > pkt.end) return;
  let l4Sum = view.getUint16(field);
  if (protocol === PROTOCOL_UDP && l4Sum === 0) return;
  l4Sum = updateChecksum32(l4Sum, oldSrc, src);
  l4Sum = updateChecksum32(l4Sum, oldDst, dst);
  l4Sum = updateChecksum32(l4Sum, oldPorts, ports);
  // A computed zero is written as all ones, here as in the datagram itself (RFC 768).
  view.setUint16(field, protocol === PROTOCOL_UDP && l4Sum === 0 ? 0xffff : l4Sum);
}
