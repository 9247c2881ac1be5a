/** Signs of life: when a process counts as hung, and when it does not. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { giveLifeSigns, LifeWatch } from '../../../src/linux/life-signs.ts';

const directory = mkdtempSync(join(tmpdir(), 'dataplane-signs-'));
const path = join(directory, 'alive');

/** The result of the last of so many looks in a row. */
function lookOften(watch: LifeWatch, looks: number): string | undefined {
  let why: string | undefined;
  for (let i = 0; i < looks; i++) why = watch.look();
  return why;
}

test('a process that has given no sign yet does not hang, however long it takes to start', () => {
  assert.is(lookOften(new LifeWatch(process.pid, path), 1000), undefined);
});

test('a process hangs after fifteen seconds of looks without a new sign, and no longer once it gives one', () => {
  const watch = new LifeWatch(process.pid, path);
  writeFileSync(path, '7\n');
  assert.is(lookOften(watch, 300), undefined);
  assert.is(watch.look(), 'no longer responds');
  writeFileSync(path, '8\n');
  assert.is(lookOften(watch, 5), undefined);
});

test('a process stopped by SIGSTOP hangs at the second look, and not once it continues', async () => {
  const child = spawn('sleep', ['60'], { stdio: 'ignore' });
  const watch = new LifeWatch(child.pid!, join(directory, 'none'));
  assert.is(watch.look(), undefined);
  child.kill('SIGSTOP');
  await sleep(100);
  assert.is(watch.look(), undefined);
  assert.is(watch.look(), 'is stopped');
  child.kill('SIGCONT');
  await sleep(100);
  assert.is(watch.look(), undefined);
  child.kill('SIGKILL');
});

test('signs grow, replace those of an earlier process, and end with their file', async () => {
  writeFileSync(path, '999\n');
  const end = giveLifeSigns(path);
  const first = readFileSync(path, 'utf8');
  assert.is(first, '1\n');
  await sleep(2500);
  assert.is.not(readFileSync(path, 'utf8'), first);
  end();
  assert.not(existsSync(path));
});

test.after(() => rmSync(directory, { recursive: true, force: true }));

test.run();
