/** Storage of pods: limits, and what happens to a pod that exceeds them; nobody else suffers. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import type { Container, Volume } from '../../src/api/types/objects.ts';
import { cleanupAll } from '../../src/runtime/cleanup.ts';
import { NAMESPACE, RuntimeFixture, until } from './runtime-fixture.ts';
import { runtimeSuite } from './runtime-suite.ts';

const { test, left } = runtimeSuite('runtime: storage', import.meta.url);

const container = (script: string, more: Partial<Container> = {}): Container => ({
  name: 'c',
  image: 'process',
  command: ['sh', '-c', script],
  volumeMounts: [{ name: 'data', mountPath: '/data' }],
  ...more,
});
const data = (emptyDir: Volume['emptyDir']): Volume[] => [{ name: 'data', emptyDir: emptyDir! }];
const calm = (runtime: RuntimeFixture) =>
  runtime.pod('calm', { containers: [container('echo kept > /data/file; exec sleep 1000')], volumes: data({}) });

test('a pod whose emptyDir exceeds its sizeLimit is evicted, with kubelet’s message, and its space is free again', async ({
  runtime,
}) => {
  calm(runtime);
  runtime.pod('full', {
    containers: [container('head -c 12m /dev/zero > /data/file; exec sleep 1000')],
    volumes: data({ sizeLimit: '10Mi' }),
  });
  runtime.pod('within', {
    containers: [container('head -c 8m /dev/zero > /data/file; exec sleep 1000')],
    volumes: data({ sizeLimit: '10Mi' }),
  });
  await until('the eviction', () => runtime.status('full').phase === 'Failed', 30_000);
  const { reason, message, conditions } = runtime.status('full');
  assert.is(reason, 'Evicted');
  assert.is(message, 'Usage of EmptyDir volume "data" exceeds the limit "10Mi". ');
  assert.is(conditions?.find(({ type }) => type === 'DisruptionTarget')?.reason, 'TerminationByKubelet');
  assert.ok(runtime.events.includes(`full Evicted: ${message}`));
  await until('the container to end', () => runtime.container('full', 'c')?.state?.terminated);
  const volume = (pod: string) => join(runtime.stateDir, 'pods', `${NAMESPACE}_${pod}`, 'volumes/data');
  await until('free space', () => !existsSync(volume('full')));
  assert.ok(runtime.isReady('within') && runtime.isReady('calm'));
  assert.is(runtime.container('full', 'c')?.restartCount, 0, 'it is not started again');
});

test('ephemeral-storage of a container counts its log, of a pod everything', async ({ runtime }) => {
  runtime.pod('logs', {
    containers: [
      container('head -c 3m /dev/zero; exec sleep 1000', { resources: { limits: { 'ephemeral-storage': '2Mi' } } }),
    ],
    volumes: data({}),
  });
  const other = container('exec sleep 1000', { name: 'd', resources: { limits: { 'ephemeral-storage': '3Mi' } } });
  runtime.pod('whole', {
    containers: [
      container('head -c 6m /dev/zero > /data/file; exec sleep 1000', {
        resources: { limits: { 'ephemeral-storage': '2Mi' } },
      }),
      other,
    ],
    volumes: data({}),
  });
  await until('both', () => ['logs', 'whole'].every((name) => runtime.status(name).phase === 'Failed'), 30_000);
  assert.is(runtime.status('logs').message, 'Container c exceeded its local ephemeral storage limit "2Mi". ');
  assert.is(
    runtime.status('whole').message,
    'Pod ephemeral local storage usage exceeds the total limit of containers 5Mi. ',
  );
});

test('an emptyDir in memory cannot grow beyond its sizeLimit: the write fails, the pod goes on', async ({
  runtime,
}) => {
  runtime.pod('memory', {
    containers: [
      container('head -c 4m /dev/zero > /data/file || echo failed with $?; exec sleep 1000'),
      container('exec sleep 1000', { name: 'reader' }),
    ],
    volumes: data({ medium: 'Memory', sizeLimit: '2Mi' }),
  });
  await runtime.ready('memory');
  await until('the failure', () => runtime.log('memory', 'c').includes('failed with 1'));
  assert.match(runtime.log('memory', 'c'), 'No space left on device');
  assert.is(runtime.exec('memory', 'reader', 'stat', '-c', '%s', '/data/file'), `${2 * 2 ** 20}\n`);
  await runtime.manager.close({ keepPods: true });
  runtime.start();
  runtime.sync();
  await runtime.ready('memory');
  await runtime.manager.restartContainer(NAMESPACE, 'memory', 'reader');
  assert.is(runtime.exec('memory', 'reader', 'stat', '-c', '%s', '/data/file'), `${2 * 2 ** 20}\n`);
});

test('a container that logs as fast as it can has a log of bounded size', async ({ runtime }) => {
  runtime.pod('loud', { containers: [container('exec yes', { volumeMounts: [] })] });
  await runtime.ready('loud');
  const log = join(runtime.stateDir, 'pods', `${NAMESPACE}_loud/c.log`);
  await until('the first rotation', () => existsSync(`${log}.1`), 20_000);
  assert.is(statSync(`${log}.1`).size, 10 * 2 ** 20);
  const before = statSync(`${log}.1`).mtimeMs;
  await until('another', () => statSync(`${log}.1`).mtimeMs > before, 20_000);
});

test('when the file system of the pods is nearly full, the pod that uses most of it is evicted, and only that', async () => {
  const stateDir = mkdtempSync('/run/dprt-');
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', stateDir]);
  const runtime = new RuntimeFixture(stateDir);
  try {
    calm(runtime);
    await runtime.ready('calm');
    runtime.pod('hungry', {
      containers: [container('head -c 100m /dev/zero > /data/file; exec sleep 1000')],
      volumes: data({}),
    });
    const evicted = () => runtime.events.find((event) => event.startsWith('hungry Evicted: '));
    const event = await until('the eviction', () => evicted(), 30_000);
    assert.match(
      event,
      /^hungry Evicted: The node was low on resource: ephemeral-storage\. Threshold quantity: \S+, available: \S+\. The pod was using 6\d\S+\. $/,
    );
    await until('Failed', () => runtime.status('hungry').phase === 'Failed', 20_000);
    assert.ok(runtime.isReady('calm'));
    assert.is(runtime.exec('calm', 'c', 'cat', '/data/file'), 'kept\n');
    runtime.pod('next', { containers: [container('exec sleep 1000')], volumes: data({}) });
    await runtime.ready('next', 20_000);
  } finally {
    // The clean-up finds control groups by the files in the directory, so that it has to run before these go.
    await runtime.manager.close({ keepPods: false });
    await cleanupAll(stateDir);
    execFileSync('umount', ['-l', stateDir]);
    rmdirSync(stateDir);
  }
});

test('nothing is left', () => assert.equal(left, []));

test.run();
