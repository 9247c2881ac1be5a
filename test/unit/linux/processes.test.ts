/** A process counts as gone only if the kernel reports so, not if /proc cannot be read. */
import { execFileSync, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { findProcess, isAlive, signalProcess } from '../../../src/linux/processes.ts';
import { ROOT } from '../../lib/cluster.ts';
import { testUnless, whyNoRoot } from '../../lib/test-unless.ts';

const MODULE = join(ROOT, 'dist/src/linux/processes.js');

test('a process that has ended is gone; a reused pid is another process', () => {
  const pid = Number(execFileSync('sh', ['-c', 'echo $$'], { encoding: 'utf8' }));
  assert.is(findProcess(pid), undefined);
  const own = findProcess(process.pid)!;
  assert.ok(isAlive(own));
  assert.not.ok(isAlive({ ...own, startTime: '1' }));
  assert.not.ok(signalProcess({ ...own, startTime: '1' }, 'SIGKILL'));
});

test('out of descriptors, a process is neither gone nor signalled', () => {
  // In a process of its own: it uses up all its descriptors. The child it watches is its own.
  const script = `
    import { spawn } from 'node:child_process';
    import { openSync, closeSync } from 'node:fs';
    const { findProcess, isAlive, signalProcess } = await import(process.argv[1]);
    const child = spawn('sleep', ['30']);
    const mark = findProcess(child.pid);
    const fds = [];
    try { for (;;) fds.push(openSync('/dev/null')); } catch {}
    const alive = isAlive(mark);
    let thrown = '';
    try { findProcess(child.pid); } catch (error) { thrown = error.code; }
    const sent = signalProcess(mark, 'SIGTERM');
    for (const fd of fds) closeSync(fd);
    signalProcess(mark, 'SIGKILL');
    console.log(JSON.stringify({ alive, thrown, sent }));
  `;
  const words = ['-c', 'ulimit -n 64; exec "$0" --input-type=module -e "$1" "$2"', process.execPath, script, MODULE];
  const { stdout, stderr } = spawnSync('sh', words, { encoding: 'utf8' });
  assert.equal(JSON.parse(stdout || `"${stderr}"`), { alive: true, thrown: 'EMFILE', sent: false });
});

testUnless(whyNoRoot())(
  'a process with capabilities that this one lacks is not shown, and does not count as one of a pod',
  () => {
    const script = `
      import { readlinkSync } from 'node:fs';
      const { namespaceOf } = await import(process.argv[1]);
      let refused = '';
      try { readlinkSync('/proc/' + process.ppid + '/ns/net'); } catch (error) { refused = error.code; }
      console.log(refused, namespaceOf(process.ppid, 'net'), namespaceOf('self', 'net'));
    `;
    const less = [
      '--bounding-set',
      '-net_raw,-sys_ptrace',
      '--',
      process.execPath,
      '--input-type=module',
      '-e',
      script,
    ];
    const { stdout, stderr } = spawnSync('setpriv', [...less, MODULE], { encoding: 'utf8' });
    assert.match(stdout || stderr, /^EACCES undefined net:\[\d+\]\n$/);
  },
);

test.run();
