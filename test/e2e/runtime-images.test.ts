/** Containers whose root is an image: what they see, what they change, how they start, restart and end. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import type { Container } from '../../src/api/types/objects.ts';
import { findProgram } from '../../src/linux/find-program.ts';
import { execCommand } from '../../src/runtime/container/exec.ts';
import { resolvConfPath } from '../../src/runtime/container/resolv-conf.ts';
import { loadImages } from '../../src/runtime/image/load/load.ts';
import { ImageStore } from '../../src/runtime/image/store/store.ts';
import { OciRuntimes } from '../../src/runtime/oci/runtimes.ts';
import { dockerArchive, type Entry, hostPrograms, type ImageParts, tar } from '../lib/images/make-image.ts';
import { attempt, NAMESPACE, type RuntimeFixture, until } from './runtime-fixture.ts';
import { runtimeSuite } from './runtime-suite.ts';

const { test, left } = runtimeSuite('runtime: images', import.meta.url);

const work = mkdtempSync('/run/dp-images-');
process.env.DATAPLANE_IMAGES = join(work, 'store');
const store = new ImageStore();

async function load(...images: ImageParts[]): Promise<void> {
  const file = join(work, 'image.tar');
  writeFileSync(file, await dockerArchive(images));
  await loadImages(file, { store, names: [], maxBytes: 2 ** 30, onProgress: () => {} });
}

const TOOLS = ['cat', 'ls', 'id', 'mkdir', 'rm', 'tty', 'ln', 'mount', 'mknod', 'env', 'readlink'].concat([
  ...['unshare', 'true', 'grep'],
]);
const base: Entry[] = [
  ...hostPrograms({
    '/bin/sh': '/bin/dash',
    '/bin/sleep': '/bin/sleep',
    '/bin/nc': '/bin/nc.openbsd',
    ...Object.fromEntries(
      TOOLS.map((name) => [`/bin/${name}`, execFileSync('which', [name], { encoding: 'utf8' }).trim()]),
    ),
  }),
  { name: 'etc/passwd', content: 'root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001::/home/web:/bin/sh\n' },
  { name: 'etc/group', content: 'root:x:0:\nweb:x:1001:\nmore:x:2000:web\n' },
  // As in images of a host with systemd-resolved: it must not be followed.
  { name: 'etc/resolv.conf', type: 'symlink', linkname: '/etc/passwd' },
  { name: 'tmp/', type: 'directory', mode: 0o1777 },
  { name: 'app/hello', content: 'from the image\n' },
];
const shop: ImageParts = {
  names: ['shop:1'],
  layers: [await tar(base), await tar([{ name: 'app/second', content: 'from above\n' }])],
  config: { Env: ['PATH=/bin', 'FROM=image', 'KEPT=yes'], WorkingDir: '/app' },
};
await load(shop);

/** A container of the image that runs a script. */
const container = (script: string, more: Partial<Container> = {}): Container => ({
  name: 'c',
  image: 'docker.io/library/shop:1',
  command: ['sh', '-c', script],
  ...more,
});

async function logged(runtime: RuntimeFixture, pod: string, end: string): Promise<string[]> {
  await until(`${pod} printed ${end}`, () => attempt(() => runtime.log(pod, 'c'))?.includes(end)).catch(
    (error: Error) => {
      throw new Error(`${error.message}\n${JSON.stringify(runtime.status(pod))}\n${runtime.events.join('\n')}`);
    },
  );
  return runtime.log(pod, 'c').trimEnd().split('\n');
}

test('a container has the files of its image, all layers together, and nothing of the host', async ({ runtime }) => {
  const script = 'cat hello second; ls /; ls /home /var /usr 2>&1; echo end; exec sleep 1000';
  runtime.pod('files', { containers: [container(script)] });
  const lines = await logged(runtime, 'files', 'end');
  assert.equal(lines.slice(0, 2), ['from the image', 'from above']);
  const top = lines.slice(2, lines.indexOf('tmp') + 1);
  const own = ['app', 'bin', 'dev', 'etc', 'lib', 'lib64', 'proc', 'sys', 'tmp', 'usr'];
  assert.equal(
    top.filter((name) => !own.includes(name)),
    [],
  );
});

