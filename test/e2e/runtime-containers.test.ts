/** Containers of pods: how they are started, configured, probed, stopped and restarted. */
import { spawnSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { execCommand } from '../../src/runtime/container/exec.ts';
import { runtimeSuite } from './runtime-suite.ts';
import { attempt, mc3, NAMESPACE, until } from './runtime-world.ts';

const { test, left } = runtimeSuite('runtime: containers', import.meta.url);

const TELL_BY_LOG = { terminationMessagePolicy: 'FallbackToLogsOnError' } as const;

test('a process that keeps ending backs off, with its last output in the status', async ({ world }) => {
  const command = ['sh', '-c', 'echo "cannot go on" >&2; exit 3'];
  world.pod('crash', { containers: [{ name: 'c', image: 'process', command, ...TELL_BY_LOG }] });
  const status = await until('back-off', () => {
    const c = world.container('crash', 'c');
    return c?.state?.waiting?.reason === 'CrashLoopBackOff' && c.restartCount >= 2 && c;
  });
  assert.is(status.lastState?.terminated?.exitCode, 3);
  assert.is(status.lastState?.terminated?.reason, 'Error');
  assert.is(status.lastState?.terminated?.message, 'cannot go on\n');
  assert.match(status.state?.waiting?.message ?? '', /^back-off .* restarting failed container=c pod=crash_dprt\d+/);
  assert.is(world.status('crash').phase, 'Running');
});

test('two containers on one port: the second fails with the kernel’s own message', async ({ world }) => {
  const container = (name: string) => ({ name, image: 'nginx', ...TELL_BY_LOG });
  world.pod('clash', { containers: [container('first'), container('second')] });
  const status = await until('failure', () => world.container('clash', 'second')?.lastState?.terminated, 15_000);
  assert.is(status.exitCode, 1);
  assert.match(status.message ?? '', /bind\(\) to 0\.0\.0\.0:80 failed \(98: Address already in use\)/);
  assert.ok(world.container('clash', 'first')?.ready);
  assert.match(world.get('clash'), /Welcome to nginx!/);
});

test('a command without a handler for SIGTERM is stopped without a grace period', async ({ world }) => {
  world.pod('deaf', {
    terminationGracePeriodSeconds: 30,
    containers: [
      { name: 'sleep', image: 'process', command: ['sleep', '1000'] },
      { name: 'polite', image: 'process', command: ['sh', '-c', 'trap "echo bye; exit 0" TERM; sleep 1000 & wait'] },
    ],
  });
  await world.ready('deaf');
  await sleep(100);
  const start = Date.now();
  world.delete('deaf');
  await until('confirmed', () => world.deleted.includes('deaf'));
  assert.ok(Date.now() - start < 1500, `took ${Date.now() - start} ms`);
});

test('init containers run one after the other, share volumes with the rest', async ({ world }) => {
  const volumeMounts = [{ name: 'shared', mountPath: '/shared' }];
  const sh = (name: string, text: string) => ({ name, image: 'process', command: ['sh', '-c', text], volumeMounts });
  world.pod('init', {
    initContainers: [sh('one', 'sleep 0.2; echo one > /shared/f'), sh('two', 'echo two >> /shared/f')],
    containers: [sh('main', 'cat /shared/f; exec sleep 1000')],
    volumes: [{ name: 'shared', emptyDir: {} }],
  });
  await until('initializing', () => world.container('init', 'main')?.state?.waiting?.reason === 'PodInitializing');
  await world.ready('init');
  await until('written', () => world.log('init', 'main') === 'one\ntwo\n');
  assert.is(world.container('init', 'one')?.state?.terminated?.reason, 'Completed');
});

test('environment, arguments, working directory, user', async ({ world }) => {
  world.configMap('settings', { COLOUR: 'green', SIZE: '3' });
  world.pod('env', {
    containers: [
      {
        name: 'c',
        image: 'process',
        command: ['sh', '-c', 'echo "$0 $A $COLOUR $IP $(pwd) $(id -u)"; exec sleep 1000'],
        args: ['$(A)/$(NOBODY)/$$(A)'],
        workingDir: '/var/work',
        envFrom: [{ configMapRef: { name: 'settings' } }],
        env: [
          { name: 'A', value: "it's $(SIZE)\nlines" },
          { name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
        ],
        ...{ securityContext: { runAsUser: 1234 } },
      },
    ],
  });
  await world.ready('env');
  const ip = world.status('env').podIP;
  const expected = `it's 3\nlines/$(NOBODY)/$(A) it's 3\nlines green ${ip} /var/work 1234\n`;
  await until('output', () => world.log('env', 'c') === expected).catch(() =>
    assert.is(world.log('env', 'c'), expected),
  );
});

test('a mounted ConfigMap is updated when it changes; a container waits for a missing one', async ({ world }) => {
  world.pod('follow', {
    containers: [
      {
        name: 'c',
        image: 'process',
        command: ['sleep', '1000'],
        volumeMounts: [{ name: 'v', mountPath: '/etc/settings' }],
      },
    ],
    volumes: [{ name: 'v', configMap: { name: 'late', items: [{ key: 'a', path: 'sub/a.txt' }] } }],
  });
  await until('told', () => world.events.some((e) => e.includes('FailedMount') && e.includes('"late" not found')));
  assert.is(world.container('follow', 'c')?.state?.waiting?.reason, 'ContainerCreating');
  world.configMap('late', { a: 'first' });
  world.sync();
  await world.ready('follow');
  assert.is(world.exec('follow', 'c', 'cat', '/etc/settings/sub/a.txt'), 'first');
  world.configMap('late', { a: 'second' });
  world.sync();
  await until('updated', () => world.exec('follow', 'c', 'cat', '/etc/settings/sub/a.txt') === 'second');
  assert.throws(() => world.exec('follow', 'c', 'sh', '-c', 'echo x > /etc/settings/new'));
});

test('probes: exec readiness comes and goes, liveness restarts', async ({ world }) => {
  world.pod('probed', {
    containers: [
      {
        name: 'c',
        image: 'process',
        command: ['sh', '-c', 'touch /ok /alive; exec sleep 1000'],
        readinessProbe: { exec: { command: ['test', '-e', '/ok'] }, periodSeconds: 1, failureThreshold: 1 },
        livenessProbe: { exec: { command: ['test', '-e', '/alive'] }, periodSeconds: 1, failureThreshold: 2 },
      },
    ],
  });
  await world.ready('probed');
  world.exec('probed', 'c', 'rm', '/ok');
  await until('not ready', () => !world.isReady('probed'));
  assert.is(world.container('probed', 'c')?.restartCount, 0);
  world.exec('probed', 'c', 'rm', '/alive');
  await until('restarted', () => world.container('probed', 'c')?.restartCount === 1);
  await world.ready('probed');
  assert.ok(world.events.some((event) => event.includes('failed liveness probe, will be restarted')));
});

test('a container that cannot be started has the reason in its status', async ({ world }) => {
  world.pod('wrong', {
    containers: [
      { name: 'image', image: 'quay.io/some/thing:1' },
      { name: 'empty', image: 'process' },
      { name: 'path', image: 'process', command: ['/no/such/program'] },
      { name: 'word', image: 'process', command: ['no-such-program'] },
    ],
  });
  await until('all tried', () => world.container('wrong', 'word')?.lastState?.terminated);
  assert.is(world.container('wrong', 'image')?.state?.waiting?.reason, 'ImageNotInCatalogue');
  assert.match(world.container('wrong', 'image')?.state?.waiting?.message ?? '', /catalogue\.d/);
  assert.is(world.container('wrong', 'empty')?.state?.waiting?.reason, 'CreateContainerConfigError');
  const path = world.container('wrong', 'path')?.lastState?.terminated;
  assert.is(path?.reason, 'StartError');
  assert.is(path?.exitCode, 128);
  assert.match(path?.message ?? '', /exec: "\/no\/such\/program": no such file or directory/);
  assert.match(
    world.container('wrong', 'word')?.lastState?.terminated?.message ?? '',
    /executable file not found in \$PATH/,
  );
});

test('restartContainer: a new instance starts at once, the network stays', async ({ world }) => {
  mc3(world);
  await world.ready('mc3');
  const [nginx, pause] = [world.mainPid('mc3', 'nginx'), world.pausePid('mc3')];
  await world.manager.restartContainer(NAMESPACE, 'mc3', 'nginx');
  const again = await until('a new one', () => attempt(() => world.mainPid('mc3', 'nginx')));
  assert.is.not(again, nginx);
  assert.is(world.pausePid('mc3'), pause);
  await until('counted', () => world.container('mc3', 'nginx')?.restartCount === 1);
  await world.ready('mc3');
  let refused = '';
  await world.manager.restartContainer(NAMESPACE, 'mc3', 'other').catch((error: Error) => {
    refused = error.message;
  });
  assert.match(refused, /no container "other" \(it has webapp, nginx\)/);
});

test('exec with a terminal; exit status and environment are passed on', async ({ world }) => {
  world.pod('tty', {
    containers: [{ name: 'c', image: 'process', command: ['sleep', '1000'], env: [{ name: 'X', value: 'y z' }] }],
  });
  await world.ready('tty');
  const request = {
    stateDir: world.stateDir,
    namespace: NAMESPACE,
    pod: 'tty',
    command: ['sh', '-c', 'tty; echo "$X"; exit 5'],
  };
  const plain = execCommand(request);
  const result = spawnSync(plain.file, plain.args, { encoding: 'utf8', input: '' });
  assert.is(result.status, 5);
  assert.match(result.stdout, /y z/);
  const { file, args } = execCommand({ ...request, tty: true });
  const terminal = spawnSync(
    'script',
    ['-qec', [file, ...args].map((w) => `'${w.replaceAll("'", "'\\''")}'`).join(' '), '/dev/null'],
    { encoding: 'utf8', input: '' },
  );
  assert.match(terminal.stdout, /\/dev\/pts\/0/);
  assert.is(terminal.status, 5);
});

test('none of all this left anything behind', () => {
  assert.equal(left, []);
});

test.run();
