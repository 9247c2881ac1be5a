/** The spin lock: mutual exclusion between threads, and release of the locks of a dead thread. */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { lock, releaseAll, unlock } from '../../../native-free-dataplane/shared/spin-lock.ts';

const THREADS = 3;
const ROUNDS = 20_000;
const LOCK = 0;
const COUNTER = 1;
const STARTED = 2;

/** A thread: increments a plain word ROUNDS times, each time under the lock. */
function count(words: Int32Array, owner: number): void {
  Atomics.add(words, STARTED, 1);
  while (Atomics.load(words, STARTED) < THREADS);
  for (let i = 0; i < ROUNDS; i++) {
    lock(words, LOCK, owner);
    const before = words[COUNTER] as number;
    // Time for another thread to read the same value, if the lock did not exclude it.
    for (let spin = 0; spin < 20; spin++) Atomics.load(words, STARTED);
    words[COUNTER] = before + 1;
    unlock(words, LOCK);
  }
}

if (isMainThread) {
  test('a held lock has the number of its owner, plus 1; a free one is 0', () => {
    const words = new Int32Array(4);
    lock(words, 2, 5);
    assert.equal([...words], [0, 0, 6, 0]);
    unlock(words, 2);
    assert.equal([...words], [0, 0, 0, 0]);
  });

  test('threads that increment a word under the lock lose no increment', async () => {
    const memory = new SharedArrayBuffer(12);
    await Promise.all(
      Array.from({ length: THREADS }, (_, owner) => {
        const thread = new Worker(new URL(import.meta.url), { workerData: { memory, owner } });
        return new Promise<void>((resolve, reject) => {
          thread.once('message', resolve);
          thread.once('error', reject);
        });
      }),
    );
    const words = new Int32Array(memory);
    assert.is(words[COUNTER], THREADS * ROUNDS);
    assert.is(words[LOCK], 0);
  });

  test('releaseAll releases the locks of one owner within the range, and no others', () => {
    const words = Int32Array.of(3, 3, 0, 4, 3, 3);
    releaseAll(words, 1, 5, 2);
    assert.equal([...words], [3, 0, 0, 4, 0, 3]);
  });

  test('a lock that releaseAll has released can be acquired by another owner', () => {
    const words = new Int32Array(1);
    lock(words, 0, 0);
    releaseAll(words, 0, 1, 0);
    lock(words, 0, 1);
    assert.is(words[0], 2);
  });

  test.run();
} else {
  const { memory, owner } = workerData as { memory: SharedArrayBuffer; owner: number };
  count(new Int32Array(memory), owner);
  parentPort?.postMessage('done');
}
