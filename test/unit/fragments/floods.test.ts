/** Floods of fragments, and random ones compared with a simple reference implementation of the table. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { FragmentWord } from '../../../native-free-dataplane/fragments/slots.ts';
import { attachFragments, type FragmentTable } from '../../../native-free-dataplane/fragments/table.ts';
import { type Random, seededRandom } from '../../lib/seeded-random.ts';
import { memory, PIECES, Worker } from './fragment-worker.ts';

test('a flood of first fragments evicts the oldest incomplete datagrams, and nothing else', () => {
  const worker = new Worker(memory({ maxDatagrams: 64 }).table);
  for (let id = 0; id < 10_000; id++) {
    assert.is(worker.receive(id & 0xffff, 0, 1480, true, 66), 'FOUND');
    if (id % 7 !== 0) continue;
    // A client in the middle of it, its fragments at most 20 frames of the flood apart.
    for (const [from, to, more] of PIECES) assert.is(worker.receive(id, from, to, more), 'FOUND');
  }
  assert.is(worker.datagrams, 64);
});

test("a flood of lone later fragments: a client's copies survive up to the documented limit", () => {
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

/** The reference implementation: a bit per eight bytes, maps for everything, no limits except time. */
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

  /** Copies released by the first fragment of `id`; a complete datagram is removed afterwards. */
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

test('seeded random fragments give the same results as a simple reference implementation', () => {
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

test('random sizes in a small ring, two workers: bytes are right, in bounds, and it never blocks', () => {
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
