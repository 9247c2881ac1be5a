/** Init containers that keep running (sidecars): the order in which they start and end, and what they have no part in. */
import { readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import type { Container } from '../../src/api/types/objects.ts';
import { attempt, type RuntimeFixture, until } from './runtime-fixture.ts';
import { runtimeSuite } from './runtime-suite.ts';

const { test, left } = runtimeSuite('runtime: sidecars', import.meta.url);

const volumeMounts = [{ name: 'shared', mountPath: '/shared' }];
const volumes = [{ name: 'shared', emptyDir: {} }];
/** Writes its name into a file that all share, when it starts and when it is asked to end. */
const noting = (name: string, more: Partial<Container> = {}): Container => ({
  name,
  image: 'process',
  command: [
    'sh',
    '-c',
    `trap 'echo "${name} ends" >> /shared/order; exit 0' TERM; echo "${name} starts" >> /shared/order; while :; do sleep 0.05; done`,
  ],
  volumeMounts,
  ...more,
});
const sidecar = (name: string, more: Partial<Container> = {}): Container =>
  noting(name, { restartPolicy: 'Always', ...more });
const once = (name: string, script: string): Container => ({
  ...noting(name),
  command: ['sh', '-c', `echo "${name} starts" >> /shared/order; ${script}`],
});

const order = (runtime: RuntimeFixture, pod: string): string[] =>
  (
    attempt(() =>
      readFileSync(`${runtime.stateDir}/pods/dprt${process.env.DPRT_RUN}_${pod}/volumes/shared/order`, 'utf8'),
    ) ?? ''
  )
    .trim()
    .split('\n');

test('a sidecar starts in its turn, the next container when it has started, and they end after the others, the last first', async ({
  runtime,
}) => {
  const startupProbe = { exec: { command: ['test', '-e', '/shared/go'] }, periodSeconds: 1, failureThreshold: 100 };
  runtime.pod('order', {
    initContainers: [
      sidecar('one', { startupProbe: { ...startupProbe, timeoutSeconds: 20 } }),
      once('init', 'exit 0'),
      sidecar('two'),
    ],
    containers: [noting('main')],
    volumes,
    terminationGracePeriodSeconds: 30,
  });
  await until('the first', () => order(runtime, 'order').includes('one starts'));
  assert.is(runtime.container('order', 'init')?.state?.waiting?.reason, 'ContainerCreating');
  assert.is(runtime.status('order').phase, 'Pending');
  runtime.exec('order', 'one', 'touch', '/shared/go');
  await runtime.ready('order', 30_000);
  await until('the last', () => order(runtime, 'order').length === 4);
  assert.equal(order(runtime, 'order'), ['one starts', 'init starts', 'two starts', 'main starts']);
  const { initContainerStatuses = [] } = runtime.status('order');
  assert.equal(
    initContainerStatuses.map(({ name, started, ready }) => [name, started, ready]),
    [
      ['one', true, true],
      ['init', false, true],
      ['two', true, true],
    ],
  );
  let ends: string[] = [];
  const timer = setInterval(() => {
    const now = order(runtime, 'order');
    if (now.length > 1) ends = now;
  }, 5);
  runtime.delete('order');
  await until('the end', () => runtime.deleted.includes('order'), 40_000);
  clearInterval(timer);
  assert.equal(ends.slice(4, 6), ['main ends', 'two ends']);
});

test('a pod whose containers have completed ends its sidecars and is Succeeded, as a Job needs it', async ({
  runtime,
}) => {
  runtime.pod('job', {
    restartPolicy: 'Never',
    initContainers: [sidecar('proxy')],
    containers: [once('work', 'sleep 0.2; exit 0')],
    volumes,
  });
  await until('Succeeded', () => runtime.status('job').phase === 'Succeeded', 20_000);
  assert.equal(order(runtime, 'job'), ['proxy starts', 'work starts', 'proxy ends']);
  assert.is(runtime.container('job', 'proxy')?.state?.terminated?.exitCode, 0);
  assert.is(runtime.container('job', 'proxy')?.restartCount, 0);
});

test('a sidecar is restarted whatever the pod’s restartPolicy, and its readiness counts', async ({ runtime }) => {
  runtime.pod('restarts', {
    restartPolicy: 'Never',
    initContainers: [
      sidecar('proxy', {
        readinessProbe: { exec: { command: ['test', '-e', '/shared/ready'] }, periodSeconds: 1, timeoutSeconds: 20 },
      }),
    ],
    containers: [noting('main')],
    volumes,
  });
  await until('running', () => runtime.container('restarts', 'main')?.state?.running, 20_000);
  assert.not.ok(runtime.isReady('restarts'));
  const reason = runtime.status('restarts').conditions?.find(({ type }) => type === 'Ready')?.message;
  assert.is(reason, 'containers with unready status: [proxy]');
  runtime.exec('restarts', 'proxy', 'touch', '/shared/ready');
  await runtime.ready('restarts', 20_000);
  process.kill(runtime.mainPid('restarts', 'proxy'), 'SIGKILL');
  await until('a restart', () => runtime.container('restarts', 'proxy')?.restartCount === 1, 20_000);
  await runtime.ready('restarts', 20_000);
  assert.is(runtime.container('restarts', 'main')?.restartCount, 0);
});

test('nothing is left', () => assert.equal(left, []));

test.run();
