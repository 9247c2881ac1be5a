import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { isLocked, takeLock } from '../../../src/linux/lock-file.ts';
import { ROOT } from '../../lib/cluster.ts';

const directory = mkdtempSync(join(tmpdir(), 'lock-'));
test.after(() => rmSync(directory, { recursive: true }));

test('a lock has one holder, who is named; after release it is free', () => {
  const path = join(directory, 'a');
  const first = takeLock(path);
  assert.type(first, 'object');
  assert.is(takeLock(path), String(process.pid));
  assert.ok(isLocked(path));
  if (typeof first === 'object') first.release();
  assert.not(isLocked(path));
  assert.not(isLocked(join(directory, 'absent')));
  const second = takeLock(path);
  assert.type(second, 'object');
  if (typeof second === 'object') second.release();
});

test('the death of its holder releases a lock, even by SIGKILL, and a child of the holder does not keep it', async () => {
  const path = join(directory, 'b');
  const script = `
    const { takeLock } = await import(process.argv[1]);
    const { spawn } = await import('node:child_process');
    takeLock(process.argv[2]);
    const child = spawn('sleep', ['20'], { detached: true, stdio: 'ignore' });
    console.log(child.pid);
    setInterval(() => {}, 1000);
  `;
  const module = join(ROOT, 'dist/src/linux/lock-file.js');
  const holder = spawn(process.execPath, ['--input-type=module', '-e', script, module, path]);
  const [line] = (await once(holder.stdout, 'data')) as [Buffer];
  const child = Number(line.toString());
  try {
    assert.is(takeLock(path), String(holder.pid));
    holder.kill('SIGKILL');
    await once(holder, 'exit');
    const lock = takeLock(path);
    assert.type(lock, 'object');
    if (typeof lock === 'object') lock.release();
  } finally {
    process.kill(child, 'SIGKILL');
  }
});

test.run();
