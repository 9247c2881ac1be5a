import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Epoll } from '../../../src/linux/epoll.ts';
import { Patience } from '../../../src/worker/patience.ts';

const test = suite('patience');

/** An epoll whose frames come by plan: `wait(0)` finds what `looks` says in turn, a sleep ends at once with a frame. */
class Scripted {
  looks = 0;
  sleeps = 0;
  private readonly found: (look: number) => number;

  constructor(found: (look: number) => number) {
    this.found = found;
  }

  wait(timeoutMs: number): number {
    if (timeoutMs !== 0) {
      this.sleeps++;
      return 1;
    }
    return this.found(this.looks++);
  }

  get epoll(): Epoll {
    return this as unknown as Epoll;
  }
}

test('an idle worker looks once and sleeps', () => {
  const script = new Scripted(() => 0);
  const patience = new Patience();
  assert.is(patience.look(script.epoll), 0);
  assert.is(script.looks, 1);
  assert.ok(patience.waited);
});

test('after a sleep too short to have been worth it, it goes on looking and meets the frame awake', () => {
  const script = new Scripted((look) => (look === 1 ? 1 : 0));
  const patience = new Patience();
  patience.sleep(script.epoll, 1000);
  assert.is(patience.look(script.epoll), 1);
  assert.is(script.looks, 2);
});

test('looking in vain is given up: no more than one look in five may be for nothing', () => {
  const script = new Scripted(() => 0);
  const patience = new Patience();
  let long = 0;
  for (let round = 0; round < 200; round++) {
    const before = script.looks;
    patience.look(script.epoll);
    if (script.looks > before + 1) long++;
    patience.sleep(script.epoll, 1000);
  }
  assert.ok(long > 0 && long <= 200 / 4, `${long} of 200 looks went on`);
});

test('a frame that was there at the first look was not waited for', () => {
  const patience = new Patience();
  assert.is(patience.look(new Scripted(() => 3).epoll), 3);
  assert.not(patience.waited);
});

test.run();
