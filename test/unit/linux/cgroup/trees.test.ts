import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { findCgroupTrees } from '../../../../src/linux/cgroup/trees.ts';

const base = mkdtempSync(join(tmpdir(), 'dp-cgroup trees-'));
test.after(() => rmSync(base, { recursive: true }));

const escaped = (path: string) => path.replaceAll(' ', '\\040');
const v2 = (path: string, mode = 'rw') =>
  `30 24 0:26 / ${escaped(path)} ${mode},nosuid - cgroup2 cgroup2 rw,nsdelegate`;
const v1 = (path: string, controllers: string, mode = 'rw') =>
  `31 24 0:27 / ${escaped(path)} ${mode},nosuid - cgroup cgroup rw,${controllers}`;

function tree(name: string, controllers?: string): string {
  const path = join(base, name);
  mkdirSync(path);
  if (controllers !== undefined) writeFileSync(join(path, 'cgroup.controllers'), `${controllers}\n`);
  return path;
}

const unified = tree('unified', 'cpuset cpu io memory hugetlb pids');
const partial = tree('partial', 'hugetlb');
const [memory, cpu, pids] = ['memory', 'cpu,cpuacct', 'pids'].map((name) => tree(name)) as [string, string, string];
const old = [v1(memory, 'memory'), v1(cpu, 'cpu,cpuacct'), v1(pids, 'pids')];

test('a tree of version 2 that has the controllers is used', () => {
  const roots = { memory: unified, cpu: unified, cpuacct: unified, pids: unified };
  assert.equal(findCgroupTrees(`22 1 0:5 / / rw - ext4 /dev/vda rw\n${v2(unified)}\n`), {
    version: 2,
    roots,
    others: [],
  });
});

test('controllers that are mounted with version 1 are used there, also beside a tree of version 2 without them', () => {
  const roots = { memory, cpu, cpuacct: cpu, pids };
  assert.equal(findCgroupTrees([v2(partial), ...old].join('\n')), { version: 1, roots, others: [partial] });
});

test('where there are none, the reason names what was found', () => {
  assert.is(findCgroupTrees(''), 'no cgroup file system with cpu, memory and pids is mounted');
  assert.is(findCgroupTrees(v2(unified, 'ro')), `cgroup v2 at ${unified} is read-only`);
  assert.is(findCgroupTrees(v2(partial)), `cgroup v2 at ${partial} lacks cpu, memory, pids`);
  assert.is(
    findCgroupTrees([v1(memory, 'memory', 'ro'), ...old.slice(1)].join('\n')),
    `cgroup v1 at ${memory} is read-only`,
  );
});

test.run();
