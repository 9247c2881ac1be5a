/**
 * Echo requests to the gateway or to a service address are answered here, by turning the request into its reply in
 * place.
 *
 * Users expect a ClusterIP to answer ping (kubernetes #47156), and no endpoint could. The request's checksum is not
 * verified but updated by the difference: a damaged request gets a damaged reply, which its receiver drops.
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
 * Turn an echo request into its reply: swap the addresses, reset the TTL, change the type and update the checksum.
 * @returns false for a fragment: the reply's checksum covers bytes in other fragments
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
