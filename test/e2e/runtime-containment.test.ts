/**
 * Isolation of containers: no access to the host's devices, and no access to a pod's files for other users of the host.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, openSync, statSync } from 'node:fs';
import { join } from 'node:path';
import koffi from 'koffi';
import * as assert from 'uvu/assert';
import { attempt, NAMESPACE, until } from './runtime-fixture.ts';
import { runtimeSuite } from './runtime-suite.ts';

const { test } = runtimeSuite('runtime: containment', import.meta.url);

/** Block and character devices of every machine: the kernel's memory devices, the first loop device. */
const NODES = ['c 1 1', 'c 1 4', 'b 7 0', 'c 10 237', 'c 10 200'];

test('a device node created by a container cannot be opened, wherever it is created', async ({ runtime }) => {
  const places = ['/dev', '/tmp', '/root', '/run', '/shared', '/var/tmp'];
  const attempts = places.flatMap((place) =>
    NODES.map(
      (node, i) =>
        `mknod ${place}/node${i} ${node} 2>/dev/null && (exec 3<${place}/node${i}) 2>/dev/null && echo "opened ${place}/node${i} (${node})"`,
    ),
  );
  runtime.pod('devices', {
    containers: [
      {
        name: 'c',
        image: 'process',
        command: ['sh', '-c', `${attempts.join('; ')}; echo tried; exec sleep 1000`],
        volumeMounts: [{ name: 'shared', mountPath: '/shared' }],
      },
    ],
    volumes: [{ name: 'shared', emptyDir: {} }],
  });
  await runtime.ready('devices');
  await until('attempts', () => runtime.log('devices', 'c').includes('tried'));
  assert.is(runtime.log('devices', 'c'), 'tried\n');
});

test('a container has no descriptor of the process that started its agent', async ({ runtime }) => {
  // As a shell passes one on: dup(2) does not set FD_CLOEXEC.
  const dup = koffi.load('libc.so.6').func('int dup(int fd)') as (fd: number) => number;
  const passed = dup(openSync('/etc/passwd', 'r'));
  assert.ok(passed > 2);
  await runtime.manager.close({ keepPods: true });
  runtime.start();
  const list = 'ls -l /proc/self/fd; echo listed; exec sleep 1000';
  runtime.pod('descriptors', { containers: [{ name: 'c', image: 'process', command: ['sh', '-c', list] }] });
  await runtime.ready('descriptors');
  await until('the list', () => runtime.log('descriptors', 'c').includes('listed'));
  assert.not.match(runtime.log('descriptors', 'c'), 'passwd');
  assert.not.match(runtime.exec('descriptors', 'c', 'ls', '-l', '/proc/self/fd'), 'passwd');
});

test('the devices a container should have work', async ({ runtime }) => {
  const script = [
    'echo gone > /dev/null',
    'test "$(head -c 3 /dev/zero | od -An -tx1 | tr -d " ")" = 000000',
    'test "$(head -c 8 /dev/urandom | wc -c)" = 8',
    'test ! -c /dev/kmsg',
    'test "$(echo through | cat /dev/stdin)" = through',
    'echo all of them',
    'exec sleep 1000',
  ];
  runtime.pod('null', { containers: [{ name: 'c', image: 'process', command: ['sh', '-ec', script.join('\n')] }] });
  await runtime.ready('null');
  await until('devices', () => runtime.log('null', 'c').includes('all of them'));
});

test('seccompProfile RuntimeDefault: a program of the host is filtered, also with little memory and in what is executed beside it', async ({
  runtime,
}) => {
  const script = 'unshare --user true && echo possible; grep ^Seccomp: /proc/self/status; echo tried; exec sleep 1000';
  runtime.pod('filtered', {
    securityContext: { seccompProfile: { type: 'RuntimeDefault' } },
    containers: [
      {
        ...{ name: 'c', image: 'process', command: ['sh', '-c', script] },
        resources: { limits: { memory: '16Mi' } },
        securityContext: { allowPrivilegeEscalation: false, runAsUser: 65534 },
      },
    ],
  });
  await until('attempts', () => attempt(() => runtime.log('filtered', 'c'))?.includes('tried'));
  const log = runtime.log('filtered', 'c');
  assert.match(log, 'Operation not permitted');
  assert.not.match(log, 'possible');
  assert.match(log, /^Seccomp:\t2$/m);
  assert.match(runtime.exec('filtered', 'c', 'cat', '/proc/self/status'), /^Seccomp:\t2$/m);
});

test('seccompProfile Localhost: the container waits with the reason, it does not run unfiltered', async ({
  runtime,
}) => {
  const seccompProfile = { type: 'Localhost' as const, localhostProfile: 'audit.json' };
  runtime.pod('profile', {
    containers: [{ name: 'c', image: 'process', command: ['sleep', '1000'], securityContext: { seccompProfile } }],
  });
  const waiting = () => runtime.container('profile', 'c')?.state?.waiting;
  await until('CreateContainerConfigError', () => waiting()?.reason === 'CreateContainerConfigError');
  assert.match(waiting()?.message ?? '', 'cannot load seccomp profile "audit.json"');
});

test('another user of the host cannot read the volumes and logs of a pod', async ({ runtime }) => {
  runtime.configMap('settings', { password: 'secret' });
  runtime.pod('private', {
    containers: [
      {
        name: 'c',
        image: 'process',
        command: ['sleep', '1000'],
        volumeMounts: [{ name: 'settings', mountPath: '/settings' }],
      },
    ],
    volumes: [{ name: 'settings', configMap: { name: 'settings' } }],
  });
  await runtime.ready('private');
  const pods = join(runtime.stateDir, 'pods');
  const file = execFileSync('find', [pods, '-name', 'password'], { encoding: 'utf8' }).trim().split('\n')[0] ?? '';
  assert.ok(existsSync(file), file);
  assert.is(statSync(pods).mode & 0o777, 0o700);
  const nobody = spawnSync('setpriv', ['--reuid=65534', '--regid=65534', '--clear-groups', 'cat', file], {
    encoding: 'utf8',
  });
  assert.is(nobody.stdout, '');
  assert.match(nobody.stderr, 'Permission denied');
  assert.ok(runtime.status('private').containerStatuses?.[0]?.ready, NAMESPACE);
});

test.run();
