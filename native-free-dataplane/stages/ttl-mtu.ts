/**
 * May a packet leave by its hop: is there a device, has it time to live, does it fit? Asked before anything of the packet
 * or of its connection changes: an ICMP error quotes it as its sender knows it, and a packet that ends here leaves no
 * trace in any table.
 *
 * Read before editing: RFC 1812 §5.3.1 (TTL), RFC 1191 and RFC 791 §3.2 (MTU, fragmentation); linux net/ipv4/ip_forward.c
 * (TTL before MTU, both before the filter table sees the packet).
 */
import type { Dataplane } from '../dataplane.ts';
import { HopWord } from '../node/config.ts';
import { HOST_HOP, HopKind, hopAt, localHop } from '../node/hops.ts';
import { isRoutedByHost } from '../overlay/overlay.ts';
import { GSO_NONE, type Packet } from '../packet.ts';
import { Verdict } from '../verdicts.ts';
import { hopLimit, lowerHopLimit, mayFragment } from '../wire/ip.ts';

/**
 * GO_ON when the packet may travel on by `hop`; pkt.linkMtu is set when it is too large. Changes nothing else.
 * For a packet that is delivered to the node itself neither TTL nor MTU counts.
 */
export function mayLeave(pkt: Packet, dp: Dataplane, hop: number): Verdict {
  const { view, l3 } = pkt;
  const { hops } = dp.node;
  const at = hopAt(hop);
  const kind = hops[at + HopWord.KIND];
  if (kind === HopKind.NONE) return Verdict.PORT_DOWN;
  if (kind === HopKind.LOCAL) return Verdict.GO_ON;
  if (isRouter(pkt) && hopLimit(view, l3) <= 1) return Verdict.TTL_EXCEEDED;
  const bytes = pkt.gsoType === GSO_NONE ? pkt.end - l3 : pkt.headersEnd - l3 + pkt.gsoSize;
  const mtu = hops[at + HopWord.MTU];
  if (bytes <= mtu || mayFragment(view, l3)) return Verdict.GO_ON;
  pkt.linkMtu = mtu;
  return Verdict.FRAGMENTATION_NEEDED;
}

/** Lower the time to live of a packet that is about to leave by `hop`, where nobody else on this node does. */
export function lowerTtl(pkt: Packet, dp: Dataplane, hop: number): void {
  // What the kernel sends on, it lowers there; what is delivered keeps it.
  if (!isRouter(pkt) || hop === HOST_HOP || hop === localHop(dp.node) || isRoutedByHost(dp, hop)) return;
  lowerHopLimit(pkt.view, pkt.l3);
}

/** Is this node the packet's router? One that the node's kernel forwarded to us was lowered there, once (ip_forward). */
function isRouter(pkt: Packet): boolean {
  return pkt.routed !== 0 && pkt.forwarded === 0;
}
