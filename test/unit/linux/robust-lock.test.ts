/** The end of another process, noticed by a robust lock and by the state of its threads. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { isBeingKilled } from '../../../src/linux/processes.ts';
import { DeathWatch, LOCK_BYTES } from '../../../src/linux/robust-lock.ts';
import { openShared } from '../../../src/linux/shm.ts';
import { unlinkShared } from '../../../src/linux/shm-files.ts';
import { ROOT } from '../../lib/cluster.ts';

const name = `test-robust-lock-${process.pid}`;
const memory = openShared(name, { bytes: LOCK_BYTES, create: true });
test.after(() => unlinkShared(name));

/** Holds the lock, wakes the watch again and again from its first line of input on, and has a second thread that never ends. */
const HOLDER = `
  import { holdForLife, wakeWatch } from '${join(ROOT, 'dist/src/linux/robust-lock.js')}';
  import { openShared } from '${join(ROOT, 'dist/src/linux/shm.js')}';
  import { Worker } from 'node:worker_threads';
  const { address } = openShared('${name}');
  holdForLife(address);
  new Worker('for (;;);', { eval: true }).once('online', () => console.log('held'));
  process.stdin.once('data', () => setInterval(() => wakeWatch(address), 5));
`;

test('the watch returns when it is woken, after its time, and at once when the holder is killed', async () => {
  const holder = spawn(process.execPath, ['--input-type=module', '-e', HOLDER], { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(holder.stdout, 'data');
  const watch = new DeathWatch(new Int32Array(memory.buffer), memory.address, 20);
  assert.not(watch.wait());
  assert.not(isBeingKilled(holder.pid!));
  const long = new DeathWatch(new Int32Array(memory.buffer), memory.address, 20_000);
  const begin = performance.now();
  holder.stdin.write('wake\n');
  assert.not(long.wait());
  holder.kill('SIGKILL');
  while (!long.wait());
  while (!isBeingKilled(holder.pid!));
  assert.ok(performance.now() - begin < 10_000);
  assert.ok(long.wait(), 'it stays so');
  await once(holder, 'exit');
  assert.ok(isBeingKilled(holder.pid!), 'a process that is gone');
});

test.run();