test('environment, working directory, user and command follow the image and the manifest', async ({ runtime }) => {
  await load({
    ...shop,
    names: ['web:1'],
    config: {
      ...shop.config,
      User: 'web',
      Entrypoint: ['sh', '-c'],
      Cmd: ['id -u; id -g; id -G; echo $HOME $FROM $KEPT; readlink /proc/self/cwd; echo end; exec sleep 1000'],
    },
  });
  runtime.pod('user', { containers: [{ name: 'c', image: 'web:1', env: [{ name: 'FROM', value: 'manifest' }] }] });
  assert.equal(await logged(runtime, 'user', 'end'), [
    '1000',
    '1001',
    '1001 2000',
    '/home/web manifest yes',
    '/app',
    'end',
  ]);
  const args = ['id -u; echo $HOME; readlink /proc/self/cwd; echo end; exec sleep 1000'];
  const manifest = { args, workingDir: '/tmp/new', securityContext: { runAsUser: 7 } } as Partial<Container>;
  runtime.pod('other', { containers: [{ name: 'c', image: 'web:1', ...manifest }] });
  assert.equal(await logged(runtime, 'other', 'end'), ['7', '/', '/tmp/new', 'end']);
});

test('a container has the pod’s own hosts, hostname and resolv.conf; links in the image are not followed', async ({
  runtime,
}) => {
  const script = 'cat /etc/hostname; cat /etc/hosts; cat /etc/passwd; echo end; exec sleep 1000';
  runtime.pod('etc', {
    containers: [container(script)],
    dnsPolicy: 'None',
    dnsConfig: { nameservers: ['10.96.0.10'] },
  });
  const lines = await logged(runtime, 'etc', 'end');
  assert.is(lines[0], 'etc');
  assert.ok(lines.includes('127.0.0.1\tlocalhost'));
  assert.ok(lines.includes('root:x:0:0:root:/root:/bin/sh'));
  assert.is(runtime.exec('etc', 'c', 'cat', '/etc/resolv.conf'), 'nameserver 10.96.0.10\n');
  const outside = resolvConfPath(runtime.stateDir, NAMESPACE, 'etc');
  assert.is(outside && readFileSync(outside, 'utf8'), 'nameserver 10.96.0.10\n', 'for `dns query --from`');
});

test('what a container writes is gone when it restarts, and never reaches the layers', async ({ runtime }) => {
  const script = 'ls /app; echo changed > /app/hello; rm /app/second; mkdir /app/new; echo end; exec sleep 1000';
  runtime.pod('writes', { containers: [container(script)] });
  assert.equal(await logged(runtime, 'writes', 'end'), ['hello', 'second', 'end']);
  assert.is(runtime.exec('writes', 'c', 'cat', '/app/hello'), 'changed\n');
  await runtime.manager.restartContainer(NAMESPACE, 'writes', 'c');
  assert.equal(await logged(runtime, 'writes', 'end'), ['hello', 'second', 'end']);
  // A message of the shell that waits for the container would be here.
  const previous = join(runtime.stateDir, 'pods', `${NAMESPACE}_writes`, 'c.previous.log');
  assert.is(readFileSync(previous, 'utf8'), 'hello\nsecond\nend\n');
  const layers = store.find('shop:1')!.layers.map((name) => join(store.layers, name));
  assert.is(readFileSync(join(layers[0]!, 'app/hello'), 'utf8'), 'from the image\n');
  assert.ok(existsSync(join(layers[1]!, 'app/second')));
  assert.equal(readdirSync(join(layers[0]!, 'app')), ['hello']);
});

