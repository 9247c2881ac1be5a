/** The fragment table: what passes, what is held, what drops a datagram. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { FragmentWord } from '../../../native-free-dataplane/fragments/slots.ts';
import {
  attachFragments,
  type FragmentTable,
  fragmentsBytes,
  releaseFragmentLock,
} from '../../../native-free-dataplane/fragments/table.ts';
import { memory, PIECES, Worker } from './fragment-worker.ts';

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length <= 1) return [[...items]];
  return items.flatMap((item, i) => permutations(items.filter((_, j) => j !== i)).map((rest) => [item, ...rest]));
}

test('four fragments in all 24 orders: all pass with their ports, and the table is empty afterwards', () => {
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

test('memory of another kind, or of a smaller size, is rejected', () => {
  assert.is(attachFragments(new ArrayBuffer(64)), undefined);
  assert.is(attachFragments(new ArrayBuffer(fragmentsBytes())), undefined);
  const { buffer } = memory();
  assert.is(attachFragments(buffer.slice(0, buffer.byteLength - 4096)), undefined);
});

test('RFC 5722 §4: overlap drops the datagram, including copies and later fragments', () => {
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

test('RFC 8200 §4.5: an exact duplicate, or a part of data already seen, is dropped alone', () => {
  const worker = new Worker(memory().table);
  assert.is(worker.receive(7, 0, 1480, true), 'FOUND');
  assert.is(worker.receive(7, 0, 1480, true), 'DUPLICATE');
  assert.is(worker.receive(7, 1480, 2960, true), 'FOUND');
  assert.is(worker.receive(7, 1480, 2960, true), 'DUPLICATE');
  assert.is(worker.receive(7, 1488, 1496, true), 'DUPLICATE');
  assert.is(worker.receive(7, 2960, 3000, false), 'FOUND');
});

test('two different ends, or bytes beyond the end, drop the datagram (linux ip_frag_queue)', () => {
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

test('malformed fragments: empty, not a multiple of eight in the middle, beyond 65535', () => {
  const worker = new Worker(memory().table);
  assert.is(worker.receive(7, 1480, 1480, true), 'MALFORMED');
  assert.is(worker.receive(7, 1480, 1487, true), 'MALFORMED');
  assert.is(worker.receive(7, 65528, 65536, true), 'TOO_LONG');
  assert.is(worker.receive(7, 65528, 65535, false), 'HELD');
  assert.is(worker.receive(7, 0, 0, true), 'MALFORMED');
});

test('RFC 6946: an atomic fragment is a whole datagram and matches no other', () => {
  const worker = new Worker(memory().table);
  assert.is(worker.receive(7, 1480, 2960, true), 'HELD');
  assert.is(worker.receive(7, 0, 100, false), 'FOUND');
  assert.equal(worker.released(), []);
  assert.is(worker.datagrams, 1);
});

test('after 30 s a datagram times out, and another may have its identification', () => {
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

test('the limit of ranges: 64 separate ones, any number that are adjacent', () => {
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

test('after a crash with the lock held the table is cleared, and works', () => {
  const { table } = memory({ maxDatagrams: 16, heldBytes: 16 * 1024 });
  const worker = new Worker(table, 3);
  for (let id = 0; id < 10; id++) worker.receive(id, 1480, 2960, true);
  releaseFragmentLock(table, 3);
  assert.is(worker.datagrams, 10, 'the worker did not hold the lock');
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

test.run();
