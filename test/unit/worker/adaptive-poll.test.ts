import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Epoll } from '../../../src/linux/epoll.ts';
import { AdaptivePoll } from '../../../src/worker/adaptive-poll.ts';

const test = suite('adaptive poll');

/** A scripted epoll: the n-th `wait(0)` returns `found(n)`, a wait with a timeout returns at once with a frame. */
class Scripted {
  checks = 0;
  sleeps = 0;
  private readonly found: (check: number) => number;

  constructor(found: (check: number) => number) {
    this.found = found;
  }

  wait(timeoutMs: number): number {
    if (timeoutMs !== 0) {
      this.sleeps++;
      return 1;
    }
    return this.found(this.checks++);
  }

  get epoll(): Epoll {
    return this as unknown as Epoll;
  }
}

test('an idle worker checks once and sleeps', () => {
  const script = new Scripted(() => 0);
  const poll = new AdaptivePoll();
  assert.is(poll.poll(script.epoll), 0);
  assert.is(script.checks, 1);
  assert.ok(poll.waited);
});

test('after a very short sleep the worker polls, and receives the next frame without sleeping', () => {
  // The scheduler may let this process sleep longer than requested. One undisturbed attempt is enough.
  const attempt = (): number => {
    const script = new Scripted((check) => (check === 1 ? 1 : 0));
    const poll = new AdaptivePoll();
    poll.sleep(script.epoll, 1000);
    const ready = poll.poll(script.epoll);
    return ready === 1 && script.checks === 2 ? 1 : 0;
  };
  assert.ok(Array.from({ length: 20 }, attempt).includes(1));
});

test('polling stops when it finds nothing: at most one poll in four rounds is wasted', () => {
  const script = new Scripted(() => 0);
  const poll = new AdaptivePoll();
  let long = 0;
  for (let round = 0; round < 200; round++) {
    const before = script.checks;
    poll.poll(script.epoll);
    if (script.checks > before + 1) long++;
    poll.sleep(script.epoll, 1000);
  }
  assert.ok(long > 0 && long <= 200 / 4, `${long} of 200 rounds polled`);
});

test('a frame that is ready at the first check does not count as waited for', () => {
  const poll = new AdaptivePoll();
  assert.is(poll.poll(new Scripted(() => 3).epoll), 3);
  assert.not(poll.waited);
});

test.run();
