import { spawn } from 'node:child_process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { pidNamespaceOf, usageOf, usageOfProcess } from '../../../src/linux/process-usage.ts';

test('the time and memory of a process grow with what it does', () => {
  const before = usageOfProcess('self')!;
  const held: number[][] = [];
  const startedAt = process.cpuUsage();
  const spent = () => (({ user, system }) => user + system)(process.cpuUsage(startedAt));
  while (spent() < 150_000) held.push(Array.from({ length: 1000 }, (_, i) => i));
  const after = usageOfProcess('self')!;
  assert.ok(after.cpuSeconds - before.cpuSeconds >= 0.08, `${after.cpuSeconds - before.cpuSeconds} s`);
  assert.ok(after.memoryBytes > 10_000_000, `${after.memoryBytes} bytes`);
  assert.ok(held.length > 0);
});

test('processes are added up by their PID namespace; of one that has ended nothing is known', async () => {
  const own = pidNamespaceOf('self')!;
  const child = spawn('sleep', ['60']);
  await new Promise((resolve) => child.once('spawn', resolve));
  assert.is(pidNamespaceOf(child.pid!), own);
  const sum = usageOf(new Set([own])).get(own)!;
  assert.ok(sum.memoryBytes >= usageOfProcess('self')!.memoryBytes / 2);
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
  assert.is(usageOfProcess(String(child.pid)), undefined);
  assert.is(usageOf(new Set(['pid:[1]'])).size, 0);
});

test.run();
