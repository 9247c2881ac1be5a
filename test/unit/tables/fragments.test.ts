import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { FragmentWord } from '../../../native-free-dataplane/tables/fragment-slots.ts';
import {
  attachFragments,
  createFragments,
  FragmentResult,
  type FragmentTable,
  fragmentFirst,
  fragmentLater,
  fragmentsBytes,
  releaseFragmentLock,
  takeHeld,
} from '../../../native-free-dataplane/tables/fragments.ts';
import { type Random, seededRandom } from '../../lib/seeded-random.ts';

const SECRET = Int32Array.of(5, 6, 7, 8);
const PORTS = (4000 << 16) | 53;
const SEQUENCE = 0x7fff0000;
const RESULT_NAMES = Object.fromEntries(Object.entries(FragmentResult).map(([name, value]) => [value, name]));

interface Sizes {
  maxDatagrams?: number;
  heldBytes?: number;
}

function memory(sizes: Sizes = {}): { buffer: ArrayBuffer; table: FragmentTable } {
  const buffer = new ArrayBuffer(fragmentsBytes(sizes));
  return { buffer, table: createFragments(buffer, { ...sizes, secret: SECRET }) };
}

/** A worker's view, with the fragments it received as frames of `headerBytes` plus payload. */
class Worker {
  readonly table: FragmentTable;
  readonly arena = new Uint8Array(256 * 1024);
  readonly number: number;
  nowMs = 1000;

  constructor(table: FragmentTable, number = 0) {
    this.table = table;
    this.number = number;
  }

  /** Receive payload [from, to) of datagram `id`; the name of the result. */
  receive(id: number, from: number, to: number, more: boolean, source = 1): string {
    const { table, arena, number, nowMs } = this;
    table.key.fill(0);
    table.key[3] = source;
    table.key[7] = 99;
    table.key[8] = id;
    table.key[9] = (17 << 8) | 4;
    if (from === 0)
      return RESULT_NAMES[fragmentFirst(table, number, nowMs, to, more ? 1 : 0, PORTS + id, SEQUENCE - id)] ?? '?';
    const end = 258 + 34 + to - from;
    for (let i = 0; i < end - 258; i++) arena[258 + i] = (id * 31 + from + i) & 255;
    const tag = id * 100_000 + from;
    const result = fragmentLater(table, number, nowMs, from, to, more ? 1 : 0, arena, 258, end, tag);
    if (result === FragmentResult.FOUND) assert.equal([table.ports, table.sequence], [PORTS + id, SEQUENCE - id]);
    return RESULT_NAMES[result] ?? '?';
  }

  /** Tags of the copies that a first fragment released, each checked byte by byte and sent through again. */
  released(): number[] {
    const { table, arena, number } = this;
    const tags: number[] = [];
    for (let length = takeHeld(table, number, arena, 258); length > 0; length = takeHeld(table, number, arena, 258)) {
      const id = Math.floor(table.tag / 100_000);
      const from = table.tag % 100_000;
      for (let i = 0; i < length; i++) {
        if (arena[258 + i] !== ((id * 31 + from + i) & 255)) assert.unreachable(`byte ${i} of ${table.tag}`);
      }
      tags.push(from);
      assert.is(
        fragmentLater(table, number, this.nowMs, from, from + length - 34, 1, arena, 258, 258 + length, 0),
        FragmentResult.FOUND,
      );
      assert.equal([table.ports, table.sequence], [PORTS + id, SEQUENCE - id]);
    }
    return tags;
  }

  get datagrams(): number {
    return this.table.words[FragmentWord.COUNT] as number;
  }
}

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length <= 1) return [[...items]];
  return items.flatMap((item, i) => permutations(items.filter((_, j) => j !== i)).map((rest) => [item, ...rest]));
}

const PIECES: readonly [from: number, to: number, more: boolean][] = [
  [0, 1480, true],
  [1480, 2960, true],
  [2960, 4440, true],
  [4440, 5000, false],
];

