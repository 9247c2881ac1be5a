/**
 * Requests and limits of containers by the control groups of this machine, whichever version it has; and what happens on
 * a machine without.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import type { Container } from '../../src/api/types/objects.ts';
import { type CgroupTrees, findCgroupTrees } from '../../src/linux/cgroup/trees.ts';
import { loadImages } from '../../src/runtime/image/load/load.ts';
import { ImageStore } from '../../src/runtime/image/store/store.ts';
import { PodGroups } from '../../src/runtime/pod/groups.ts';
import { dockerArchive, hostPrograms, tar } from '../lib/images/make-image.ts';
import { testUnless } from '../lib/test-unless.ts';
import { attempt, NAMESPACE, type RuntimeFixture, until } from './runtime-fixture.ts';
import { runtimeSuite } from './runtime-suite.ts';

const { test, left } = runtimeSuite('runtime: resources', import.meta.url);

const work = mkdtempSync('/run/dp-resources-');
process.env.DATAPLANE_IMAGES = join(work, 'store');
const trees = findCgroupTrees();
const limited = testUnless(typeof trees === 'string' ? trees : undefined, test);
const { version, roots } = (typeof trees === 'string' ? {} : trees) as CgroupTrees;

/** The value of a file of a group. */
const value = (controller: keyof CgroupTrees['roots'], group: string, v1: string, v2 = v1): string =>
  readFileSync(join(roots[controller], group, version === 1 ? v1 : v2), 'utf8').trim();

const groupOf = (runtime: RuntimeFixture, pod: string, container: string): string =>
  JSON.parse(readFileSync(`${runtime.stateDir}/pods/${NAMESPACE}_${pod}/state.json`, 'utf8')).containers[container]
    .group;

const container = (script: string, resources: Container['resources'], more: Partial<Container> = {}): Container => ({
  name: 'c',
  image: 'process',
  command: ['sh', '-c', script],
  ...(resources && { resources }),
  ...more,
});

/** Holds 64 MiB of memory: tail(1) keeps the last line, which never ends. */
const GREEDY = 'head -c 64m /dev/zero | tail > /dev/null';

limited(
  'a container that uses more memory than its limit is killed: OOMKilled, 137, restarted',
  async ({ runtime }) => {
    runtime.pod('greedy', { containers: [container(`sh -c '${GREEDY}'; exit $?`, { limits: { memory: '32Mi' } })] });
    const { lastState, restartCount } = await until('a restart', () => {
      const status = runtime.container('greedy', 'c');
      return status !== undefined && status.restartCount > 0 && status;
    });
    assert.is(lastState?.terminated?.reason, 'OOMKilled');
    assert.is(lastState?.terminated?.exitCode, 137);
    assert.ok(restartCount > 0);
    assert.ok(
      runtime.events.includes(
        'greedy OOMKilled: Container c has reached its memory limit of 32Mi: the kernel killed a process of it',
      ),
      runtime.events.join('\n'),
    );
  },
);

limited('a neighbour of the greedy container keeps running, in the same pod too', async ({ runtime }) => {
  runtime.pod('pair', {
    restartPolicy: 'Never',
    containers: [
      container(`sh -c "${GREEDY}"; exit $?`, { limits: { memory: '32Mi' } }),
      { ...container('exec sleep 1000', { limits: { memory: '32Mi' } }), name: 'calm' },
    ],
  });
  const ended = await until('the end', () => runtime.container('pair', 'c')?.state?.terminated);
  assert.is(ended.reason, 'OOMKilled');
  assert.ok(runtime.container('pair', 'calm')?.state?.running);
  assert.is(runtime.container('pair', 'calm')?.restartCount, 0);
});

