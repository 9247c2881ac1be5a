/**
 * The connection table at 1,000, 64,000 and a million connections: hits, misses, creation, expiry; its memory; and
 * tuples chosen to collide under an unkeyed hash, which must cost no more than others.
 */
import Benchmark from 'benchmark';
import {
  BUCKET_WORDS,
  type Conntrack,
  conntrackBytes,
  createConntrack,
} from '../../native-free-dataplane/conntrack/record.ts';
import { recoverConntrack } from '../../native-free-dataplane/conntrack/recovery.ts';
import { bundledLoops } from './lib/bundles.ts';
import type { Pattern } from './lib/conntrack-loops.ts';
import type { Fact } from './lib/results.ts';
import { shuffled } from './lib/scenarios.ts';

const loops = await bundledLoops<typeof import('./lib/conntrack-loops.ts')>('conntrack-loops');

/** Maximum number of connections that are not assured in a table for 2^20: a sixteenth of the table is kept free. */
const COUNTS = [1000, 64_000, 980_000];
const MAX_CONNECTIONS = [1100, 70_000, 1 << 20];
const SECRET = Int32Array.of(0x1f2e3d4c, 0x5b6a7988, 0x01234567, 0x76543210);
/** Look-ups per call of a benchmark's function. */
const BATCH = 500;
const DAY_MS = 86_400_000;

const CLIENTS: Pattern = {
  name: 'clients of services',
  src: (n) => 0x0af40000 + ((n >>> 5) & 0xffff),
  dst: (n) => 0x0a600000 + (n % 1009),
  ports: (n) => ((1024 + (n & 31) + (n >>> 21) * 32) << 16) | 80,
};
const STRANGERS: Pattern = { ...CLIENTS, name: 'not there', dst: (n) => 0x0b600000 + (n % 1009) };

/** Each pattern differs in one field, or in bits that a weak hash discards. */
const PATTERNS: readonly Pattern[] = [
  CLIENTS,
  { name: 'only the source port differs', src: () => 0x0af40102, dst: () => 0x0a60000a, ports: (n) => (n << 16) | 80 },
  {
    name: 'only the destination port differs',
    src: () => 0x0af40102,
    dst: () => 0x0a60000a,
    ports: (n) => n | (80 << 16),
  },
  { name: 'sequential sources', src: (n) => 0x0a000000 + n, dst: () => 0x0a60000a, ports: () => (4000 << 16) | 80 },
  {
    name: 'sources alike in the low 16 bits',
    src: (n) => n << 16,
    dst: () => 0x0a60000a,
    ports: () => (4000 << 16) | 80,
  },
  {
    name: 'source and destination alike but for one bit position each',
    src: (n) => (n << 16) | 1,
    dst: (n) => (n << 16) | 2,
    ports: () => (4000 << 16) | 80,
  },
  {
    name: 'source and ports that cancel under exclusive or',
    src: (n) => n,
    dst: () => 0x0a60000a,
    ports: (n) => n ^ ((4000 << 16) | 80),
  },
];

function emptyTable(count: number): Conntrack {
  const max = MAX_CONNECTIONS[COUNTS.indexOf(count)]!;
  const options = { addressWords: 1, max, workers: 1, secret: SECRET };
  const table = createConntrack(new ArrayBuffer(conntrackBytes(options)), options);
  recoverConntrack(table, 0, 1);
  return table;
}

/** Tuples in an order that is not that of the records. */
function mixed(tuples: Int32Array): Int32Array {
  const result = new Int32Array(tuples.length);
  shuffled(tuples.length / 3).forEach((from, to) => {
    result.set(tuples.subarray(from * 3, from * 3 + 3), to * 3);
  });
  return result;
}

interface Filled {
  readonly table: Conntrack;
  readonly tuples: Int32Array;
}

let kept: { key: string; filled: Filled } | undefined;

function filled(pattern: Pattern, count: number): Filled {
  const key = `${pattern.name} ${count}`;
  if (kept?.key !== key) {
    kept = undefined;
    kept = { key, filled: fill(pattern, count) };
  }
  return kept.filled;
}

/** A table with this many connections, and their tuples in another order. */
function fill(pattern: Pattern, count: number): Filled {
  const table = emptyTable(count);
  const tuples = loops.tuplesOf(pattern, count);
  const made = loops.makeConnections(table, tuples, 0, DAY_MS);
  if (made !== count) throw new Error(`${pattern.name}: ${made} connections of ${count} were made`);
  return { table, tuples: mixed(tuples) };
}

export const suite: Benchmark.Suite = new Benchmark.Suite();

type Loop = (table: Conntrack, tuples: Int32Array, from: number, count: number) => number;