test('four fragments in all 24 orders: everything passes with its ports, and nothing stays behind', () => {
  for (const order of permutations(PIECES)) {
    const { table } = memory();
    const worker = new Worker(table);
    const passed: number[] = [];
    const held: number[] = [];
    for (const [from, to, more] of order) {
      const result = worker.receive(7, from, to, more);
      if (result === 'HELD') held.push(from);
      else passed.push(from);
      assert.ok(result === 'HELD' || result === 'FOUND', result);
      if (from === 0) {
        const released = worker.released();
        assert.equal(released, held, 'in the order they came');
        passed.push(...released);
      }
    }
    assert.equal(
      passed.sort((a, b) => a - b),
      [0, 1480, 2960, 4440],
    );
    assert.is(worker.datagrams, 0, 'a complete datagram is forgotten');
    assert.is(worker.released().length, 0);
  }
});

test('a complete datagram makes way for the next with the same identification', () => {
  const worker = new Worker(memory().table);
  for (let round = 0; round < 100; round++) {
    for (const [from, to, more] of PIECES) assert.is(worker.receive(7, from, to, more), 'FOUND');
  }
});

test('fragments of one datagram that reach two workers', () => {
  const { buffer, table } = memory();
  const one = new Worker(table, 0);
  const attached = attachFragments(buffer);
  assert.ok(attached);
  const two = new Worker(attached as FragmentTable, 1);
  assert.is(two.receive(7, 1480, 2960, true), 'HELD');
  assert.is(one.receive(7, 2960, 4440, true), 'HELD');
  assert.is(one.receive(7, 0, 1480, true), 'FOUND');
  assert.is(two.receive(7, 4440, 5000, false), 'FOUND');
  assert.equal(one.released(), [1480, 2960]);
  assert.equal(two.released(), []);
  assert.is(one.datagrams, 0);
});

test('memory of another kind, or too little of it, is not taken for a table', () => {
  assert.is(attachFragments(new ArrayBuffer(64)), undefined);
  assert.is(attachFragments(new ArrayBuffer(fragmentsBytes())), undefined);
  const { buffer } = memory();
  assert.is(attachFragments(buffer.slice(0, buffer.byteLength - 4096)), undefined);
});

test('RFC 5722 §4: overlap kills the datagram, copies and later fragments included', () => {
  const worker = new Worker(memory().table);
  assert.is(worker.receive(7, 1480, 2960, true), 'HELD');
  assert.is(worker.receive(7, 2952, 4432, true), 'OVERLAP');
  assert.is(worker.receive(7, 0, 1480, true), 'OVERLAP');
  assert.is(worker.receive(7, 4432, 5000, false), 'OVERLAP');
  assert.equal(worker.released(), []);
  // Others are not affected, not even those with the same identification.
  assert.is(worker.receive(7, 0, 1480, true, 2), 'FOUND');
  assert.is(worker.receive(8, 0, 1480, true), 'FOUND');
});

test('RFC 8200 §4.5: an exact duplicate, or a part of what was seen, is dropped alone', () => {
  const worker = new Worker(memory().table);
  assert.is(worker.receive(7, 0, 1480, true), 'FOUND');
  assert.is(worker.receive(7, 0, 1480, true), 'DUPLICATE');
  assert.is(worker.receive(7, 1480, 2960, true), 'FOUND');
  assert.is(worker.receive(7, 1480, 2960, true), 'DUPLICATE');
  assert.is(worker.receive(7, 1488, 1496, true), 'DUPLICATE');
  assert.is(worker.receive(7, 2960, 3000, false), 'FOUND');
});

test('two ends, or bytes behind the end, kill the datagram (linux ip_frag_queue)', () => {
  for (const [from, to, more] of [
    [3000, 3008, true],
    [2000, 2008, false],
    [3000, 3008, false],
  ] as const) {
    const worker = new Worker(memory().table);
    assert.is(worker.receive(7, 2960, 3000, false), 'HELD');
    assert.is(worker.receive(7, from, to, more), 'OVERLAP', `${from}`);
  }
  const worker = new Worker(memory().table);
  assert.is(worker.receive(7, 2960, 4440, true), 'HELD');
  assert.is(worker.receive(7, 1480, 2000, false), 'OVERLAP');
});

test('what no datagram can have: empty, odd in the middle, beyond 65535', () => {
  const worker = new Worker(memory().table);
  assert.is(worker.receive(7, 1480, 1480, true), 'MALFORMED');
  assert.is(worker.receive(7, 1480, 1487, true), 'MALFORMED');
  assert.is(worker.receive(7, 65528, 65536, true), 'TOO_LONG');
  assert.is(worker.receive(7, 65528, 65535, false), 'HELD');
  assert.is(worker.receive(7, 0, 0, true), 'MALFORMED');
});

