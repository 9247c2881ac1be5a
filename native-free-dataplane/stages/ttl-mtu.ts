/**
 * TTL, MTU, and the limits of pods' traffic. All are checked before the packet or its connection is changed, because an
 * ICMP error must quote the packet as its sender sent it, and a dropped packet must not change any table.
 *
 * Read before editing: RFC 1812 §5.3.1 (TTL), RFC 1191 and RFC 791 §3.2 (MTU, fragmentation); linux
 * net/ipv4/ip_forward.c (TTL before MTU, both before the filter table sees the packet).
 */
import type { Dataplane } from '../dataplane.ts';
import { chargeBandwidth, hasBandwidth, isLimited, Toward } from '../node/bandwidth.ts';
import { HopWord } from '../node/config.ts';
import { HOST_HOP, HopKind, hopAt, localHop } from '../node/hops.ts';
import { isRoutedByHost } from '../overlay/overlay.ts';
import { GSO_NONE, type Packet } from '../packet.ts';
import { Verdict } from '../verdicts.ts';
import { hopLimit, lowerHopLimit, mayFragment } from '../wire/ip.ts';

/**
 * May the packet be sent to `hop`? Neither TTL nor MTU matters for one that is delivered to the node's own sockets.
 * @returns GO_ON, PORT_DOWN, TTL_EXCEEDED, BANDWIDTH_EXCEEDED, or FRAGMENTATION_NEEDED with pkt.linkMtu set
 */
export function mayLeave(pkt: Packet, dp: Dataplane, hop: number): Verdict {
  const { view, l3 } = pkt;
  const { hops } = dp.node;
  const at = hopAt(hop);
  const kind = hops[at + HopWord.KIND];
  if (kind === HopKind.NONE) return Verdict.PORT_DOWN;
  if (kind !== HopKind.LOCAL) {
    if (expiresHere(pkt)) return Verdict.TTL_EXCEEDED;
    const bytes = pkt.gsoType === GSO_NONE ? pkt.end - l3 : pkt.headersEnd - l3 + pkt.gsoSize;
    const mtu = hops[at + HopWord.MTU];
    if (bytes > mtu && !mayFragment(view, l3)) {
      pkt.linkMtu = mtu;
      return Verdict.FRAGMENTATION_NEEDED;
    }
  }
  pkt.limited = hops[at + HopWord.LIMITED] | hops[hopAt(pkt.inPort) + HopWord.LIMITED];
  if (pkt.limited === 0) return Verdict.GO_ON;
  return isWithinLimits(pkt, dp, hop) ? Verdict.GO_ON : Verdict.BANDWIDTH_EXCEEDED;
}

/** Do the limits of the pods that send and receive the packet permit it? */
function isWithinLimits({ inPort }: Packet, { node, nowMs }: Dataplane, hop: number): boolean {
  if (isLimited(node, inPort, Toward.NETWORK) && !hasBandwidth(node, inPort, Toward.NETWORK, nowMs)) return false;
  return !isLimited(node, hop, Toward.POD) || hasBandwidth(node, hop, Toward.POD, nowMs);
}

/**
 * Charge the packet to the limits of its pods. Called when nothing can drop it any more: whoever is refused, by a policy or
 * because no connection fits, must not use up what a pod may receive.
 */
export function chargeLimits({ inPort, end, l3 }: Packet, { node, nowMs }: Dataplane, hop: number): void {
  if (isLimited(node, inPort, Toward.NETWORK)) chargeBandwidth(node, inPort, Toward.NETWORK, end - l3, nowMs);
  if (isLimited(node, hop, Toward.POD)) chargeBandwidth(node, hop, Toward.POD, end - l3, nowMs);
}

/** Decrement the TTL of a packet that is about to leave by `hop`, unless the node's kernel does so. */
export function lowerTtl(pkt: Packet, dp: Dataplane, hop: number): void {
  // The kernel decrements the TTL of what it forwards; a delivered packet keeps its TTL.
  if (!isRouter(pkt) || hop === HOST_HOP || hop === localHop(dp.node) || isRoutedByHost(dp, hop)) return;
  lowerHopLimit(pkt.view, pkt.l3);
}

/** Does the packet's time to live end here, unless it is delivered to the node itself? */
export function expiresHere(pkt: Packet): boolean {
  return isRouter(pkt) && hopLimit(pkt.view, pkt.l3) <= 1;
}

/** Does the pipeline route this packet? The kernel has already decremented the TTL of one that it forwarded to dp0. */
function isRouter(pkt: Packet): boolean {
  return pkt.routed !== 0 && pkt.forwarded === 0;
}
