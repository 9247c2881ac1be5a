/**
 * Longest-prefix match: address → hop. Read only for the first packet of a connection; the flow stores the result.
 *
 * One keyed open-addressing hash of (network, prefix length), probed once per prefix length in use, longest first. A
 * cluster has three or four lengths (pods, pod networks, node addresses): three or four probes, at any number of
 * routes. Prefix lengths count in 128 bits; an IPv4 /24 is a /120 of its mapped form.
 *
 * A slot (RouteWord) is filled before its prefix word is stored, and deleted by that word alone, so a reader sees a
 * whole route or none. Only the agent writes routes.
 */
import { hashAddress, hashByte } from '../shared/hash.ts';
import {
  GONE,
  MAX_PREFIX_LENGTHS,
  type NodeTable,
  NodeWord,
  nextGeneration,
  ROUTE_WORDS,
  RouteWord,
} from './config.ts';
import { NO_HOP } from './hops.ts';

const { PREFIX, HOP } = RouteWord;
/** Prefix length of a route to one address. */
const HOST_PREFIX = 128;

function slotHash(table: NodeTable, a: number, b: number, c: number, d: number, prefix: number): number {
  return hashAddress(table.hash, 0, a, b, c, d) ^ hashByte(table.hash, 4, prefix);
}

/** Mask of word `index` (0..3) under a prefix of 128 bits. */
function maskOf(prefix: number, index: number): number {
  const bits = prefix - index * 32;
  return bits <= 0 ? 0 : bits >= 32 ? -1 : -1 << (32 - bits);
}

function findSlot(table: NodeTable, a: number, b: number, c: number, d: number, prefix: number): number {
  const { routes, routeMask } = table;
  const hash = slotHash(table, a, b, c, d, prefix);
  for (let probe = 0, slot = hash & routeMask; probe <= routeMask; probe++, slot = (slot + 1) & routeMask) {
    const at = slot * ROUTE_WORDS;
    const stored = routes[at + PREFIX];
    if (stored === 0) return -1;
    if (
      stored === prefix + 1 &&
      routes[at + 3] === d &&
      routes[at + 2] === c &&
      routes[at + 1] === b &&
      routes[at] === a
    ) {
      return at;
    }
  }
  return -1;
}

/**
 * Hop for an address, by longest-prefix match.
 * @param words address at `at`: four words, IPv4 mapped
 * @returns hop number, or NO_HOP
 */
export function findRoute(table: NodeTable, words: Int32Array, at: number): number {
  const slot = longestMatch(table, words, at);
  return slot < 0 ? NO_HOP : table.routes[slot + HOP];
}

/**
 * Is the address (four words) the network address of the route that holds it, or the first behind it? In the pod network
 * of a node these are no pod's but the node's own: flannel gives its device the one, bridges and we have the other.
 */
export function isFirstOfRoute(table: NodeTable, address: Int32Array): boolean {
  const slot = longestMatch(table, address, 0);
  if (slot < 0) return false;
  const { routes } = table;
  const isHost = routes[slot + PREFIX] - 1 === HOST_PREFIX;
  return !isHost && address[3] - routes[slot + 3] <= 1 && address[2] === routes[slot + 2];
}

/** Slot of the longest prefix that holds the address, or -1. */
function longestMatch(table: NodeTable, words: Int32Array, at: number): number {
  const { config } = table;
  for (let i = 0; i < MAX_PREFIX_LENGTHS; i++) {
    const prefix = config[NodeWord.PREFIX_LENGTHS + i] - 1;
    if (prefix < 0) return -1;
    const slot = findSlot(
      table,
      words[at] & maskOf(prefix, 0),
      words[at + 1] & maskOf(prefix, 1),
      words[at + 2] & maskOf(prefix, 2),
      words[at + 3] & maskOf(prefix, 3),
      prefix,
    );
    if (slot >= 0) return slot;
  }
  return -1;
}

/** Prefix lengths in use, each plus 1, longest first. */
function usedLengths({ routes }: NodeTable): number[] {
  const used = new Set<number>();
  for (let at = 0; at < routes.length; at += ROUTE_WORDS) if (routes[at + PREFIX] > 0) used.add(routes[at + PREFIX]);
  return [...used].sort((x, y) => y - x);
}

function rewriteLengths(table: NodeTable): void {
  const used = usedLengths(table);
  for (let i = 0; i < MAX_PREFIX_LENGTHS; i++) Atomics.store(table.config, NodeWord.PREFIX_LENGTHS + i, used[i] ?? 0);
}

/** May a route have this length? Look-ups probe each length in use, so their number is limited. */
function hasRoomForLength(table: NodeTable, prefix: number): boolean {
  const used = usedLengths(table);
  return used.length < MAX_PREFIX_LENGTHS || used.includes(prefix + 1);
}

/**
 * Add or change a route.
 * @param network four words, IPv4 mapped; bits after the prefix are ignored
 * @param prefix 0..128 (an IPv4 /n is 96 + n)
 * @returns false if the table is full or already has MAX_PREFIX_LENGTHS other lengths; nothing is changed then
 */
export function setRoute(table: NodeTable, network: Int32Array, prefix: number, hop: number): boolean {
  const { routes, routeMask } = table;
  const a = network[0] & maskOf(prefix, 0);
  const b = network[1] & maskOf(prefix, 1);
  const c = network[2] & maskOf(prefix, 2);
  const d = network[3] & maskOf(prefix, 3);
  const known = findSlot(table, a, b, c, d, prefix);
  if (known >= 0) {
    Atomics.store(routes, known + HOP, hop);
    nextGeneration(table);
    return true;
  }
  if (!hasRoomForLength(table, prefix)) return false;
  const hash = slotHash(table, a, b, c, d, prefix);
  for (let probe = 0, slot = hash & routeMask; probe <= routeMask; probe++, slot = (slot + 1) & routeMask) {
    const at = slot * ROUTE_WORDS;
    if (routes[at + PREFIX] > 0) continue;
    routes[at] = a;
    routes[at + 1] = b;
    routes[at + 2] = c;
    routes[at + 3] = d;
    routes[at + HOP] = hop;
    Atomics.store(routes, at + PREFIX, prefix + 1);
    rewriteLengths(table);
    nextGeneration(table);
    return true;
  }
  return false;
}

/** Remove a route, if it exists. */
export function removeRoute(table: NodeTable, network: Int32Array, prefix: number): void {
  const slot = findSlot(
    table,
    network[0] & maskOf(prefix, 0),
    network[1] & maskOf(prefix, 1),
    network[2] & maskOf(prefix, 2),
    network[3] & maskOf(prefix, 3),
    prefix,
  );
  if (slot < 0) return;
  Atomics.store(table.routes, slot + PREFIX, GONE);
  rewriteLengths(table);
  nextGeneration(table);
}