function add(name: string, prepare: () => Filled, loop: Loop, expected: number, atMost?: number): void {
  let state: Filled | undefined;
  let from = 0;
  suite.add(name, {
    operations: BATCH,
    ...(atMost !== undefined && { atMost }),
    onStart: () => {
      state = prepare();
      from = 0;
    },
    fn: () => {
      const { table, tuples } = state!;
      if (loop(table, tuples, from, BATCH) !== expected)
        throw new Error('a connection was not found, or one that is not there');
      from = (from + 2 * BATCH) * 3 > tuples.length ? 0 : from + BATCH;
    },
    onComplete: () => {
      state = undefined;
    },
  } as Benchmark.Options);
}

add('bench alone: a key put in place', () => filled(CLIENTS, 64_000), loops.onlyLoadKeys, BATCH);
for (const count of COUNTS) {
  add(
    `look-up and translation, among ${count}, in the order they were made`,
    () => ({ table: filled(CLIENTS, count).table, tuples: loops.tuplesOf(CLIENTS, count) }),
    loops.lookUp,
    BATCH,
  );
  add(`look-up and translation, among ${count}, in any order`, () => filled(CLIENTS, count), loops.lookUp, BATCH);
  const strangers = (): Filled => ({
    table: filled(CLIENTS, count).table,
    tuples: mixed(loops.tuplesOf(STRANGERS, count)),
  });
  add(`look-up of what is not there, among ${count}`, strangers, loops.lookUp, 0);
}
/** Rounds of creating and ending all connections, and the lifetime of each. */
const ROUNDS = 5;
const LIFE_MS = 5000;

/** Creation, expiry and memory. */
export function measure(): Fact[] {
  const facts: Fact[] = [];
  kept = undefined;
  for (const count of COUNTS) {
    const tuples = mixed(loops.tuplesOf(CLIENTS, count));
    const table = emptyTable(count);
    let making = Number.POSITIVE_INFINITY;
    let ending = Number.POSITIVE_INFINITY;
    let nowMs = 0;
    for (let round = 0; round < (count > 100_000 ? ROUNDS : ROUNDS * 10); round++) {
      const begin = performance.now();
      const made = loops.makeConnections(table, tuples, nowMs, LIFE_MS);
      const between = performance.now();
      const ended = loops.expireAll(table, nowMs, nowMs + LIFE_MS + 1000);
      const end = performance.now();
      if (made !== count || ended !== count) throw new Error(`${made} made and ${ended} ended of ${count}`);
      nowMs += 2 * LIFE_MS;
      // The first round touches the memory for the first time.
      if (round === 0) continue;
      making = Math.min(making, ((between - begin) * 1e6) / count);
      ending = Math.min(ending, ((end - between) * 1e6) / count);
    }
    facts.push({ name: `new connection, up to ${count}`, value: making, unit: 'ns', atMost: 1000 });
    facts.push({ name: `expiry of ${count}, each`, value: ending, unit: 'ns', atMost: 1000 });
  }
  facts.push(...collisions());
  const bytes = conntrackBytes({ addressWords: 1, max: 1_000_000 });
  facts.push({ name: 'the table for 1,000,000 IPv4 connections', value: bytes / 2 ** 20, unit: 'MiB', atMost: 128 });
  facts.push({ name: 'a connection in it', value: bytes / 1e6, unit: 'bytes' });
  const bytes6 = conntrackBytes({ addressWords: 4, max: 1_000_000 });
  facts.push({ name: 'a connection, IPv6', value: bytes6 / 1e6, unit: 'bytes' });
  return facts;
}

/** Maximum ratio between look-ups of chosen tuples and others. */
const FLAT = 1.5;
const PASSES = 3;

/**
 * Look-ups of each pattern, interleaved so that other load on the machine affects all alike: the best pass of each, as
 * a multiple of the first pattern's.
 */
function collisions(): Fact[] {
  const all = PATTERNS.map((pattern) => ({ pattern, ...fill(pattern, 64_000), best: Number.POSITIVE_INFINITY }));
  for (let round = 0; round < 50; round++) {
    for (const one of all) {
      for (let pass = 0; pass < PASSES; pass++) {
        const begin = performance.now();
        if (loops.lookUp(one.table, one.tuples, 0, 64_000) !== 64_000) throw new Error('a connection was not found');
        one.best = Math.min(one.best, performance.now() - begin);
      }
    }
  }
  return all.flatMap(({ pattern, table, best }) => [
    { name: `look-up, ${pattern.name}`, value: best / all[0]!.best, unit: `of ${CLIENTS.name}`, atMost: FLAT },
    { name: `fullest bucket of ${BUCKET_WORDS}, ${pattern.name}`, value: fullest(table), unit: 'words' },
  ]);
}

function fullest({ index }: Conntrack): number {
  let most = 0;
  for (let at = 0; at < index.length; at += BUCKET_WORDS) {
    most = Math.max(most, index.subarray(at, at + BUCKET_WORDS).filter((word) => word !== 0).length);
  }
  return most;
}
