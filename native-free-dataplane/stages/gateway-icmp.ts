/**
 * Echo requests to the gateway or to a service address are answered here, by turning the packet round in place.
 *
 * A ClusterIP that does not ping is what users ask about most (kubernetes #47156); there is nobody else to answer. The
 * request's checksum is not verified but changed by the difference: of a damaged request the reply is damaged too, and
 * its receiver drops it.
 *
 * Read before editing: RFC 792 (echo), RFC 1624.
 */

import type { Packet } from '../packet.ts';
import { PROTOCOL_ICMP } from '../protocols.ts';
import { answerEchoInPlace, ICMP_ECHO_REQUEST, ICMP_QUERY_CODE } from '../wire/icmp.ts';
import { readAddresses, resetHopLimit, swapAddresses } from '../wire/ip.ts';

/** Is this an echo request? */
export function isEchoRequest(pkt: Packet): boolean {
  return pkt.protocol === PROTOCOL_ICMP && pkt.icmpType === ICMP_ECHO_REQUEST && pkt.icmpCode === ICMP_QUERY_CODE;
}

/**
 * Turn an echo request into its reply: addresses exchanged, a TTL of its own, type and checksum changed.
 * @returns false for a fragment: the reply's checksum covers bytes that are elsewhere
 */
export function answerEcho(pkt: Packet): boolean {
  const { view, l3, l4 } = pkt;
  if (pkt.fragmentOffset !== 0 || pkt.moreFragments !== 0) return false;
  swapAddresses(view, l3);
  resetHopLimit(view, l3);
  answerEchoInPlace(view, l4);
  readAddresses(view, l3, pkt.src, pkt.dst);
  return true;
}