test('RFC 6946: an atomic fragment is whole and meets nobody', () => {
  const worker = new Worker(memory().table);
  assert.is(worker.receive(7, 1480, 2960, true), 'HELD');
  assert.is(worker.receive(7, 0, 100, false), 'FOUND');
  assert.equal(worker.released(), []);
  assert.is(worker.datagrams, 1);
});

test('after 30 s a datagram is forgotten, and another may have its identification', () => {
  const worker = new Worker(memory().table);
  worker.nowMs = 2 ** 31 - 5000;
  assert.is(worker.receive(7, 1480, 2960, true), 'HELD');
  worker.nowMs += 29_999;
  assert.is(worker.receive(7, 1480, 2960, true), 'DUPLICATE');
  worker.nowMs += 1;
  assert.is(worker.receive(7, 1000, 2000, true), 'HELD');
  assert.is(worker.datagrams, 1);
  assert.is(worker.table.words[FragmentWord.TIMED_OUT], 1);
});

test('more pieces than are kept: 64 apart from each other, any number that touch', () => {
  const worker = new Worker(memory().table);
  for (let i = 0; i < 64; i++) assert.is(worker.receive(7, 8 + i * 16, 16 + i * 16, true), 'HELD');
  assert.is(worker.receive(7, 8 + 64 * 16, 16 + 64 * 16, true), 'FULL');
  assert.is(worker.receive(7, 16, 24, true), 'OVERLAP', 'dead');
  // Backwards, one unit at a time.
  for (let from = 65504; from > 0; from -= 8) assert.is(worker.receive(8, from, from + 8, true), 'HELD');
  assert.is(worker.receive(8, 0, 8, true), 'FOUND');
  assert.is(worker.released().length, 65504 / 8);
  assert.is(worker.receive(8, 65512, 65520, false), 'FOUND');
  assert.is(worker.datagrams, 1);
});

test('a flood of first fragments takes the oldest incomplete datagrams, and nothing else', () => {
  const worker = new Worker(memory({ maxDatagrams: 64 }).table);
  for (let id = 0; id < 10_000; id++) {
    assert.is(worker.receive(id & 0xffff, 0, 1480, true, 66), 'FOUND');
    if (id % 7 !== 0) continue;
    // A client in the middle of it, fragments 20 frames of the flood apart at most.
    for (const [from, to, more] of PIECES) assert.is(worker.receive(id, from, to, more), 'FOUND');
  }
  assert.is(worker.datagrams, 64);
});

test('a flood of lone later fragments: the copies of a client survive what they must', () => {
  const worker = new Worker(memory({ maxDatagrams: 1024, heldBytes: 256 * 1024 }).table);
  for (let round = 0; round < 200; round++) {
    const id = 20_000 + (round % 100);
    assert.is(worker.receive(id, 1480, 2960, true), 'HELD');
    assert.is(worker.receive(id, 2960, 3000, false), 'HELD');
    for (let i = 0; i < 100; i++) worker.receive((round * 100 + i) % 19_000, 1480, 2960, true, 66);
    assert.is(worker.receive(id, 0, 1480, true), 'FOUND');
    assert.equal(worker.released(), [1480, 2960]);
  }
  assert.ok((worker.table.words[FragmentWord.OVERWRITTEN] as number) > 10_000);
});

test('a crash inside the lock: the table starts empty, and works', () => {
  const { table } = memory({ maxDatagrams: 16, heldBytes: 16 * 1024 });
  const worker = new Worker(table, 3);
  for (let id = 0; id < 10; id++) worker.receive(id, 1480, 2960, true);
  releaseFragmentLock(table, 3);
  assert.is(worker.datagrams, 10, 'nobody held it');
  table.words[FragmentWord.LOCK] = 3 + 1;
  table.words[FragmentWord.OLDEST] = 12345;
  releaseFragmentLock(table, 2);
  assert.is(table.words[FragmentWord.LOCK], 4, 'not its lock');
  releaseFragmentLock(table, 3);
  assert.is(worker.datagrams, 0);
  for (let id = 0; id < 100; id++) assert.is(worker.receive(id, 1480, 2960, true), 'HELD');
  assert.is(worker.receive(99, 0, 1480, true), 'FOUND');
  assert.equal(worker.released(), [1480]);
});