test('exec runs a command with the container’s user, environment, root and working directory', async ({ runtime }) => {
  const web = { names: ['web:2'], config: { ...shop.config, User: 'web:2000' } };
  await load({ ...shop, ...web });
  runtime.pod('exec', { containers: [container('exec sleep 1000', { image: 'web:2' })] });
  await runtime.ready('exec');
  assert.is(runtime.exec('exec', 'c', 'id'), 'uid=1000(web) gid=2000(more) groups=2000(more)\n');
  assert.is(
    runtime.exec('exec', 'c', 'sh', '-c', 'echo $KEPT $HOME; readlink /proc/self/cwd'),
    'yes /home/web\n/app\n',
  );
  assert.match(runtime.exec('exec', 'c', 'ls', '/proc'), /^1\n/);
  const request = { stateDir: runtime.stateDir, namespace: NAMESPACE, pod: 'exec', container: 'c' };
  const status = (...command: string[]) => {
    const { file, args } = execCommand({ ...request, command });
    return spawnSync(file, args, { encoding: 'utf8' });
  };
  assert.is(status('sh', '-c', 'exit 3').status, 3);
  const missing = status('absent');
  assert.is(missing.status, 127);
  assert.match(missing.stderr, 'exec: "absent": executable file not found in $PATH');
  assert.is(status('/app/hello').status, 126);
  assert.is(status('sh', '-c', 'kill -9 $$').signal, 'SIGKILL');
});

test('exec -t has a terminal', async ({ runtime }) => {
  runtime.pod('tty', { containers: [container('exec sleep 1000')] });
  await runtime.ready('tty');
  const request = {
    stateDir: runtime.stateDir,
    namespace: NAMESPACE,
    pod: 'tty',
    command: ['sh', '-c', 'test -t 0 && echo terminal'],
    tty: true,
  };
  const { file, args } = execCommand(request);
  const words = [file, ...args].map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
  const { stdout } = spawnSync('script', ['-qec', words, '/dev/null'], { encoding: 'utf8', input: '' });
  assert.match(stdout, /terminal\r\n/);
});

test('a container with tty has /dev/pts/0 as its terminal', async ({ runtime }) => {
  runtime.pod('tty', { containers: [container('tty; echo end; exec sleep 1000', { tty: true, stdin: true })] });
  assert.match((await logged(runtime, 'tty', 'end'))[0]!, /^\/dev\/pts\/0/);
});

test('volumes, subPath and the termination message work as in every container', async ({ runtime }) => {
  runtime.configMap('conf', { 'app.conf': 'one\n', other: 'two\n' });
  const script = 'cat /app/hello /conf/other; echo kept > /data/file; echo why > /dev/termination-log; exit 4';
  runtime.pod('volumes', {
    restartPolicy: 'Never',
    containers: [
      container(script, {
        volumeMounts: [
          { name: 'conf', mountPath: '/app/hello', subPath: 'app.conf' },
          { name: 'conf', mountPath: '/conf' },
          { name: 'data', mountPath: '/data' },
        ],
      }),
      {
        ...container('until cat /data/file; do sleep 0.1; done; exec sleep 1000'),
        name: 'reader',
        volumeMounts: [{ name: 'data', mountPath: '/data', readOnly: true }],
      },
    ],
    volumes: [
      { name: 'conf', configMap: { name: 'conf' } },
      { name: 'data', emptyDir: {} },
    ],
  });
  await until('the end', () => runtime.container('volumes', 'c')?.state?.terminated);
  const { terminated } = runtime.container('volumes', 'c')!.state!;
  assert.is(terminated!.exitCode, 4);
  assert.is(terminated!.message, 'why\n');
  assert.is(runtime.log('volumes', 'c'), 'one\ntwo\n');
  await until(
    'the reader',
    () => runtime.log('volumes', 'reader') === 'kept\n' || runtime.log('volumes', 'reader').endsWith('\nkept\n'),
  );
  assert.throws(() => runtime.exec('volumes', 'reader', 'sh', '-c', 'echo x > /data/more'), 'Read-only file system');
});

