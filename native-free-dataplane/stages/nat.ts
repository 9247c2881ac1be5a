/**
 * Rewrite the packet as its flow says: the tuple of the other direction, turned round. Checksums are changed by the
 * difference, never recomputed, and a pending one is treated as the sum it is (lab: getting this wrong passes ping
 * and fails TCP).
 *
 * Read before editing: RFC 1624 §3, RFC 768 (zero means none), RFC 3022 §4.1; wire/sctp.ts.
 */

import { Rec, recordAt, Status, tupleAt } from '../conntrack/record.ts';
import type { Dataplane } from '../dataplane.ts';
import type { Packet } from '../packet.ts';
import {
  applyDifference,
  applyPartialDifference,
  difference16,
  difference32,
  updateChecksum16,
} from '../wire/checksum.ts';
import { isIcmpRequest } from '../wire/icmp.ts';
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from '../wire/ipv4.ts';
import { updateSctpChecksum } from '../wire/sctp.ts';

const PROTOCOL_SCTP = 132;
const ANY_NAT: number = Status.SNAT | Status.DNAT;

/**
 * Translate addresses, ports and checksums in place. pkt.src, dst and ports follow.
 * @returns false when the flow is another's by now: this thread was held up for so long that the record was given up,
 *   rested and used again. The packet must not go where that one's go.
 */
export function rewrite(pkt: Packet, dp: Dataplane): boolean {
  const { conntrack } = dp;
  const { words } = conntrack;
  const meta = words[recordAt(conntrack, pkt.flow) + Rec.META];
  const other = tupleAt(conntrack, pkt.flow, 1 - pkt.direction);
  const src = words[other + 1];
  const dst = words[other];
  const ports = words[other + 2];
  // Looked at last: what was read before it belongs to the packet.
  const mine = tupleAt(conntrack, pkt.flow, pkt.direction);
  if (words[mine] !== pkt.src[3] || words[mine + 1] !== pkt.dst[3]) return false;
  if (words[mine + 2] !== ((pkt.srcPort << 16) | pkt.dstPort)) return false;
  if ((meta & ANY_NAT) !== 0) translate(pkt, src, dst, ports & 0xffff, ports >>> 16);
  return true;
}

/** Give the packet these addresses and ports. */
function translate(pkt: Packet, src: number, dst: number, srcPort: number, dstPort: number): void {
  const { view, l3, l4 } = pkt;
  const addresses = difference32(pkt.src[3], src) + difference32(pkt.dst[3], dst);
  view.setUint16(l3 + 10, applyDifference(view.getUint16(l3 + 10), addresses));
  view.setInt32(l3 + 12, src);
  view.setInt32(l3 + 16, dst);

  if (pkt.fragmentOffset === 0) {
    const ports = difference16(pkt.srcPort, srcPort) + difference16(pkt.dstPort, dstPort);
    if (pkt.protocol === PROTOCOL_TCP) translateSum(pkt, l4 + 16, addresses, ports);
    else if (pkt.protocol === PROTOCOL_UDP) {
      if (pkt.needsChecksum !== 0 || view.getUint16(l4 + 6) !== 0) {
        translateSum(pkt, l4 + 6, addresses, ports);
        // A computed zero is sent as all ones: zero means "no checksum" (RFC 768).
        if (pkt.needsChecksum === 0 && view.getUint16(l4 + 6) === 0) view.setUint16(l4 + 6, 0xffff);
      }
    }
    if (pkt.protocol === PROTOCOL_ICMP) translateIdentifier(pkt, srcPort, dstPort);
    else if (pkt.protocol === PROTOCOL_TCP || pkt.protocol === PROTOCOL_UDP || pkt.protocol === PROTOCOL_SCTP) {
      if (pkt.protocol === PROTOCOL_SCTP && pkt.moreFragments === 0) {
        updateSctpChecksum(view, l4, pkt.end, view.getInt32(l4), (srcPort << 16) | dstPort);
      }
      view.setUint16(l4, srcPort);
      view.setUint16(l4 + 2, dstPort);
    }
  }
  pkt.src[3] = src;
  pkt.dst[3] = dst;
  pkt.srcPort = srcPort;
  pkt.dstPort = dstPort;
}

/** The transport checksum at `field` after addresses and ports changed by so much. */
function translateSum(pkt: Packet, field: number, addresses: number, ports: number): void {
  const { view } = pkt;
  const sum = view.getUint16(field);
  // Pending: the field is the pseudo-header's plain sum; ports are summed by whoever finishes it.
  const now =
    pkt.needsChecksum !== 0 ? applyPartialDifference(sum, addresses) : applyDifference(sum, addresses + ports);
  view.setUint16(field, now);
}

/** ICMP queries: the identifier is the port on the asking side (RFC 5508 §3.1). No pseudo-header in the sum. */
function translateIdentifier(pkt: Packet, srcPort: number, dstPort: number): void {
  const { view, l4 } = pkt;
  const asks = isIcmpRequest(pkt.icmpType);
  const identifier = asks ? srcPort : dstPort;
  const before = view.getUint16(l4 + 4);
  if (identifier === before) return;
  view.setUint16(l4 + 4, identifier);
  view.setUint16(l4 + 2, updateChecksum16(view.getUint16(l4 + 2), before, identifier));
}