limited('the same for an image, whose launcher does not count', async ({ runtime }) => {
  const programs = {
    '/bin/sh': '/bin/dash',
    '/bin/sleep': '/bin/sleep',
    '/bin/head': '/usr/bin/head',
    '/bin/tail': '/usr/bin/tail',
  };
  const file = join(work, 'image.tar');
  writeFileSync(
    file,
    await dockerArchive([
      { names: ['small:1'], layers: [await tar(hostPrograms(programs))], config: { Env: ['PATH=/bin'] } },
    ]),
  );
  await loadImages(file, { store: new ImageStore(), names: [], maxBytes: 2 ** 30, onProgress: () => {} });
  const image = { image: 'small:1', imagePullPolicy: 'IfNotPresent' } as const;
  runtime.pod('small', {
    restartPolicy: 'Never',
    containers: [
      container('exec sleep 1000', { limits: { memory: '8Mi' } }, image),
      { ...container(`sh -c "${GREEDY}"; exit $?`, { limits: { memory: '16Mi' } }, image), name: 'greedy' },
    ],
  });
  await until('running', () => runtime.container('small', 'c')?.state?.running);
  assert.is(
    (await until('the end', () => runtime.container('small', 'greedy')?.state?.terminated)).reason,
    'OOMKilled',
  );
  assert.is(runtime.exec('small', 'c', 'sh', '-c', 'echo inside'), 'inside\n');
  assert.ok(runtime.container('small', 'c')?.state?.running);
});

limited('limits and requests are in the files of the group, and of the pod’s', async ({ runtime }) => {
  runtime.pod('files', {
    containers: [
      container('exec sleep 1000', { limits: { memory: '64Mi', cpu: '500m' }, requests: { cpu: '250m' } }),
      { ...container('exec sleep 1000', { limits: { memory: '36Mi', cpu: '1' }, requests: { cpu: '1' } }), name: 'd' },
    ],
  });
  await runtime.ready('files');
  const group = groupOf(runtime, 'files', 'c');
  const pod = group.slice(0, group.lastIndexOf('/'));
  assert.is(value('memory', group, 'memory.limit_in_bytes', 'memory.max'), String(64 * 2 ** 20));
  assert.is(value('memory', pod, 'memory.limit_in_bytes', 'memory.max'), String(100 * 2 ** 20));
  const quota = (path: string) =>
    version === 1
      ? `${value('cpu', path, 'cpu.cfs_quota_us')} ${value('cpu', path, 'cpu.cfs_period_us')}`
      : value('cpu', path, 'cpu.max');
  assert.is(quota(group), '50000 100000');
  assert.is(quota(pod), '150000 100000');
  assert.is(value('cpu', group, 'cpu.shares', 'cpu.weight'), version === 1 ? '256' : '10');
  assert.is(value('cpu', pod, 'cpu.shares', 'cpu.weight'), version === 1 ? '1280' : '49');
  assert.is(value('pids', pod, 'pids.max'), '4096');
  // Of two containers with requests, none is without a limit of what the kernel kills first.
  assert.ok(Number(runtime.exec('files', 'c', 'cat', '/proc/1/oom_score_adj')) > 900);
});

limited(
  'a pod of class Guaranteed starts, also on a machine that forbids to lower oom_score_adj',
  async ({ runtime }) => {
    const amounts = { memory: '64Mi', cpu: '500m' };
    const guaranteed = (name: string, more: Partial<Container> = {}) => ({
      ...container('exec sleep 1000', { limits: amounts, requests: amounts }, more),
      name,
    });
    runtime.pod('guaranteed', {
      containers: [guaranteed('c'), guaranteed('d', { image: 'small:1', imagePullPolicy: 'Never' })],
    });
    await runtime.ready('guaranteed', 20_000);
    assert.is(runtime.status('guaranteed').qosClass, 'Guaranteed');
    // -997 where the agent may lower it, else the agent's own.
    assert.ok(Number(runtime.exec('guaranteed', 'c', 'cat', '/proc/1/oom_score_adj')) < 1);
  },
);

limited('a CPU limit throttles', async ({ runtime }) => {
  runtime.pod('busy', { containers: [container('while :; do :; done', { limits: { cpu: '200m' } })] });
  await runtime.ready('busy');
  const group = groupOf(runtime, 'busy', 'c');
  const throttled = () => Number(/^nr_throttled (\d+)$/m.exec(value('cpu', group, 'cpu.stat'))?.[1]);
  const used = () => runtime.manager.groups.usage(group)!.cpuSeconds;
  await until('throttled', () => throttled() > 0);
  const before = { seconds: performance.now() / 1000, used: used() };
  await sleep(1500);
  const share = (used() - before.used) / (performance.now() / 1000 - before.seconds);
  assert.ok(share < 0.3, `used ${share} of a processor with a limit of 0.2`);
});