test('probes: exec by the image’s program, HTTP against its server', async ({ runtime }) => {
  const serve =
    'while :; do printf "HTTP/1.0 200 OK\\r\\nContent-Length: 3\\r\\n\\r\\nyes" | nc -N -l 80 >/dev/null; done';
  runtime.pod('probes', {
    containers: [
      container(serve, {
        startupProbe: { exec: { command: ['cat', '/app/hello'] }, timeoutSeconds: 10 },
        readinessProbe: { httpGet: { path: '/', port: 80 }, timeoutSeconds: 5 },
      }),
    ],
  });
  await runtime.ready('probes', 20_000);
  await until('an answer', () => attempt(() => runtime.get('probes')) === 'yes');
});

test('securityContext: read-only root, no new privileges, capabilities, groups', async ({ runtime }) => {
  const script = [
    'mkdir /app/new 2>/dev/null || echo read-only',
    'echo x > /data/file && cat /data/file',
    'while read -r name value; do case $name in NoNewPrivs:|CapBnd:|CapEff:) echo "$name $value";; esac; done < /proc/self/status',
    'id -G; echo end; exec sleep 1000',
  ];
  const securityContext = {
    readOnlyRootFilesystem: true,
    allowPrivilegeEscalation: false,
    capabilities: { drop: ['ALL'], add: ['CHOWN'] },
  };
  const volumeMounts = [{ name: 'data', mountPath: '/data' }];
  runtime.pod('secure', {
    containers: [container(script.join('; '), { securityContext, volumeMounts, workingDir: '/made' })],
    volumes: [{ name: 'data', emptyDir: {} }],
    securityContext: { supplementalGroups: [77] },
  });
  assert.equal(await logged(runtime, 'secure', 'end'), [
    ...['read-only', 'x', 'CapEff: 0000000000000001', 'CapBnd: 0000000000000001', 'NoNewPrivs: 1', '0 77', 'end'],
  ]);
  const inside = runtime.exec('secure', 'c', 'cat', '/proc/self/status');
  assert.match(inside, /^CapBnd:\t0000000000000001\n/m);
  assert.match(inside, /^NoNewPrivs:\t1\n/m);
});

/** Each prints a line if it succeeds. */
const ESCAPES = [
  'mknod /tmp/mem c 1 1 && cat /tmp/mem > /dev/null',
  'mknod /dev/loop b 7 0 && cat /dev/loop > /dev/null',
  'mount -t tmpfs none /tmp',
  'mount -o remount,rw /sys',
  'mount --bind /proc/1/root /tmp',
  'echo x > /proc/sys/kernel/hostname',
  'echo 1 > /proc/sys/net/ipv4/ip_forward',
  'echo h > /proc/sysrq-trigger',
  'echo x > /sys/kernel/uevent_helper',
  'cat /proc/kcore',
  'test -s /proc/keys',
  'ls /.host',
  'ls /run/dataplane',
  'ls /run/netns',
  'ls /../../../../boot',
  'ls /proc/1/root/boot',
  'ls /proc/self/root/../boot',
  'ls -d /proc/[2-9]*/root/boot',
  'ls /dev/net/tun',
  'ls /dev/mem /dev/kmsg',
  'ls /dev/shm/dataplane-n1-conntrack',
  'kill -9 2 3 4 5 6 7',
  'echo x > /proc/self/exe',
  'echo -1000 > /proc/self/oom_score_adj',
  'echo /tmp/x > /proc/sys/kernel/core_pattern',
  'echo 3 > /proc/sys/vm/drop_caches',
  'mount -o remount,rw /proc/sys && echo 3 > /proc/sys/vm/drop_caches',
  'mount -t cgroup none /tmp || mount -t cgroup2 none /tmp',
  'mkdir /sys/fs/cgroup/mine || echo 0 > /sys/fs/cgroup/memory/cgroup.procs',
  'unshare --mount true',
  'unshare --cgroup true',
  'for fd in /proc/self/fd/*; do ls "$fd/boot" && exit 0; done; exit 1',
  'ln -s /proc/1/root/.. /tmp/up && ls /tmp/up/boot',
  'ls -d /sys/firmware/* /proc/scsi/* /sys/kernel/security/*',
  'test -s /proc/timer_list',
  'ls /run/dataplane/nodes/n1 || ls /var/run/dataplane',
  'grep dataplane /proc/self/cgroup',
];

