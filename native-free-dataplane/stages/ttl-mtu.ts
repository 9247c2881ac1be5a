/**
 * Time to live and packet size, before anything of the packet is changed: an ICMP error quotes it as its sender knows it.
 *
 * Read before editing: RFC 1812 §5.3.1 (TTL), RFC 1191 and RFC 791 §3.2 (MTU, fragmentation).
 */

import type { Dataplane } from '../dataplane.ts';
import { HopWord } from '../node/config.ts';
import { HOST_HOP, hopAt } from '../node/hops.ts';
import { isRoutedByHost } from '../overlay/overlay.ts';
import { GSO_NONE, type Packet } from '../packet.ts';
import { Verdict } from '../verdicts.ts';
import { hopLimit, lowerHopLimit, mayFragment } from '../wire/ip.ts';

/**
 * GO_ON when the packet may travel on by `hop`, TTL already lowered where this node is the router.
 * A packet that the node's kernel forwarded to us or will forward is lowered there, once (ip_forward), not here.
 */
export function checkTtlAndMtu(pkt: Packet, dp: Dataplane, hop: number, toOwnAddress: boolean): Verdict {
  const { view, l3 } = pkt;
  const bytes = pkt.gsoType === GSO_NONE ? pkt.end - l3 : pkt.headersEnd - l3 + pkt.gsoSize;
  const mtu = dp.node.hops[hopAt(hop) + HopWord.MTU];
  if (bytes > mtu && !(hop === HOST_HOP && toOwnAddress)) {
    if (pkt.gsoType !== GSO_NONE || !mayFragment(view, l3)) return Verdict.FRAGMENTATION_NEEDED;
  }
  if (pkt.routed === 0 || pkt.forwarded !== 0 || (hop === HOST_HOP && toOwnAddress)) return Verdict.GO_ON;
  if (hopLimit(view, l3) <= 1) return Verdict.TTL_EXCEEDED;
  // What the kernel sends on, it lowers there.
  if (hop === HOST_HOP || isRoutedByHost(dp, hop)) return Verdict.GO_ON;
  lowerHopLimit(view, l3);
  return Verdict.GO_ON;
}

/** Does a packet that this node routes to `hop` have no life left for it? Asked before a policy may refuse it. */
export function endsHere(pkt: Packet, hop: number): boolean {
  if (pkt.routed === 0 || pkt.forwarded !== 0 || hop === HOST_HOP) return false;
  return hopLimit(pkt.view, pkt.l3) <= 1;
}
