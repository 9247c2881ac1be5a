/**
 * Where does a packet for this address go next? Asked for the first packet of a connection and again when routes have
 * changed since; every other packet finds the answer in its flow.
 */

import { type Conntrack, Rec, recordAt, tupleAt } from '../conntrack/record.ts';
import type { Dataplane } from '../dataplane.ts';
import { inNetwork, isConfigAddress, type NodeTable, NodeWord, routeGeneration } from '../node/config.ts';
import { HOST_HOP, HopKind, hopKind, NO_HOP } from '../node/hops.ts';
import { findRoute } from '../node/routes.ts';
import type { Packet } from '../packet.ts';

/**
 * Hop for an address (four words, IPv4 mapped, at `at`).
 * The node's own addresses and everything outside the cluster belong to the node's kernel; an address of the pod or
 * service network that nobody has leads nowhere.
 */
export function hopForAddress(node: NodeTable, address: Int32Array): number {
  const { config } = node;
  if (isOwnAddress(node, address)) return HOST_HOP;
  const hop = findRoute(node, address, 0);
  if (hop !== NO_HOP) return hopKind(node, hop) === HopKind.NODE && isUnderlayOf(node, hop, address) ? HOST_HOP : hop;
  if (inNetwork(config, NodeWord.CLUSTER_CIDR, config[NodeWord.CLUSTER_CIDR_PREFIX], address)) return NO_HOP;
  if (inNetwork(config, NodeWord.SERVICE_CIDR, config[NodeWord.SERVICE_CIDR_PREFIX], address)) return NO_HOP;
  return HOST_HOP;
}

/** The node's underlay address, the gateway, or loopback. */
export function isOwnAddress(node: NodeTable, address: Int32Array): boolean {
  return address[3] === node.config[NodeWord.GATEWAY_IP + 3]
    ? isConfigAddress(node.config, NodeWord.GATEWAY_IP, address)
    : address[3] === node.config[NodeWord.NODE_IP + 3]
      ? isConfigAddress(node.config, NodeWord.NODE_IP, address)
      : address[2] === 0xffff && address[3] >>> 24 === 127;
}

/** A node's underlay address is in the routes so that its overlay packets are known; traffic to it goes by the underlay. */
function isUnderlayOf(node: NodeTable, hop: number, address: Int32Array): boolean {
  const at = hop * 16 + 4;
  return node.hops[at + 3] === address[3] && node.hops[at + 2] === address[2];
}

const scratch: Int32Array = new Int32Array(4);

/** The four-word form of a tuple's address word(s). */
function loadAddress(table: Conntrack, at: number): Int32Array {
  if (table.addressWords === 4) for (let i = 0; i < 4; i++) scratch[i] = table.words[at + i];
  else {
    scratch[0] = 0;
    scratch[1] = 0;
    scratch[2] = 0xffff;
    scratch[3] = table.words[at];
  }
  return scratch;
}

/** Word for Rec.HOPS. NO_HOP is kept as 0xffff. */
export function packHops(original: number, reply: number): number {
  return (original & 0xffff) | (reply << 16);
}

/**
 * Hop of the packet's flow in the packet's direction, looked up again when routes have changed since last time.
 * @returns hop number or NO_HOP
 */
export function hopOfFlow(pkt: Packet, dp: Dataplane): number {
  const { conntrack, node } = dp;
  const { words } = conntrack;
  const at = recordAt(conntrack, pkt.flow);
  const generation = routeGeneration(node);
  if ((words[at + Rec.ROUTED] & 0xffff) !== generation) {
    const original = hopForAddress(node, loadAddress(conntrack, tupleAt(conntrack, pkt.flow, 1)));
    const reply = hopForAddress(node, loadAddress(conntrack, tupleAt(conntrack, pkt.flow, 0)));
    words[at + Rec.HOPS] = packHops(original, reply);
    words[at + Rec.ROUTED] = (words[at + Rec.ROUTED] & ~0xffff) | generation;
  }
  const hops = words[at + Rec.HOPS];
  const hop = pkt.direction === 0 ? hops & 0xffff : hops >>> 16;
  return hop === 0xffff ? NO_HOP : hop;
}