test('from inside an image nothing of the host is reached', async ({ runtime }) => {
  const attempts = ESCAPES.map((attempt, i) => `(${attempt}) >/dev/null 2>&1 && echo "${i}: escaped"`).join('\n');
  runtime.pod('escape', { containers: [container(`${attempts}\necho end; exec sleep 1000`)] });
  assert.equal(await logged(runtime, 'escape', 'end'), ['end']);
  const mounts = runtime.exec('escape', 'c', 'cat', '/proc/self/mountinfo');
  assert.equal(
    mounts.split('\n').filter((line) => / - (?:ext4|xfs|btrfs) /.test(line) && !line.includes('/dev/')),
    [],
  );
});

test('the attempts can fail: a container with all capabilities succeeds with some of them', async ({ runtime }) => {
  const attempts = ['mount -t tmpfs none /tmp', 'unshare --mount true', 'unshare --cgroup true'];
  const script = attempts.map((attempt, i) => `(${attempt}) >/dev/null 2>&1 && echo "${i}: possible"`).join('\n');
  const securityContext = { privileged: true };
  runtime.pod('mighty', { containers: [container(`${script}\necho end; exec sleep 1000`, { securityContext })] });
  assert.equal(await logged(runtime, 'mighty', 'end'), ['0: possible', '1: possible', '2: possible', 'end']);
});

test('seccompProfile RuntimeDefault filters system calls of the container and of what is executed in it', async ({
  runtime,
}) => {
  const script =
    'unshare --user /bin/true 2>&1 && echo possible; grep ^Seccomp: /proc/self/status; echo end; exec sleep 1000';
  const filtered = { securityContext: { seccompProfile: { type: 'RuntimeDefault' as const } } };
  runtime.pod('filtered', { ...filtered, containers: [container(script)] });
  assert.equal((await logged(runtime, 'filtered', 'end')).slice(1), ['Seccomp:\t2', 'end']);
  assert.match(runtime.exec('filtered', 'c', 'grep', '^Seccomp:', '/proc/self/status'), /^Seccomp:\t2$/m);
  const unconfined = { securityContext: { seccompProfile: { type: 'Unconfined' as const } } };
  runtime.pod('unfiltered', { ...filtered, containers: [container(script, unconfined)] });
  assert.equal(await logged(runtime, 'unfiltered', 'end'), ['possible', 'Seccomp:\t0', 'end']);
});

test('a container that uses more memory than its limit is OOMKilled', async ({ runtime }) => {
  const script = 'x=0123456789abcdef; while :; do x=$x$x; done';
  const resources = { limits: { memory: '24Mi' } };
  runtime.pod('hungry', { restartPolicy: 'Never', containers: [container(script, { resources })] });
  const ended = await until('hungry', () => runtime.container('hungry', 'c')?.state?.terminated, 20_000);
  assert.equal([ended.reason, ended.exitCode], ['OOMKilled', 137]);
});

test('an agent that starts again knows its containers, and how they end', async ({ runtime }) => {
  runtime.pod('kept', {
    restartPolicy: 'Never',
    containers: [container('while [ ! -e /end ]; do sleep 0.1; done; exit 7')],
  });
  await until('running', () => runtime.container('kept', 'c')?.state?.running);
  const pid = runtime.mainPid('kept', 'c');
  await runtime.manager.close({ keepPods: true });
  runtime.start();
  runtime.sync();
  assert.is(runtime.mainPid('kept', 'c'), pid);
  runtime.exec('kept', 'c', 'mkdir', '/end');
  const ended = await until('kept', () => runtime.container('kept', 'c')?.state?.terminated);
  assert.is(ended.exitCode, 7);
});

