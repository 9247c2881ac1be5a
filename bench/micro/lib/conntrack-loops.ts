/** Loops over the connection table; bundled with its modules as the workers' pipeline is (scripts/bundle.mjs). */
import {
  allocateRecord,
  expireRecords,
  isBehind,
  scheduleRecord,
} from '../../../native-free-dataplane/conntrack/lifetime.ts';
import { type Conntrack, Rec, recordAt, tupleAt } from '../../../native-free-dataplane/conntrack/record.ts';
import {
  findTuple,
  hashTuple,
  InsertResult,
  insertRecord,
  tupleInUse,
} from '../../../native-free-dataplane/conntrack/tuple-index.ts';
import { PROTOCOL_TCP as TCP } from '../../../native-free-dataplane/protocols.ts';

const ADDRESS_MASK = 0xffff_0000 | 0;

/** A series of tuples: the words of tuple n. */
export interface Pattern {
  readonly name: string;
  readonly src: (n: number) => number;
  readonly dst: (n: number) => number;
  readonly ports: (n: number) => number;
}

/** Original tuples, three words each. */
export function tuplesOf({ src, dst, ports }: Pattern, count: number): Int32Array {
  const tuples = new Int32Array(count * 3);
  for (let n = 0; n < count; n++) {
    tuples[n * 3] = src(n);
    tuples[n * 3 + 1] = dst(n);
    tuples[n * 3 + 2] = ports(n);
  }
  return tuples;
}

/**
 * Create a connection with each tuple, translated to another destination, after looking up both tuples as the pipeline
 * does.
 * @returns how many were created
 */
export function makeConnections(table: Conntrack, tuples: Int32Array, nowMs: number, lifeMs: number): number {
  const { words } = table;
  let made = 0;
  for (let n = 0; n < tuples.length; n += 3) {
    if (lookUp(table, tuples, n / 3, 1) !== 0) continue;
    const record = allocateRecord(table, 0, nowMs);
    if (record < 0) continue;
    const at = recordAt(table, record);
    for (let i = 0; i < Rec.TUPLES; i++) words[at + i] = 0;
    words[at + Rec.META] = TCP << 16;
    words[at + Rec.EXPIRES] = (nowMs + lifeMs) | 0;
    const original = at + Rec.TUPLES;
    const src = tuples[n] as number;
    const dst = tuples[n + 1] as number;
    const ports = tuples[n + 2] as number;
    words[original] = src;
    words[original + 1] = dst;
    words[original + 2] = ports;
    words[original + 3] = (dst & ~ADDRESS_MASK) | 0x0af4_0000;
    words[original + 4] = src;
    words[original + 5] = (ports << 16) | (ports >>> 16);
    if (tupleInUse(table, words, original + 3, TCP)) continue;
    if (insertRecord(table, record, 0) !== InsertResult.INSERTED) continue;
    scheduleRecord(table, record, 0, nowMs);
    made++;
  }
  return made;
}

/** Look up each tuple and read its translation. @returns how many were found */
export function lookUp(table: Conntrack, tuples: Int32Array, from: number, count: number): number {
  const { key, words } = table;
  let found = 0;
  for (let n = from * 3, end = (from + count) * 3; n < end; n += 3) {
    key[0] = tuples[n] as number;
    key[1] = tuples[n + 1] as number;
    key[2] = tuples[n + 2] as number;
    key[3] = TCP;
    const reference = findTuple(table, hashTuple(table, key, 0, TCP));
    if (reference < 0) continue;
    const other = tupleAt(table, reference >> 1, 1 - (reference & 1));
    if (words[other + 1] === key[0]) found++;
  }
  return found;
}

/** The same loop without the look-up: the benchmark's own cost. */
export function onlyLoadKeys(table: Conntrack, tuples: Int32Array, from: number, count: number): number {
  const { key } = table;
  for (let n = from * 3, end = (from + count) * 3; n < end; n += 3) {
    key[0] = tuples[n] as number;
    key[1] = tuples[n + 1] as number;
    key[2] = tuples[n + 2] as number;
    key[3] = TCP;
  }
  return count;
}

/** Expire all connections that are due by `untilMs`, as a worker does. @returns how many expired */
export function expireAll(table: Conntrack, fromMs: number, untilMs: number): number {
  let ended = 0;
  for (let nowMs = fromMs; nowMs <= untilMs; nowMs += 64) {
    do ended += expireRecords(table, 0, nowMs);
    while (isBehind(table, 0, nowMs));
  }
  return ended;
}