/** The slow twin: a bit for every eight bytes, maps for everything, no limits but time. */
class Oracle {
  private readonly seen = new Map<
    number,
    { bits: Set<number>; known: boolean; dead: boolean; total: number; end: number; held: number[] }
  >();

  receive(id: number, from: number, to: number, more: boolean): string {
    if (from === 0 && !more) return 'FOUND';
    let entry = this.seen.get(id);
    if (!entry) {
      entry = { bits: new Set(), known: false, dead: false, total: 0, end: 0, held: [] };
      this.seen.set(id, entry);
    }
    if (entry.dead) return 'OVERLAP';
    const units: number[] = [];
    for (let unit = from >> 3; unit < to / 8; unit++) units.push(unit);
    const known = units.filter((unit) => entry.bits.has(unit)).length;
    const total = entry.total;
    if (known === units.length && (total === 0 || to <= total)) return 'DUPLICATE';
    if (known > 0 || (total !== 0 && (to > total || (!more && to !== total))) || (!more && to < entry.end)) {
      entry.dead = true;
      return 'OVERLAP';
    }
    for (const unit of units) entry.bits.add(unit);
    if (!more) entry.total = to;
    entry.end = Math.max(entry.end, to);
    if (from === 0) entry.known = true;
    if (!entry.known) {
      entry.held.push(from);
      return 'HELD';
    }
    return 'FOUND';
  }

  /** What the first fragment of `id` released; a complete datagram is gone after it. */
  settle(id: number): number[] {
    const entry = this.seen.get(id);
    if (!entry?.known || entry.dead) return [];
    const held = entry.held.splice(0);
    if (entry.total !== 0 && entry.bits.size === Math.ceil(entry.total / 8)) this.seen.delete(id);
    return held;
  }
}

function randomPiece(random: Random): [from: number, to: number, more: boolean] {
  const from = random.below(4) === 0 ? 0 : random.below(20) * 8;
  const more = random.below(4) !== 0;
  const bytes = more ? (1 + random.below(4)) * 8 : 1 + random.below(32);
  return [from, from + bytes, more];
}

test('seeded random fragments agree with the slow twin, result by result', () => {
  const random = seededRandom(815);
  const counts: Record<string, number> = {};
  for (let run = 0; run < 300; run++) {
    const worker = new Worker(memory({ maxDatagrams: 64, heldBytes: 64 * 1024 }).table);
    const oracle = new Oracle();
    for (let i = 0; i < 150; i++) {
      const id = random.below(30);
      const [from, to, more] = randomPiece(random);
      const expected = oracle.receive(id, from, to, more);
      const got = worker.receive(id, from, to, more);
      assert.is(got, expected, `run ${run}, fragment ${i}: id ${id} [${from}, ${to}) ${more ? 'more' : 'last'}`);
      counts[got] = (counts[got] ?? 0) + 1;
      if (got === 'FOUND' && (from !== 0 || more)) assert.equal(worker.released(), oracle.settle(id));
    }
  }
  for (const name of ['FOUND', 'HELD', 'OVERLAP', 'DUPLICATE'])
    assert.ok((counts[name] ?? 0) > 1000, `${name}: ${counts[name]}`);
});

test('random sizes in a small ring, two workers: never a wrong byte, never out of bounds, never stuck', () => {
  const random = seededRandom(5391);
  const { buffer, table } = memory({ maxDatagrams: 32, heldBytes: 8 * 1024 });
  const workers = [new Worker(table, 0), new Worker(attachFragments(buffer) as FragmentTable, 1)];
  let released = 0;
  for (let i = 0; i < 100_000; i++) {
    const worker = workers[random.below(2)] as Worker;
    worker.nowMs = 1000 + i;
    const id = random.below(200);
    if (random.below(5) === 0) {
      worker.receive(id, 0, 8 * (1 + random.below(4)), true);
      released += worker.released().length;
    } else {
      const from = 32 + random.below(40) * 400;
      worker.receive(id, from, from + 8 * (1 + random.below(300)), random.below(10) !== 0);
    }
    assert.ok(worker.datagrams <= 32);
  }
  assert.ok(released > 500, `${released}`);
});

test.run();