limited('a fork bomb is the pod’s own trouble: its processes are limited', async ({ runtime }) => {
  runtime.pod('forks', { containers: [container('exec sleep 1000', undefined)] });
  await runtime.ready('forks');
  const group = groupOf(runtime, 'forks', 'c');
  const pod = group.slice(0, group.lastIndexOf('/'));
  writeFileSync(join(roots.pids, pod, 'pids.max'), '12');
  assert.throws(
    () => runtime.exec('forks', 'c', 'sh', '-c', 'for i in 1 2 3 4 5 6 7 8 9 10 11 12 13; do sleep 5 & done; exit 0'),
    /[Cc]annot fork|Resource temporarily unavailable/,
  );
});

limited('exec runs in the container’s own groups, and a container sees its group as the root', async ({ runtime }) => {
  runtime.pod('inside', { containers: [container('exec sleep 1000', undefined)] });
  await runtime.ready('inside');
  const own = runtime.exec('inside', 'c', 'cat', '/proc/self/cgroup');
  assert.not.match(own, 'dataplane');
  assert.match(own, version === 1 ? /:memory:\/\n/ : /^0::\/\n/m);
  assert.is(runtime.exec('inside', 'c', 'cat', '/proc/1/cgroup'), own);
});

limited('usage is measured by the group', async ({ runtime }) => {
  runtime.pod('used', { containers: [container('head -c 30m /dev/zero > /dev/shm/file; exec sleep 1000', undefined)] });
  await runtime.ready('used');
  const group = groupOf(runtime, 'used', 'c');
  const usage = await until('30 MiB', () => {
    const now = runtime.manager.groups.usage(group);
    return now !== undefined && now.memoryBytes > 30 * 2 ** 20 && now;
  });
  assert.ok(usage.memoryBytes < 60 * 2 ** 20, String(usage.memoryBytes));
});

limited(
  'groups are removed with the instance, with the pod, and by the clean-up after a crash',
  async ({ runtime }) => {
    runtime.pod('gone', { restartPolicy: 'Never', containers: [container('exit 0', undefined)] });
    runtime.pod('stays', { containers: [container('exec sleep 1000', undefined)] });
    await runtime.ready('stays');
    await until('the end', () => runtime.container('gone', 'c')?.state?.terminated);
    const stays = groupOf(runtime, 'stays', 'c');
    const run = stays.split('/').slice(0, 2).join('/');
    const groups = () =>
      readdirSync(join(roots.memory, run), { recursive: true, withFileTypes: true }).filter((e) => e.isDirectory());
    await until('the instance’s group to go', () => groups().length === 3);
    runtime.delete('gone');
    await until('the pod’s group to go', () => groups().length === 2);
    await runtime.manager.close({ keepPods: true });
    assert.ok(existsSync(join(roots.memory, stays)));
    await runtime.close();
    for (const root of new Set(Object.values(roots))) assert.not.ok(existsSync(join(root, run)), root);
  },
);

test('without control groups a pod with limits runs, and one event says that they are not enforced', async ({
  runtime,
}) => {
  await runtime.manager.close({ keepPods: false });
  const groups = new PodGroups(runtime.stateDir, 'cgroup v2 at /sys/fs/cgroup is read-only');
  runtime.start({ groups });
  runtime.pod('plain', {
    containers: [
      container('exec sleep 1000', { limits: { memory: '64Mi' } }),
      { ...container('exec sleep 1000', { limits: { memory: '64Mi' } }), name: 'd' },
    ],
  });
  runtime.pod('free', { containers: [container('exec sleep 1000', undefined)] });
  await runtime.ready('plain');
  await runtime.ready('free');
  const warnings = runtime.events.filter((event) => event.includes('ResourcesNotEnforced'));
  assert.equal(warnings, [
    'plain ResourcesNotEnforced: requests and limits are not enforced on this node: cgroup v2 at /sys/fs/cgroup is read-only',
  ]);
  assert.is(runtime.exec('plain', 'c', 'echo', 'inside'), 'inside\n');
});

test('nothing is left: no process, mount, namespace, file or control group', () => {
  assert.equal(left, []);
  assert.ok(attempt(() => statSync(work)));
  rmSync(work, { recursive: true });
});

test.run();
