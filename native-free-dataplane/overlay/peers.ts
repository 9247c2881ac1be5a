/**
 * Which node sent a packet: by its outer source in a tunnel, by its own source without one. Everything that comes from
 * another node is checked against this: a node may send for its own pods only.
 */
import type { Dataplane } from '../dataplane.ts';
import { HopWord, routeGeneration } from '../node/config.ts';
import { HopKind, hopAt, hopKind, NO_HOP } from '../node/hops.ts';
import { findRoute } from '../node/routes.ts';
import type { Packet } from '../packet.ts';
import { copyAddress, sameAddress } from '../shared/address.ts';

/**
 * Hop of the node whose address, or whose pod's, the packet's source is; NO_HOP when it is no other node's. The last
 * answer is remembered, as traffic comes in runs.
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

/** Hop of the node that the packet's source is the underlay address of; NO_HOP when it is no node's. */
export function tunnelPeer(pkt: Packet, dp: Dataplane): number {
  const hop = peerHop(pkt, dp);
  return dp.peerIsNode !== 0 ? hop : NO_HOP;
}

/** Hop of the node that the packet's source is a pod's address of; NO_HOP when it is no other node's pod. */
export function podPeer(pkt: Packet, dp: Dataplane): number {
  const hop = peerHop(pkt, dp);
  return dp.peerIsNode !== 0 ? NO_HOP : hop;
}

/** Does the inner packet's source belong to the node that sent it? One route look-up, which hits the same line. */
export function isFromTunnelNode(pkt: Packet, dp: Dataplane): boolean {
  return findRoute(dp.node, pkt.src, 0) === pkt.tunnelNode;
}