test('if what waits for a container is killed, the container ends and is started again', async ({ runtime }) => {
  runtime.pod('orphan', { containers: [container('exec sleep 1000')] });
  await runtime.ready('orphan');
  const pid = runtime.mainPid('orphan', 'c');
  const parent = Number(/^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  process.kill(parent, 'SIGKILL');
  await until('started again', () => runtime.container('orphan', 'c')?.restartCount === 1 && runtime.isReady('orphan'));
  assert.not.ok(existsSync(`/proc/${pid}`));
});

test('a runtime that is installed and works is used without being asked for', async ({ runtime }) => {
  const log: string[] = [];
  const runtimes = new OciRuntimes('auto', runtime.stateDir, runtime.manager.groups, (line) => log.push(line));
  const found = await runtimes.find();
  const expected = findProgram('crun') === undefined ? findProgram('runc') : findProgram('crun');
  assert.is(found?.path, expected, log.join('\n'));
});

test('a runtime that is installed but does not work is not used, and the log says why', async ({ runtime }) => {
  const programs = join(work, 'programs');
  mkdirSync(programs, { recursive: true });
  for (const name of ['crun', 'runc'])
    writeFileSync(join(programs, name), `#!/bin/sh\necho '${name}: no such luck' >&2\nexit 1\n`, { mode: 0o755 });
  const path = process.env.PATH;
  process.env.PATH = `${programs}:${path}`;
  const log: string[] = [];
  const runtimes = new OciRuntimes('auto', runtime.stateDir, runtime.manager.groups, (line) => log.push(line));
  assert.is(await runtimes.find(), undefined);
  process.env.PATH = path;
  assert.is(log.length, 2, log.join('\n'));
  assert.match(log[0]!, `containers are not started by ${programs}/crun, which does not work here: `);
});

test('a descriptor of the launcher is no working directory, and its program no interpreter', async ({ runtime }) => {
  const numbers = [3, 4, 5, 8, 12, 18, 20, 22];
  const exe = await tar([{ name: 'app/exe', content: '#!/proc/self/exe\n' }]);
  await load({ ...shop, names: ['exe:1'], layers: [...shop.layers, exe] });
  runtime.pod('descriptors', {
    restartPolicy: 'Never',
    containers: [
      ...numbers.map((fd) => ({
        ...container('ls ../../../..', { workingDir: `/proc/self/fd/${fd}` }),
        name: `fd${fd}`,
      })),
      { ...container('', { image: 'exe:1' }), name: 'exe', command: ['/app/exe'] },
    ],
  });
  const names = [...numbers.map((fd) => `fd${fd}`), 'exe'];
  await until(
    'all ended',
    () => names.every((name) => runtime.container('descriptors', name)?.state?.terminated),
    60_000,
  );
  for (const name of names) {
    assert.not.match(attempt(() => runtime.log('descriptors', name)) ?? '', /^(boot|home|root)$/m);
    assert.is.not(runtime.container('descriptors', name)?.state?.terminated?.exitCode, 0, name);
  }
});

test('the stop signal is the image’s', async ({ runtime }) => {
  await load({ ...shop, names: ['quits:1'], config: { ...shop.config, StopSignal: 'SIGUSR1' } });
  const script = 'trap "echo got USR1; exit 0" USR1; echo ready; while :; do sleep 0.05; done';
  runtime.pod('quits', { containers: [container(script, { image: 'quits:1' })], restartPolicy: 'Never' });
  await logged(runtime, 'quits', 'ready');
  await runtime.manager.restartContainer(NAMESPACE, 'quits', 'c');
  assert.is(runtime.log('quits', 'c'), 'ready\ngot USR1\n');
});

test('a command that cannot be started is a StartError with the reason', async ({ runtime }) => {
  const commands: [string, Partial<Container>, RegExp][] = [
    ['absent', { command: ['absent'] }, /^exec: "absent": executable file not found in \$PATH/],
    ['no-file', { command: ['/no/file'] }, /^exec: "\/no\/file": no such file or directory/],
    ['no-program', { command: ['/etc/passwd'] }, /^exec\b.*\/etc\/passwd\W*(permission denied|exec format error)/i],
  ];
  for (const [name, more] of commands) runtime.pod(name, { restartPolicy: 'Never', containers: [container('', more)] });
  for (const [name, , message] of commands) {
    const ended = await until(name, () => runtime.container(name, 'c')?.state?.terminated);
    assert.match(ended.message ?? runtime.log(name, 'c'), message);
    // The kernel refuses it when an OCI runtime has already reported the start.
    assert.is(ended.exitCode, name === 'no-program' && process.env.DPRT_RUNTIME ? 1 : 128);
  }
  await load({ ...shop, names: ['nobody:1'], config: { ...shop.config, User: 'absent' } });
  runtime.pod('user', { restartPolicy: 'Never', containers: [container('', { image: 'nobody:1' })] });
  const ended = await until('user', () => runtime.container('user', 'c')?.state?.terminated);
  assert.is(ended.message, 'unable to find user absent: no matching entries in passwd file');
});

test('an image that this machine does not have: ErrImagePull, ImagePullBackOff with advice, and a start as soon as it is loaded', async ({
  runtime,
}) => {
  runtime.pod('later', { containers: [container('exec sleep 1000', { image: 'example.com/later:1' })] });
  const waiting = () => runtime.container('later', 'c')?.state?.waiting;
  await until('ErrImagePull', () => waiting()?.reason === 'ErrImagePull');
  assert.match(waiting()?.message ?? '', 'dataplane image load');
  await until('ImagePullBackOff', () => waiting()?.reason === 'ImagePullBackOff');
  assert.match(
    waiting()?.message ?? '',
    /^Back-off pulling image "example.com\/later:1": ErrImagePull: .*dataplane image load/,
  );
  runtime.pod('never', { containers: [container('', { image: 'example.com/later:1', imagePullPolicy: 'Never' })] });
  await until('never', () => runtime.container('never', 'c')?.state?.waiting?.reason === 'ErrImageNeverPull');
  runtime.pod('wrong', { containers: [container('', { image: 'No Name' })] });
  await until('wrong', () => runtime.container('wrong', 'c')?.state?.waiting?.reason === 'InvalidImageName');
  const events = runtime.events
    .filter((event) => event.startsWith('later '))
    .map((event) => event.replace(/advice.*/, ''));
  assert.ok(events.some((event) => event.startsWith('later Failed: Failed to pull image "example.com/later:1": ')));
  assert.ok(events.includes('later Failed: Error: ErrImagePull'));
  assert.ok(events.includes('later BackOff: Back-off pulling image "example.com/later:1"'));
  assert.ok(events.includes('later Failed: Error: ImagePullBackOff'));
  await load({ ...shop, names: ['example.com/later:1'] });
  await runtime.ready('later');
  assert.ok(runtime.events.includes('later Pulled: Container image "example.com/later:1" already present on machine'));
  assert.is(runtime.container('later', 'c')?.imageID, store.find('example.com/later:1')!.id);
});

test('a loaded image wins over a program of the catalogue', async ({ runtime }) => {
  runtime.pod('before', {
    containers: [{ name: 'c', image: 'registry.k8s.io/busybox:1.36', command: ['sleep', '1000'] }],
  });
  await runtime.ready('before');
  assert.is(runtime.container('before', 'c')?.imageID, 'catalogue:registry.k8s.io/busybox:1.36');
  await load({ ...shop, names: ['registry.k8s.io/busybox:1.36'] });
  runtime.pod('after', { containers: [container('exec sleep 1000', { image: 'registry.k8s.io/busybox:1.36' })] });
  await runtime.ready('after');
  assert.is(runtime.exec('after', 'c', 'cat', '/app/hello'), 'from the image\n');
});

test('nothing is left: no process, mount, namespace or file', () => {
  assert.equal(left, []);
  assert.equal(
    readFileSync('/proc/mounts', 'utf8')
      .split('\n')
      .filter((line) => line.includes(work)),
    [],
  );
  assert.equal(readdirSync(store.incoming), []);
  rmSync(work, { recursive: true });
});

test.run();
