/**
 * Tuples in memory: source address, destination address, ports. An address takes `addressWords` words (one in an IPv4
 * table, four in an IPv6 table), followed by one word of ports, source << 16 | destination. Only this file knows that
 * layout; other code fills and compares tuples through these functions, with addresses of four words
 * (shared/address.ts).
 */
import { copyAddress, mapIpv4, sameAddress } from '../shared/address.ts';
import type { Conntrack } from './record.ts';

/** Fill the tuple at words[at]: the table's own memory, or its `key`. */
export function writeTuple(
  table: Conntrack,
  words: Int32Array,
  at: number,
  src: Int32Array,
  dst: Int32Array,
  ports: number,
): void {
  if (table.addressWords === 1) {
    words[at] = src[3];
    words[at + 1] = dst[3];
    words[at + 2] = ports;
    return;
  }
  for (let i = 0; i < 4; i++) {
    words[at + i] = src[i];
    words[at + 4 + i] = dst[i];
  }
  words[at + 8] = ports;
}

/**
 * Fill the table's key, the tuple that findTuple looks for. @param kind protocol number, or ICMP_ANSWER
 * (tuple-index.ts)
 */
export function writeKey(table: Conntrack, src: Int32Array, dst: Int32Array, ports: number, kind: number): void {
  writeTuple(table, table.key, 0, src, dst, ports);
  table.key[table.tupleWords] = kind;
}

/** Does the tuple at word `at` have these addresses and ports? */
export function isTuple(table: Conntrack, at: number, src: Int32Array, dst: Int32Array, ports: number): boolean {
  const { words } = table;
  if (table.addressWords === 1) return words[at] === src[3] && words[at + 1] === dst[3] && words[at + 2] === ports;
  return sameAddress(src, words, at) && sameAddress(dst, words, at + 4) && words[at + 8] === ports;
}

/** Is `address` the source address of the tuple at word `at`? */
export function isTupleSource({ words, addressWords }: Conntrack, at: number, address: Int32Array): boolean {
  return addressWords === 1 ? words[at] === address[3] : sameAddress(address, words, at);
}

/** Copy the source address of the tuple at word `at` into four words. */
export function readTupleSource(table: Conntrack, at: number, into: Int32Array): void {
  readAddress(table, at, into);
}

/** Copy the destination address of the tuple at word `at` into four words. */
export function readTupleDestination(table: Conntrack, at: number, into: Int32Array): void {
  readAddress(table, at + table.addressWords, into);
}

function readAddress({ words, addressWords }: Conntrack, at: number, into: Int32Array): void {
  if (addressWords === 1) mapIpv4(words[at], into);
  else copyAddress(words, at, into);
}

/** Index of the ports word of the tuple at word `at`. */
export function tuplePortsAt(table: Conntrack, at: number): number {
  return at + 2 * table.addressWords;
}

/** A ports word with source and destination swapped. */
export function turnPorts(ports: number): number {
  return (ports << 16) | (ports >>> 16);
}
