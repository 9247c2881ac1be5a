/** The guarantees of work-queue.ts, one by one, with a fake clock. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type QueueClock, WorkQueue, WorkSlice } from '../../../src/controllers/work-queue.ts';

/** Time stands still until `advance`; `turn` runs the callbacks of setImmediate. */
class FakeClock implements QueueClock {
  private ms = 0;
  private timers: { dueMs: number; work: () => void }[] = [];
  private soon: (() => void)[] = [];

  now = () => this.ms;
  setTimeout = (work: () => void, delayMs: number) => {
    const timer = { dueMs: this.ms + delayMs, work, unref: () => {} };
    this.timers.push(timer);
    return timer;
  };
  clearTimeout = (timer: unknown) => {
    this.timers = this.timers.filter((each) => each !== timer);
  };
  setImmediate = (work: () => void) => {
    this.soon.push(work);
  };

  turn(): void {
    while (this.soon.length > 0) this.soon.shift()!();
  }

  /** One turn of the event loop: callbacks that are added meanwhile belong to the next. */
  oneTurn(): void {
    for (const work of this.soon.splice(0)) work();
  }

  advance(ms: number): void {
    const end = this.ms + ms;
    for (;;) {
      this.turn();
      const next = this.timers.filter(({ dueMs }) => dueMs <= end).sort((a, b) => a.dueMs - b.dueMs)[0];
      if (next === undefined) break;
      this.ms = next.dueMs;
      this.clearTimeout(next);
      next.work();
    }
    this.ms = end;
    this.turn();
  }

  get pending(): number {
    return this.timers.length;
  }

  spend(ms: number): void {
    this.ms += ms;
  }
}

function setUp(work: (key: string) => void = () => {}) {
  const clock = new FakeClock();
  const seen: string[] = [];
  const errors: string[] = [];
  const queue = new WorkQueue(
    (key) => {
      seen.push(key);
      work(key);
    },
    (key, error) => errors.push(`${key}: ${error.message}`),
    new WorkSlice(clock),
  );
  return { clock, queue, seen, errors };
}

test('a key added several times before it is processed is processed once, in the order of the first', () => {
  const { clock, queue, seen } = setUp();
  for (const key of ['a', 'b', 'a', 'a', 'c', 'b']) queue.add(key);
  assert.equal(seen, [], 'not synchronously');
  clock.turn();
  assert.equal(seen, ['a', 'b', 'c']);
  clock.turn();
  assert.is(seen.length, 3);
});

test('a key added while it is processed is processed again', () => {
  let more = 2;
  const { clock, queue, seen } = setUp((key) => {
    if (more-- > 0) queue.add(key);
  });
  queue.add('a');
  clock.turn();
  assert.equal(seen, ['a', 'a', 'a']);
});

test('a key whose work throws is retried with growing delays, which a success resets', () => {
  let broken = true;
  const { clock, queue, seen, errors } = setUp(() => {
    if (broken) throw new Error('no');
  });
  queue.add('a');
  clock.turn();
  const at = (ms: number) => {
    clock.advance(ms);
    return seen.length;
  };
  assert.equal([at(19), at(1), at(39), at(1), at(79), at(1)], [1, 2, 2, 3, 3, 4]);
  assert.equal(errors, Array(4).fill('a: no'));
  clock.advance(60_000);
  const before = seen.length;
  clock.advance(50_000);
  assert.is(seen.length - before, 10, 'the delay is at most five seconds');
  broken = false;
  clock.advance(5000);
  assert.is(clock.pending, 0);
  broken = true;
  queue.add('a');
  clock.turn();
  const failed = seen.length;
  clock.advance(20);
  assert.is(seen.length, failed + 1);
});

test('a failing key does not delay others', () => {
  const { clock, queue, seen } = setUp((key) => {
    if (key === 'bad') throw new Error('no');
  });
  queue.add('bad');
  queue.add('good');
  clock.turn();
  assert.equal(seen, ['bad', 'good']);
});

test('of several delays for one key the one that ends first counts, and the key is processed once', () => {
  const { clock, queue, seen } = setUp();
  queue.addAfter('a', 1000);
  queue.addAfter('a', 200);
  queue.addAfter('a', 500);
  clock.advance(199);
  assert.equal(seen, []);
  clock.advance(1);
  assert.equal(seen, ['a']);
  clock.advance(5000);
  assert.equal(seen, ['a']);
});

test('a long queue yields to the event loop every few milliseconds', () => {
  const { clock, queue, seen } = setUp(() => clock.spend(3));
  for (let i = 0; i < 10; i++) queue.add(String(i));
  let turns = 0;
  const soon: (() => void)[] = [];
  clock.setImmediate = (work) => {
    turns++;
    soon.push(work);
  };
  clock.turn();
  while (soon.length > 0) soon.shift()!();
  assert.is(seen.length, 10);
  assert.ok(turns >= 3, `${turns} turns`);
});

test('queues that share a slice take no more of a turn together than one of them alone, and none of them starves', () => {
  const clock = new FakeClock();
  const slice = new WorkSlice(clock);
  const seen: string[] = [];
  const queueOf = (name: string) =>
    new WorkQueue(
      (key) => {
        seen.push(name + key);
        clock.spend(3);
      },
      () => {},
      slice,
    );
  const queues = ['a', 'b', 'c'].map(queueOf);
  for (const queue of queues) for (let i = 0; i < 6; i++) queue.add(String(i));
  clock.oneTurn();
  assert.equal(seen.splice(0), ['a0', 'a1', 'a2', 'b0', 'c0']);
  clock.oneTurn();
  assert.equal(seen.splice(0), ['a3', 'a4', 'a5', 'b1', 'c1']);
  clock.oneTurn();
  assert.equal(seen.splice(0), ['b2', 'b3', 'b4', 'c2']);
  clock.turn();
  assert.equal(seen, ['b5', 'c3', 'c4', 'c5']);
});

test('after close no key is processed, and no timer is left', () => {
  const { clock, queue, seen } = setUp();
  queue.add('a');
  queue.addAfter('b', 10);
  queue.close();
  queue.add('c');
  queue.addAfter('d', 10);
  clock.advance(1000);
  assert.equal(seen, []);
  assert.is(clock.pending, 0);
});

test.run();
