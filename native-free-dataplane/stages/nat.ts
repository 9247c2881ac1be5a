/**
 * Translation: rewrite the packet with the reverse of its flow's other tuple. Checksums are updated by the difference,
 * never recomputed. A pending checksum holds a plain sum and is updated as one (getting this wrong leaves ping working
 * and breaks TCP). Each header's file in wire/ changes ports and checksum in one step.
 *
 * Read before editing: RFC 1624 §3, RFC 768 (zero means none), RFC 3022 §4.1; wire/sctp.ts.
 */
import { Rec, recordAt, Status, tupleAt } from '../conntrack/record.ts';
import { isTuple, readTupleDestination, readTupleSource, tuplePortsAt, turnPorts } from '../conntrack/tuple.ts';
import type { Dataplane } from '../dataplane.ts';
import type { Packet } from '../packet.ts';
import { PROTOCOL_ICMP, PROTOCOL_SCTP, PROTOCOL_TCP, PROTOCOL_UDP } from '../protocols.ts';
import { copyAddress } from '../shared/address.ts';
import { rewriteIcmpPorts } from '../wire/icmp.ts';
import { rewriteAddresses } from '../wire/ip.ts';
import { writePorts } from '../wire/ports.ts';
import { rewriteSctpPorts } from '../wire/sctp.ts';
import { rewriteTcpPorts } from '../wire/tcp.ts';
import { rewriteUdpPorts } from '../wire/udp.ts';

const ANY_NAT: number = Status.SNAT | Status.DNAT;

/** The packet's new addresses; filled and used within one call. */
const newSrc: Int32Array = new Int32Array(4);
const newDst: Int32Array = new Int32Array(4);

/**
 * Translate addresses, ports and checksums in place, and update pkt.src, dst and ports.
 * @returns false if the record now holds another flow: this thread was delayed for so long that the record was freed,
 *   quarantined and reused. The packet must not follow that flow.
 */
export function rewrite(pkt: Packet, dp: Dataplane): boolean {
  const { conntrack } = dp;
  const { words } = conntrack;
  const meta = words[recordAt(conntrack, pkt.flow) + Rec.META];
  if ((meta & ANY_NAT) === 0) return isOwnTuple(pkt, dp);
  const other = tupleAt(conntrack, pkt.flow, 1 - pkt.direction);
  readTupleDestination(conntrack, other, newSrc);
  readTupleSource(conntrack, other, newDst);
  const ports = turnPorts(words[tuplePortsAt(conntrack, other)]);
  // Compared last, so that everything read before it belongs to this packet's flow.
  if (!isOwnTuple(pkt, dp)) return false;
  translate(pkt, ports);
  return true;
}

/** Does the packet's flow still have the tuple by which the packet was matched? */
function isOwnTuple(pkt: Packet, dp: Dataplane): boolean {
  const { conntrack } = dp;
  const mine = tupleAt(conntrack, pkt.flow, pkt.direction);
  return isTuple(conntrack, mine, pkt.src, pkt.dst, (pkt.srcPort << 16) | pkt.dstPort);
}

/** Set the packet's addresses to newSrc and newDst, and its ports. */
function translate(pkt: Packet, ports: number): void {
  const { view, l4 } = pkt;
  const addresses = rewriteAddresses(view, pkt.l3, newSrc, newDst);
  if (pkt.fragmentOffset === 0) {
    switch (pkt.protocol) {
      case PROTOCOL_TCP:
        rewriteTcpPorts(view, l4, ports, addresses, pkt.needsChecksum);
        break;
      case PROTOCOL_UDP:
        rewriteUdpPorts(view, l4, ports, addresses, pkt.needsChecksum);
        break;
      case PROTOCOL_ICMP:
        rewriteIcmpPorts(view, l4, ports);
        break;
      case PROTOCOL_SCTP:
        // The checksum of a fragmented datagram covers bytes that are not here.
        if (pkt.moreFragments === 0) rewriteSctpPorts(view, l4, pkt.end, ports);
        else writePorts(view, l4, ports);
        break;
    }
  }
  copyAddress(newSrc, 0, pkt.src);
  copyAddress(newDst, 0, pkt.dst);
  pkt.srcPort = ports >>> 16;
  pkt.dstPort = ports & 0xffff;
}
