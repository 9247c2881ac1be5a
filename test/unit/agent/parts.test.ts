/** The parts of an agent: started in order, closed in the reverse order, nothing left running after a failure. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Part, Parts } from '../../../src/agent/parts.ts';

/** Parts that record when they are started and closed. */
function recorder() {
  const events: string[] = [];
  const part = (name: string, failing: 'start' | 'close' | '' = ''): Part => ({
    start: async () => {
      await Promise.resolve();
      if (failing === 'start') throw new Error(`${name} cannot start`);
      events.push(`start ${name}`);
    },
    close: async () => {
      await Promise.resolve();
      events.push(`close ${name}`);
      if (failing === 'close') throw new Error(`${name} cannot close`);
    },
  });
  return { events, part };
}

const unexpected = (line: string): never => assert.unreachable(line) as never;

test('parts start one after the other and close in the reverse order', async () => {
  const { events, part } = recorder();
  const parts = await Parts.open(async (all) => {
    for (const name of ['tables', 'dp0', 'workers']) await all.start(name, part(name));
  }, unexpected);
  assert.equal(parts.names, ['tables', 'dp0', 'workers']);
  await parts.close();
  assert.equal(events, ['start tables', 'start dp0', 'start workers', 'close workers', 'close dp0', 'close tables']);
  await parts.close();
  assert.is(events.length, 6, 'a second close does nothing');
});

test('a part that fails to start is closed, and so is everything before it', async () => {
  const { events, part } = recorder();
  const opening = Parts.open(async (all) => {
    await all.start('tables', part('tables'));
    await all.start('dp0', part('dp0', 'start'));
    await all.start('workers', part('workers'));
  }, unexpected);
  assert.match(await failure(opening), 'dp0 cannot start');
  assert.equal(events, ['start tables', 'close dp0', 'close tables']);
});

test('a step between two parts that fails closes the parts before it', async () => {
  const { events, part } = recorder();
  const opening = Parts.open(async (all) => {
    await all.start('tables', part('tables'));
    throw new Error('the API refuses');
  }, unexpected);
  assert.match(await failure(opening), 'the API refuses');
  assert.equal(events, ['start tables', 'close tables']);
});

test('if a part cannot be closed, the others still are', async () => {
  const { events, part } = recorder();
  const parts = await Parts.open(async (all) => {
    for (const name of ['tables', 'dp0', 'workers']) await all.start(name, part(name, name === 'dp0' ? 'close' : ''));
  }, unexpected);
  assert.match(await failure(parts.close()), 'dp0: dp0 cannot close');
  assert.equal(events.slice(3), ['close workers', 'close dp0', 'close tables']);
});

test('after a failed start the reason is thrown and what cannot be closed is logged', async () => {
  const { part } = recorder();
  const lines: string[] = [];
  const opening = Parts.open(
    async (all) => {
      await all.start('tables', part('tables', 'close'));
      await all.start('dp0', part('dp0', 'start'));
    },
    (line) => lines.push(line),
  );
  assert.match(await failure(opening), 'dp0 cannot start');
  assert.equal(lines, ['tables: tables cannot close']);
});

async function failure(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    return (error as Error).message;
  }
  return assert.unreachable('it should have failed') as never;
}

test.run();
