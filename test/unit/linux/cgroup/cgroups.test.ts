/** The files that are written, in a directory in place of the kernel's; test/e2e/runtime-resources has the real ones. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Cgroups, sharesOf } from '../../../../src/linux/cgroup/cgroups.ts';

const base = mkdtempSync(join(tmpdir(), 'dp-cgroups-'));
test.after(() => rmSync(base, { recursive: true }));

const roots = { memory: base, cpu: base, cpuacct: base, pids: base };
const groups = new Cgroups({ version: 2, roots, others: [] });
const read = (path: string) => readFileSync(join(base, path), 'utf8');

test('version 2: limits, weight, and controllers passed on from the root to the group’s parent', () => {
  const path = 'dataplane/run/pod/c-1';
  mkdirSync(join(base, path), { recursive: true });
  for (const name of ['memory.swap.max', 'memory.oom.group']) writeFileSync(join(base, path, name), '');
  groups.make(path, { memoryBytes: 64 * 2 ** 20, cpuMillis: 500, cpuShares: 256, processes: 100, endsAsOne: true });
  assert.is(read(`${path}/memory.max`), '67108864');
  assert.is(read(`${path}/memory.swap.max`), '0');
  assert.is(read(`${path}/memory.oom.group`), '1');
  assert.is(read(`${path}/cpu.max`), '50000 100000');
  assert.is(read(`${path}/cpu.weight`), '10');
  assert.is(read(`${path}/pids.max`), '100');
  for (const above of ['', 'dataplane/', 'dataplane/run/', 'dataplane/run/pod/']) {
    assert.is(read(`${above}cgroup.subtree_control`), '+cpu +memory +pids');
  }
  assert.not.ok(existsSync(join(base, path, 'cgroup.subtree_control')), 'a group with processes passes nothing on');
});

test('version 2: usage is the working set and the processor time; kills for want of memory are counted', () => {
  const path = 'dataplane/run/pod/d-1';
  mkdirSync(join(base, path));
  assert.is(groups.usage(path), undefined);
  assert.is(groups.oomKills(path), 0);
  writeFileSync(join(base, path, 'memory.current'), '1000000\n');
  writeFileSync(join(base, path, 'memory.stat'), 'anon 500000\ninactive_file 300000\nactive_file 100000\n');
  writeFileSync(join(base, path, 'cpu.stat'), 'usage_usec 2500000\nuser_usec 2000000\n');
  writeFileSync(join(base, path, 'memory.events'), 'low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 1\n');
  assert.equal(groups.usage(path), { cpuSeconds: 2.5, memoryBytes: 700_000 });
  assert.is(groups.oomKills(path), 2);
});

test('shares of version 1 are those of kubelet', () => {
  assert.equal([0, 1, 100, 1000, 300_000].map(sharesOf), [2, 2, 102, 1024, 262_144]);
});

test('what cannot be written is named', () => {
  const path = 'dataplane/run/pod/e-1';
  mkdirSync(join(base, path, 'memory.max'), { recursive: true });
  assert.throws(() => groups.make(path, { memoryBytes: 1 }), `${join(base, path)}/memory.max: EISDIR`);
});

test.run();
