/** The workers' clock: right, and free of cost to the heap. */
import { getHeapStatistics } from 'node:v8';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { microseconds, microsecondsSince, monotonicMs } from '../../../src/linux/clock.ts';
import { Epoll } from '../../../src/linux/epoll.ts';

const CALLS = 20_000;
const WARM_UP_ROUNDS = 30;
const ROUNDS = 7;

/** Bytes on the heap for each call of `loop`, which calls CALLS times; the least of several rounds, since others allocate too. */
function bytesPerCall(loop: () => void): number {
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < WARM_UP_ROUNDS + ROUNDS; round++) {
    const before = getHeapStatistics().used_heap_size;
    loop();
    const grown = getHeapStatistics().used_heap_size - before;
    // Less than before: a collection came between.
    if (round >= WARM_UP_ROUNDS && grown >= 0) least = Math.min(least, grown / CALLS);
  }
  return least;
}

test('it counts milliseconds of the machine’s monotonic clock, as every process does', () => {
  const [seconds, nanoseconds] = process.hrtime();
  const now = monotonicMs();
  assert.ok(Number.isInteger(now));
  assert.ok(Math.abs(now - (seconds * 1000 + nanoseconds / 1e6)) < 50, `${now} to ${seconds} s`);
});

test('it measures short spans in microseconds, across the wrap', async () => {
  const start = microseconds();
  await new Promise((resolve) => setTimeout(resolve, 20));
  const passed = microsecondsSince(start);
  assert.ok(passed >= 19_000 && passed < 2_000_000, `${passed}`);
  // Began 5 ms before the counter's last start, wherever that is now: 5 ms and what it shows.
  const before = 1024e6 - 5000;
  assert.ok(Math.abs(microsecondsSince(before) - (microseconds() + 5000)) < 100_000);
});

test('reading the time and polling allocate nothing on the heap', () => {
  const epoll = new Epoll(4);
  let sum = 0;
  const waiting = bytesPerCall(() => {
    for (let call = 0; call < CALLS; call++) {
      const start = microseconds();
      sum += epoll.wait(0);
      sum += microsecondsSince(start) & 1;
    }
  });
  const asking = bytesPerCall(() => {
    for (let call = 0; call < CALLS; call++) sum += monotonicMs() & 1;
  });
  epoll.close();
  assert.ok(sum >= 0);
  assert.ok(waiting < 1, `${waiting} bytes for each wait`);
  assert.ok(asking < 1, `${asking} bytes for each reading of the clock`);
});

test.run();
