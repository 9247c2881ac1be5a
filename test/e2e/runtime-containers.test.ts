/** Containers of pods: how they are started, configured, probed, stopped and restarted. */
import { spawnSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { execCommand } from '../../src/runtime/container/exec.ts';
import { attempt, mc3, NAMESPACE, until } from './runtime-fixture.ts';
import { runtimeSuite } from './runtime-suite.ts';

const { test, left } = runtimeSuite('runtime: containers', import.meta.url);

const TELL_BY_LOG = { terminationMessagePolicy: 'FallbackToLogsOnError' } as const;

test('a process that keeps ending backs off, with its last output in the status', async ({ runtime }) => {
  const command = ['sh', '-c', 'echo "cannot go on" >&2; exit 3'];
  runtime.pod('crash', { containers: [{ name: 'c', image: 'process', command, ...TELL_BY_LOG }] });
  const status = await until('back-off', () => {
    const c = runtime.container('crash', 'c');
    return c?.state?.waiting?.reason === 'CrashLoopBackOff' && c.restartCount >= 2 && c;
  });
  assert.is(status.lastState?.terminated?.exitCode, 3);
  assert.is(status.lastState?.terminated?.reason, 'Error');
  assert.is(status.lastState?.terminated?.message, 'cannot go on\n');
  assert.match(status.state?.waiting?.message ?? '', /^back-off .* restarting failed container=c pod=crash_dprt\d+/);
  assert.is(runtime.status('crash').phase, 'Running');
});

test('two containers on one port: the second fails with the kernel’s own message', async ({ runtime }) => {
  const container = (name: string) => ({ name, image: 'nginx', ...TELL_BY_LOG });
  runtime.pod('clash', { containers: [container('first'), container('second')] });
  const status = await until('failure', () => runtime.container('clash', 'second')?.lastState?.terminated, 15_000);
  assert.is(status.exitCode, 1);
  assert.match(status.message ?? '', /bind\(\) to 0\.0\.0\.0:80 failed \(98: Address already in use\)/);
  assert.ok(runtime.container('clash', 'first')?.ready);
  assert.match(runtime.get('clash'), /Welcome to nginx!/);
});

test('a command without a handler for SIGTERM is stopped without a grace period', async ({ runtime }) => {
  runtime.pod('deaf', {
    terminationGracePeriodSeconds: 30,
    containers: [
      { name: 'sleep', image: 'process', command: ['sleep', '1000'] },
      { name: 'polite', image: 'process', command: ['sh', '-c', 'trap "echo bye; exit 0" TERM; sleep 1000 & wait'] },
    ],
  });
  await runtime.ready('deaf');
  await sleep(100);
  const start = Date.now();
  runtime.delete('deaf');
  await until('confirmed', () => runtime.deleted.includes('deaf'));
  assert.ok(Date.now() - start < 1500, `took ${Date.now() - start} ms`);
});

test('init containers run one after the other, share volumes with the rest', async ({ runtime }) => {
  const volumeMounts = [{ name: 'shared', mountPath: '/shared' }];
  const sh = (name: string, text: string) => ({ name, image: 'process', command: ['sh', '-c', text], volumeMounts });
  runtime.pod('init', {
    initContainers: [sh('one', 'sleep 0.2; echo one > /shared/f'), sh('two', 'echo two >> /shared/f')],
    containers: [sh('main', 'cat /shared/f; exec sleep 1000')],
    volumes: [{ name: 'shared', emptyDir: {} }],
  });
  await until('initializing', () => runtime.container('init', 'main')?.state?.waiting?.reason === 'PodInitializing');
  await runtime.ready('init');
  await until('written', () => runtime.log('init', 'main') === 'one\ntwo\n');
  assert.is(runtime.container('init', 'one')?.state?.terminated?.reason, 'Completed');
});

test('environment, arguments, working directory, user', async ({ runtime }) => {
  runtime.configMap('settings', { COLOUR: 'green', SIZE: '3' });
  runtime.pod('env', {
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
  await runtime.ready('env');
  const ip = runtime.status('env').podIP;
  const expected = `it's 3\nlines/$(NOBODY)/$(A) it's 3\nlines green ${ip} /var/work 1234\n`;
  await until('output', () => runtime.log('env', 'c') === expected).catch(() =>
    assert.is(runtime.log('env', 'c'), expected),
  );
});

test('securityContext: groups, a read-only root, no gain of privileges; root is refused where it may not be', async ({
  runtime,
}) => {
  const command = [
    'id -G',
    'grep NoNewPrivs /proc/self/status',
    'touch /x 2>&1 || touch /usr/x 2>&1 || touch /data/x && echo written',
    'exec sleep 1000',
  ];
  const container = { name: 'c', image: 'process', command: ['sh', '-c', command.join('; ')] };
  runtime.pod('secure', {
    securityContext: { runAsUser: 1234, runAsGroup: 1235, runAsNonRoot: true, supplementalGroups: [7, 8] },
    containers: [
      {
        ...container,
        securityContext: {
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          runAsUser: 0,
          runAsNonRoot: false,
        },
        volumeMounts: [{ name: 'data', mountPath: '/data' }],
      },
    ],
    volumes: [{ name: 'data', emptyDir: {} }],
  });
  runtime.pod('root', { securityContext: { runAsNonRoot: true }, containers: [container] });
  await runtime.ready('secure');
  await until('output', () => runtime.log('secure', 'c').includes('written'));
  const lines = runtime.log('secure', 'c').trim().split('\n');
  assert.equal(lines.slice(0, 2), ['1235 7 8', 'NoNewPrivs:\t1']);
  assert.equal(lines.filter((line) => line.includes('Read-only file system')).length, 2);
  await until('refused', () => runtime.container('root', 'c')?.state?.waiting?.reason === 'CreateContainerConfigError');
  assert.match(runtime.container('root', 'c')!.state!.waiting!.message!, 'runAsNonRoot and image will run as root');
});

test('a mounted ConfigMap is updated when it changes; a container waits for a missing one', async ({ runtime }) => {
  runtime.pod('follow', {
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
  await until('told', () => runtime.events.some((e) => e.includes('FailedMount') && e.includes('"late" not found')));
  assert.is(runtime.container('follow', 'c')?.state?.waiting?.reason, 'ContainerCreating');
  runtime.configMap('late', { a: 'first' });
  runtime.sync();
  await runtime.ready('follow');
  assert.is(runtime.exec('follow', 'c', 'cat', '/etc/settings/sub/a.txt'), 'first');
  runtime.configMap('late', { a: 'second' });
  runtime.sync();
  await until('updated', () => runtime.exec('follow', 'c', 'cat', '/etc/settings/sub/a.txt') === 'second');
  assert.throws(() => runtime.exec('follow', 'c', 'sh', '-c', 'echo x > /etc/settings/new'));
});

test('probes: exec readiness comes and goes, liveness restarts', async ({ runtime }) => {
  runtime.pod('probed', {
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
  await runtime.ready('probed');
  runtime.exec('probed', 'c', 'rm', '/ok');
  await until('not ready', () => !runtime.isReady('probed'));
  assert.is(runtime.container('probed', 'c')?.restartCount, 0);
  runtime.exec('probed', 'c', 'rm', '/alive');
  await until('restarted', () => runtime.container('probed', 'c')?.restartCount === 1);
  await runtime.ready('probed');
  assert.ok(runtime.events.some((event) => event.includes('failed liveness probe, will be restarted')));
});

test('a container that cannot be started has the reason in its status', async ({ runtime }) => {
  runtime.pod('wrong', {
    containers: [
      { name: 'image', image: 'quay.io/some/thing:1' },
      { name: 'empty', image: 'process' },
      { name: 'path', image: 'process', command: ['/no/such/program'] },
      { name: 'word', image: 'process', command: ['no-such-program'] },
    ],
  });
  await until('all tried', () => runtime.container('wrong', 'word')?.lastState?.terminated);
  await until('image', () => runtime.container('wrong', 'image')?.state?.waiting?.reason === 'ImagePullBackOff');
  assert.is(runtime.container('wrong', 'image')?.state?.waiting?.reason, 'ImagePullBackOff');
  assert.match(runtime.container('wrong', 'image')?.state?.waiting?.message ?? '', /dataplane image load/);
  assert.is(runtime.container('wrong', 'empty')?.state?.waiting?.reason, 'CreateContainerConfigError');
  const path = runtime.container('wrong', 'path')?.lastState?.terminated;
  assert.is(path?.reason, 'StartError');
  assert.is(path?.exitCode, 128);
  assert.match(path?.message ?? '', /exec: "\/no\/such\/program": no such file or directory/);
  assert.match(
    runtime.container('wrong', 'word')?.lastState?.terminated?.message ?? '',
    /executable file not found in \$PATH/,
  );
});

test('restartContainer: a new instance starts at once, the network stays', async ({ runtime }) => {
  mc3(runtime);
  await runtime.ready('mc3');
  const [nginx, pause] = [runtime.mainPid('mc3', 'nginx'), runtime.pausePid('mc3')];
  await runtime.manager.restartContainer(NAMESPACE, 'mc3', 'nginx');
  const again = await until('a new one', () => attempt(() => runtime.mainPid('mc3', 'nginx')));
  assert.is.not(again, nginx);
  assert.is(runtime.pausePid('mc3'), pause);
  await until('counted', () => runtime.container('mc3', 'nginx')?.restartCount === 1);
  await runtime.ready('mc3');
  let refused = '';
  await runtime.manager.restartContainer(NAMESPACE, 'mc3', 'other').catch((error: Error) => {
    refused = error.message;
  });
  assert.match(refused, /no container "other" \(it has webapp, nginx\)/);
});

test('exec with a terminal; exit status and environment are passed on', async ({ runtime }) => {
  runtime.pod('tty', {
    containers: [{ name: 'c', image: 'process', command: ['sleep', '1000'], env: [{ name: 'X', value: 'y z' }] }],
  });
  await runtime.ready('tty');
  const request = {
    stateDir: runtime.stateDir,
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
