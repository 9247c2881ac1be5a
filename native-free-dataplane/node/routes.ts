/**
 * Longest-prefix match, from address to hop; host-routes.ts uses the same code. Read only for the first packet of a
 * connection; the flow stores the result.
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
  nextGeneration,
  ROUTE_WORDS,
  type RouteSet,
  RouteWord,
} from './config.ts';
import { NO_HOP } from './hops.ts';

const { PREFIX, HOP } = RouteWord;
/** Prefix length of a route to one address. */
const HOST_PREFIX = 128;

function slotHash(set: RouteSet, a: number, b: number, c: number, d: number, prefix: number): number {
  return hashAddress(set.hash, 0, a, b, c, d) ^ hashByte(set.hash, 4, prefix);
}

/** Mask of word `index` (0..3) under a prefix of 128 bits. */
function maskOf(prefix: number, index: number): number {
  const bits = prefix - index * 32;
  return bits <= 0 ? 0 : bits >= 32 ? -1 : -1 << (32 - bits);
}

function findSlot(set: RouteSet, a: number, b: number, c: number, d: number, prefix: number): number {
  const { slots, slotMask } = set;
  const hash = slotHash(set, a, b, c, d, prefix);
  for (let probe = 0, slot = hash & slotMask; probe <= slotMask; probe++, slot = (slot + 1) & slotMask) {
    const at = slot * ROUTE_WORDS;
    const stored = slots[at + PREFIX];
    if (stored === 0) return -1;
    if (stored === prefix + 1 && slots[at + 3] === d && slots[at + 2] === c && slots[at + 1] === b && slots[at] === a) {
      return at;
    }
  }
  return -1;
}

/**
 * Longest-prefix match.
 * @param words address at `at`: four words, IPv4 mapped
 * @returns RouteWord.HOP of the route, or NO_HOP
 */
export function findLongest(set: RouteSet, words: Int32Array, at: number): number {
  const slot = longestMatch(set, words, at);
  return slot < 0 ? NO_HOP : set.slots[slot + HOP];
}

/** Hop for an address among pods and other nodes, or NO_HOP. @param words address at `at`: four words, IPv4 mapped */
export function findRoute(table: NodeTable, words: Int32Array, at: number): number {
  return findLongest(table.routes, words, at);
}

/**
 * Is the address (four words) the network address of its route, or the first address after it? In a node's pod network
 * these two belong to the node and never to a pod: flannel's device has the former; bridges and our gateway have the
 * latter.
 */
export function isFirstOfRoute(table: NodeTable, address: Int32Array): boolean {
  const slot = longestMatch(table.routes, address, 0);
  if (slot < 0) return false;
  const { slots } = table.routes;
  const isHost = slots[slot + PREFIX] - 1 === HOST_PREFIX;
  return !isHost && address[3] - slots[slot + 3] <= 1 && address[2] === slots[slot + 2];
}

/** Slot of the route with the longest prefix that contains the address, or -1. */
function longestMatch(set: RouteSet, words: Int32Array, at: number): number {
  const { lengths } = set;
  for (let i = 0; i < MAX_PREFIX_LENGTHS; i++) {
    const prefix = lengths[i] - 1;
    if (prefix < 0) return -1;
    const slot = findSlot(
      set,
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
function usedLengths({ slots }: RouteSet): number[] {
  const used = new Set<number>();
  for (let at = 0; at < slots.length; at += ROUTE_WORDS) if (slots[at + PREFIX] > 0) used.add(slots[at + PREFIX]);
  return [...used].sort((x, y) => y - x);
}

function rewriteLengths(set: RouteSet): void {
  const used = usedLengths(set);
  for (let i = 0; i < MAX_PREFIX_LENGTHS; i++) Atomics.store(set.lengths, i, used[i] ?? 0);
}

/** Look-ups probe each length in use, so their number is limited. Exact: rewritten with the last route of a length. */
function hasLength({ lengths }: RouteSet, prefix: number): boolean {
  for (let i = 0; i < MAX_PREFIX_LENGTHS; i++) if (lengths[i] === prefix + 1) return true;
  return false;
}

/** Has any route this length? */
function isLengthUsed({ slots }: RouteSet, prefix: number): boolean {
  for (let at = PREFIX; at < slots.length; at += ROUTE_WORDS) if (slots[at] === prefix + 1) return true;
  return false;
}

/**
 * Add or change a route.
 * @param network four words, IPv4 mapped; bits after the prefix are ignored
 * @param prefix 0..128 (an IPv4 /n is 96 + n)
 * @param set the routes to pods and other nodes unless given
 * @returns false if the table is full or already has MAX_PREFIX_LENGTHS other lengths; nothing is changed then
 */
export function setRoute(
  table: NodeTable,
  network: Int32Array,
  prefix: number,
  hop: number,
  set: RouteSet = table.routes,
): boolean {
  const { slots, slotMask } = set;
  const a = network[0] & maskOf(prefix, 0);
  const b = network[1] & maskOf(prefix, 1);
  const c = network[2] & maskOf(prefix, 2);
  const d = network[3] & maskOf(prefix, 3);
  const known = findSlot(set, a, b, c, d, prefix);
  if (known >= 0) {
    Atomics.store(slots, known + HOP, hop);
    nextGeneration(table);
    return true;
  }
  const isNewLength = !hasLength(set, prefix);
  if (isNewLength && set.lengths[MAX_PREFIX_LENGTHS - 1] !== 0) return false;
  const hash = slotHash(set, a, b, c, d, prefix);
  for (let probe = 0, slot = hash & slotMask; probe <= slotMask; probe++, slot = (slot + 1) & slotMask) {
    const at = slot * ROUTE_WORDS;
    if (slots[at + PREFIX] > 0) continue;
    slots[at] = a;
    slots[at + 1] = b;
    slots[at + 2] = c;
    slots[at + 3] = d;
    slots[at + HOP] = hop;
    Atomics.store(slots, at + PREFIX, prefix + 1);
    if (isNewLength) rewriteLengths(set);
    nextGeneration(table);
    return true;
  }
  return false;
}

/** Remove a route, if it exists. */
export function removeRoute(table: NodeTable, network: Int32Array, prefix: number, set: RouteSet = table.routes): void {
  const slot = findSlot(
    set,
    network[0] & maskOf(prefix, 0),
    network[1] & maskOf(prefix, 1),
    network[2] & maskOf(prefix, 2),
    network[3] & maskOf(prefix, 3),
    prefix,
  );
  if (slot < 0) return;
  Atomics.store(set.slots, slot + PREFIX, GONE);
  if (!isLengthUsed(set, prefix)) rewriteLengths(set);
  nextGeneration(table);
}
