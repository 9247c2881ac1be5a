/**
 * Routing: the next hop for an address. Looked up for the first packet of a connection, and again after routes have
 * changed; every other packet takes the hop that its flow stores.
 */
import { type Conntrack, Rec, recordAt, tupleAt } from '../conntrack/record.ts';
import { readTupleSource } from '../conntrack/tuple.ts';
import type { Dataplane } from '../dataplane.ts';
import { HopWord, inNetwork, type NodeTable, NodeWord, routeGeneration } from '../node/config.ts';
import { HOST_HOP, HopKind, hopAt, hopKind, localHop, NO_HOP } from '../node/hops.ts';
import { isOwnAddress } from '../node/host-routes.ts';
import { findRoute } from '../node/routes.ts';
import type { Packet } from '../packet.ts';
import { ADDRESS_WORDS, sameAddress } from '../shared/address.ts';

/**
 * Hop for an address (four words, IPv4 mapped). The node's own addresses and everything outside the cluster go to the
 * node's kernel. NO_HOP for an address of the pod network or service network that is not in use.
 */
export function hopForAddress(node: NodeTable, address: Int32Array): number {
  const { config } = node;
  const hop = findRoute(node, address, 0);
  if (hop !== NO_HOP) return hopKind(node, hop) === HopKind.NODE && isUnderlayOf(node, hop, address) ? HOST_HOP : hop;
  if (isOwnAddress(node, address)) return localHop(node);
  if (inNetwork(config, NodeWord.CLUSTER_CIDR, config[NodeWord.CLUSTER_CIDR_PREFIX], address)) return NO_HOP;
  if (inNetwork(config, NodeWord.SERVICE_CIDR, config[NodeWord.SERVICE_CIDR_PREFIX], address)) return NO_HOP;
  return HOST_HOP;
}

/**
 * Is this the node's own underlay address? It is in the routes to identify overlay packets (overlay/peers.ts); packets
 * sent to it travel over the underlay, not the overlay.
 */
function isUnderlayOf(node: NodeTable, hop: number, address: Int32Array): boolean {
  return sameAddress(address, node.hops, hopAt(hop) + HopWord.ADDRESS);
}

const target: Int32Array = new Int32Array(ADDRESS_WORDS);

/**
 * Destination, after translation, of the flow's packets in a direction (0 original, 1 reply): the source of the tuple
 * of the other direction.
 * @returns four words, valid until the next call
 */
function flowTarget(table: Conntrack, record: number, direction: number): Int32Array {
  readTupleSource(table, tupleAt(table, record, 1 - direction), target);
  return target;
}

/** Word for Rec.HOPS: 16 bits each, the lowest negative of which are NO_HOP and denials. */
function packHops(original: number, reply: number): number {
  return (original & 0xffff) | (reply << 16);
}

/** Hops from here on are negative numbers in 16 bits. */
const FIRST_NEGATIVE = 0x8000;

/** Have routes, hops or policies changed since the flow's hops were looked up? */
export function isRouteStale(pkt: Packet, dp: Dataplane): boolean {
  const { conntrack, node } = dp;
  return (conntrack.words[recordAt(conntrack, pkt.flow) + Rec.ROUTED] & 0xffff) !== routeGeneration(node);
}

/** Look the hops of the packet's flow up again, for both directions. */
export function routeAgain(pkt: Packet, dp: Dataplane): void {
  const { conntrack, node } = dp;
  const { words } = conntrack;
  const at = recordAt(conntrack, pkt.flow);
  // Before the look-up: a change during it must be noticed by the next packet.
  const generation = routeGeneration(node);
  const original = hopForAddress(node, flowTarget(conntrack, pkt.flow, 0));
  const reply = hopForAddress(node, flowTarget(conntrack, pkt.flow, 1));
  words[at + Rec.HOPS] = packHops(original, reply);
  words[at + Rec.ROUTED] = (words[at + Rec.ROUTED] & ~0xffff) | generation;
}

/** Close both directions of the packet's flow until policies or routes change. @param denial DENIED_… of node/hops.ts */
export function denyFlow(pkt: Packet, dp: Dataplane, denial: number): void {
  const { conntrack } = dp;
  conntrack.words[recordAt(conntrack, pkt.flow) + Rec.HOPS] = packHops(denial, denial);
}

/**
 * Next hop of the packet's flow, as it is stored there.
 * @param direction of the packets that travel by it: 0 original, 1 reply
 * @returns hop number, NO_HOP, DENIED_EGRESS or DENIED_INGRESS
 */
export function hopOfFlow(pkt: Packet, dp: Dataplane, direction: number): number {
  const { conntrack } = dp;
  const hops = conntrack.words[recordAt(conntrack, pkt.flow) + Rec.HOPS];
  const hop = direction === 0 ? hops & 0xffff : hops >>> 16;
  return hop >= FIRST_NEGATIVE ? hop - 0x10000 : hop;
}
