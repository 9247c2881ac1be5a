/**
 * Echo requests to the gateway or to a service address are answered here, by turning the packet round in place.
 *
 * A ClusterIP that does not ping is what users ask about most (kubernetes #47156); there is nobody else to answer.
 * Read before editing: RFC 792 (echo), RFC 1624.
 */

import type { Packet } from '../packet.ts';
import { PROTOCOL_ICMP } from '../protocols.ts';
import { updateChecksum16 } from '../wire/checksum.ts';

const ECHO_REQUEST = 8;

/** Is this an echo request? */
export function isEchoRequest(pkt: Packet): boolean {
  return pkt.protocol === PROTOCOL_ICMP && pkt.icmpType === ECHO_REQUEST && pkt.icmpCode === 0;
}

/**
 * Turn an echo request into its reply. The addresses change places, so only the TTL changes the header's checksum.
 * @returns false for a fragment: the reply's checksum covers bytes that are elsewhere
 */
export function answerEcho(pkt: Packet): boolean {
  const { view, l3, l4 } = pkt;
  if (pkt.fragmentOffset !== 0 || pkt.moreFragments !== 0) return false;
  view.setInt32(l3 + 12, pkt.dst[3]);
  view.setInt32(l3 + 16, pkt.src[3]);
  const before = view.getUint16(l3 + 8);
  const after = (64 << 8) | (before & 0xff);
  view.setUint16(l3 + 8, after);
  view.setUint16(l3 + 10, updateChecksum16(view.getUint16(l3 + 10), before, after));
  view.setUint8(l4, 0);
  if (pkt.needsChecksum === 0) {
    view.setUint16(l4 + 2, updateChecksum16(view.getUint16(l4 + 2), ECHO_REQUEST << 8, 0));
  }
  const source = pkt.src[3];
  pkt.src[3] = pkt.dst[3];
  pkt.dst[3] = source;
  return true;
}
