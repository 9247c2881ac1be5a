/**
 * Longest-prefix match: address → hop. Read for the first packet of a connection only; the flow remembers the answer.
 *
 * One keyed open-addressing hash of (network, prefix length), probed once for each prefix length that is in use, the
 * longest first. A cluster has three or four lengths (pods, pod networks, node addresses), so that is three probes at
 * any number of routes. Prefix lengths count in 128 bits; an IPv4 /24 is a /120 of its mapped form.
 *
 * Slot: network (4 words), prefix + 1, hop, 2 spare. A slot is filled before its prefix word is stored and emptied
 * by that word alone, so a reader sees a whole route or none. Single writer: the agent.
 */
import { hashAddress, hashByte } from '../shared/hash.ts';
import { type NodeTable, nextGeneration, ROUTE_WORDS } from './config.ts';
import { NO_HOP } from './hops.ts';

const PREFIX = 4;
const HOP = 5;
const GONE = -1;

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

/** Which prefix lengths are in use, longest first; kept by the writer in the last words of the configuration. */
const LENGTHS_AT = 40;
const MAX_LENGTHS = 20;

/**
 * Hop for an address, by the longest prefix that holds it.
 * @param words address at `at`: four words, IPv4 mapped
 * @returns hop number, or NO_HOP
 */
export function findRoute(table: NodeTable, words: Int32Array, at: number): number {
  const { config, routes } = table;
  for (let i = 0; i < MAX_LENGTHS; i++) {
    const prefix = config[LENGTHS_AT + i] - 1;
    if (prefix < 0) return NO_HOP;
    const slot = findSlot(
      table,
      words[at] & maskOf(prefix, 0),
      words[at + 1] & maskOf(prefix, 1),
      words[at + 2] & maskOf(prefix, 2),
      words[at + 3] & maskOf(prefix, 3),
      prefix,
    );
    if (slot >= 0) return routes[slot + HOP];
  }
  return NO_HOP;
}

function rewriteLengths(table: NodeTable): void {
  const used = new Set<number>();
  for (let at = 0; at < table.routes.length; at += ROUTE_WORDS) {
    if (table.routes[at + PREFIX] > 0) used.add(table.routes[at + PREFIX]);
  }
  const sorted = [...used].sort((x, y) => y - x).slice(0, MAX_LENGTHS);
  for (let i = 0; i < MAX_LENGTHS; i++) Atomics.store(table.config, LENGTHS_AT + i, sorted[i] ?? 0);
}

/**
 * Add or change a route.
 * @param network four words, IPv4 mapped; bits behind the prefix are ignored
 * @param prefix 0..128 (an IPv4 /n is 96 + n)
 * @returns false when the table is full
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

/** Take a route away; nothing happens when it is not there. */
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
