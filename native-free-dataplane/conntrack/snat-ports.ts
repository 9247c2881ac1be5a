/**
 * Source ports for translated connections. There is no list of ports: a port is free if no connection has the reply
 * tuple it would produce, so a tuple in use is never allocated again and one port serves any number of destinations.
 *
 * Read before editing: linux net/netfilter/nf_nat_core.c nf_nat_l4proto_unique_tuple (keep the port if it is free,
 * random start, at most 128 attempts, then fewer and fewer from new starting points); RFC 4787 §4.2.1 REQ-3.
 */
import type { Conntrack } from './record.ts';
import { tupleInUse } from './tuple-index.ts';

const FIRST_TRIES = 128;

/**
 * Find a free port for the reply tuple at words[reply], whose destination port is the preferred one: it is kept if it
 * is free and within low..high.
 * @param random any int32
 * @returns false if none was found; the tuple is then unchanged
 */
export function firstFreePort(
  table: Conntrack,
  reply: number,
  protocol: number,
  low: number,
  high: number,
  random: number,
): boolean {
  const { words } = table;
  const at = reply + 2 * table.addressWords;
  const upper = words[at] & ~0xffff;
  const wanted = words[at] & 0xffff;
  if (wanted >= low && wanted <= high) {
    words[at] = upper | wanted;
    if (!tupleInUse(table, words, reply, protocol)) return true;
  }
  const range = high - low + 1;
  let start = (random >>> 0) % range;
  for (let tries = range < FIRST_TRIES ? range : FIRST_TRIES; tries >= 16 || tries === range; tries >>= 1) {
    for (let i = 0; i < tries; i++) {
      words[at] = upper | (low + ((start + i) % range));
      if (!tupleInUse(table, words, reply, protocol)) return true;
    }
    start = (Math.imul(start + 1, 0x9e3779b1) >>> 0) % range;
    if (tries === range) break;
  }
  words[at] = upper | wanted;
  return false;
}
