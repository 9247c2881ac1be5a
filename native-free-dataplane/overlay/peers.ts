/**
 * Which node sent a packet: identified by the outer source address in a tunnel, else by the packet's own source. A node
 * may send only for its own pods.
 */
import type { Dataplane } from '../dataplane.ts';
import { HopWord, routeGeneration } from '../node/config.ts';
import { HopKind, hopAt, hopKind, NO_HOP } from '../node/hops.ts';
import { findRoute } from '../node/routes.ts';
import type { Packet } from '../packet.ts';
import { copyAddress, sameAddress } from '../shared/address.ts';

/**
 * Hop of the other node that the packet's source address belongs to, or NO_HOP. The source may be the node's underlay
 * address or an address of one of its pods. The last result is cached, because packets from one node arrive in runs.
 */
function peerHop(pkt: Packet, dp: Dataplane): number {
  const generation = routeGeneration(dp.node);
  if (dp.peerGeneration === generation && sameAddress(pkt.src, dp.peerAddress, 0)) return dp.peerHop;
  let hop = findRoute(dp.node, pkt.src, 0);
  if (hop !== NO_HOP && hopKind(dp.node, hop) !== HopKind.NODE) hop = NO_HOP;
  copyAddress(pkt.src, 0, dp.peerAddress);
  dp.peerIsNode = hop !== NO_HOP && sameAddress(pkt.src, dp.node.hops, hopAt(hop) + HopWord.ADDRESS) ? 1 : 0;
  dp.peerGeneration = generation;
  dp.peerHop = hop;
  return hop;
}

/** Hop of the node whose underlay address is the packet's source; NO_HOP if there is none. */
export function tunnelPeer(pkt: Packet, dp: Dataplane): number {
  const hop = peerHop(pkt, dp);
  return dp.peerIsNode !== 0 ? hop : NO_HOP;
}

/** Hop of the node that has the packet's source in its pod network; NO_HOP if no other node has. */
export function podPeer(pkt: Packet, dp: Dataplane): number {
  const hop = peerHop(pkt, dp);
  return dp.peerIsNode !== 0 ? NO_HOP : hop;
}

/** Does the inner packet's source belong to the node that sent it? */
export function isFromTunnelNode(pkt: Packet, dp: Dataplane): boolean {
  return findRoute(dp.node, pkt.src, 0) === pkt.tunnelNode;
}
