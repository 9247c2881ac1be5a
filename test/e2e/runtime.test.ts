/**
 * Pods as real processes in real namespaces. Needs root; runs itself again inside a network namespace of its own, which
 * plays the node.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { cleanupAll } from '../../src/runtime/cleanup.ts';
import { seededRandom } from '../lib/seeded-random.ts';
import { NAMESPACE, RUN, run, until, World } from './runtime-world.ts';

const NODE = `dprt-node-${RUN}`;

const NGINX_CONF = `user nginx;
error_log /var/log/nginx/error.log warn;
pid /var/run/nginx.pid;
events { worker_connections 64; }
http {
  include /etc/nginx/mime.types;
  server { listen 80; location / { proxy_pass http://127.0.0.1:5000; } }
}
`;

const mc3 = (world: World, name = 'mc3') => {
  world.configMap('mc3-conf', { 'nginx.conf': NGINX_CONF });
  world.pod(name, {
    containers: [
      { name: 'webapp', image: 'training/webapp' },
      {
        name: 'nginx',
        image: 'nginx:alpine',
        ports: [{ name: 'http', containerPort: 80 }],
        volumeMounts: [{ name: 'conf', mountPath: '/etc/nginx/nginx.conf', subPath: 'nginx.conf' }],
        readinessProbe: { httpGet: { path: '/', port: 'http' } },
      },
    ],
    volumes: [{ name: 'conf', configMap: { name: 'mc3-conf' } }],
  });
};

if (process.getuid?.() !== 0) {
  console.log('runtime: skipped, needs root');
} else if (process.env.DPRT_RUN === undefined) {
  run('ip', 'netns', 'add', NODE);
  run('ip', '-n', NODE, 'link', 'set', 'lo', 'up');
  run('ip', '-n', NODE, 'address', 'add', '10.199.0.1/32', 'dev', 'lo');
  const words = [`--net=/run/netns/${NODE}`, '--', process.execPath, fileURLToPath(import.meta.url)];
  const { status } = spawnSync('nsenter', words, { stdio: 'inherit', env: { ...process.env, DPRT_RUN: RUN } });
  spawnSync('ip', ['netns', 'delete', NODE]);
  process.exitCode = status ?? 1;
} else if (process.argv[2] !== undefined) {
  // To be killed by the test that started it.
  const world = new World(process.argv[2]);
  mc3(world);
  await world.ready('mc3');
  console.log('ready');
  setInterval(() => {}, 1000);
} else {
  const test = suite<{ world: World }>('runtime');
  const left: string[] = [];
  test.before.each((context) => {
    context.world = new World();
  });
  test.after.each(async ({ world }) => {
    await world.close();
    // Told at the end: uvu takes an error thrown here for the end of the suite.
    left.push(...world.leftovers());
  });

  test('two containers share network and hostname; nothing else, and nothing reaches the host', async ({ world }) => {
    const start = Date.now();
    mc3(world);
    await world.ready('mc3');
    console.log(`ready after ${Date.now() - start} ms`);
    assert.is(world.get('mc3'), 'Hello world!');
    assert.is(world.exec('mc3', 'nginx', 'hostname').trim(), 'mc3');
    assert.match(world.exec('mc3', 'webapp', 'cat', '/etc/hosts'), new RegExp(`${world.status('mc3').podIP}\tmc3`));
    assert.match(world.exec('mc3', 'nginx', 'cat', '/proc/1/cmdline'), /^nginx: master process/);
    assert.match(world.exec('mc3', 'nginx', 'id', 'nginx'), /uid=101/);
    const net = (pid: number, kind: string) => readlinkSync(`/proc/${pid}/ns/${kind}`);
    const [nginx, webapp, pause] = [
      world.mainPid('mc3', 'nginx'),
      world.mainPid('mc3', 'webapp'),
      world.pausePid('mc3'),
    ];
    for (const kind of ['net', 'uts', 'ipc']) {
      assert.is(net(nginx, kind), net(pause, kind));
      assert.is(net(webapp, kind), net(pause, kind));
    }
    for (const kind of ['mnt', 'pid']) assert.is.not(net(nginx, kind), net(webapp, kind));
    world.exec('mc3', 'nginx', 'sh', '-c', 'echo x > /etc/dprt-written; echo x > /usr/dprt-written; rm /etc/fstab');
    assert.not(existsSync('/etc/dprt-written'));
    assert.not(existsSync('/usr/dprt-written'));
    assert.throws(() => world.exec('mc3', 'webapp', 'cat', '/etc/dprt-written'));
    assert.throws(() => world.exec('mc3', 'nginx', 'sh', '-c', 'echo x > /proc/sys/kernel/core_pattern'));
    assert.throws(() => world.exec('mc3', 'nginx', 'mount', '-t', 'tmpfs', 'x', '/mnt'), /denied|permitted|superuser/);
    assert.throws(() => world.exec('mc3', 'nginx', 'ls', '/run/netns'), /No such file/);
    assert.match(world.exec('mc3', 'nginx', 'env'), /^HOSTNAME=mc3$/m);
  });

  test('an agent that is gone changes nothing; the next one takes over', async ({ world }) => {
    mc3(world);
    await world.ready('mc3');
    const before = [world.mainPid('mc3', 'nginx'), world.mainPid('mc3', 'webapp'), world.pausePid('mc3')];
    await world.manager.close({ keepPods: true });
    assert.is(world.get('mc3'), 'Hello world!');
    world.start();
    world.sync();
    await until('attached again', () => world.attached.filter((name) => name === 'mc3').length === 2);
    assert.equal([world.mainPid('mc3', 'nginx'), world.mainPid('mc3', 'webapp'), world.pausePid('mc3')], before);
    assert.ok(world.isReady('mc3'));
    process.kill(before[1]!, 'SIGKILL');
    await until('restart', () => world.container('mc3', 'webapp')?.restartCount === 1);
    assert.is(world.container('mc3', 'webapp')?.lastState?.terminated?.exitCode, 137);
    await until('served again', () => attempt(() => world.get('mc3')) === 'Hello world!');
    assert.is(world.container('mc3', 'nginx')?.restartCount, 0);
  });

  test('kill -9 of the agent at any moment: the next one finds or makes the pod, and can take it all away', async ({
    world,
  }) => {
    const random = seededRandom(7);
    for (let round = 0; round < 12; round++) {
      const words = [fileURLToPath(import.meta.url), world.stateDir];
      const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] });
      const exit = once(child, 'exit');
      // The first rounds somewhere on the way, the last when all is up.
      if (round < 10) await sleep(100 + random.below(250));
      else await Promise.race([once(child.stdout, 'data'), exit]);
      child.kill('SIGKILL');
      assert.equal(await exit, [null, 'SIGKILL'], 'it must not end by itself');
      const whole =
        round < 10 ? [] : [world.mainPid('mc3', 'nginx'), world.mainPid('mc3', 'webapp'), world.pausePid('mc3')];
      const next = new World(world.stateDir);
      const known = readdirSync(`${world.stateDir}/pods`).length > 0;
      if (known && existsSync(`${world.stateDir}/pods/${NAMESPACE}_mc3/state.json`)) {
        mc3(next);
        await next.ready('mc3');
        assert.is(next.get('mc3'), 'Hello world!');
        const now = [next.mainPid('mc3', 'nginx'), next.mainPid('mc3', 'webapp'), next.pausePid('mc3')];
        if (round >= 10) assert.equal(now, whole);
      }
      if (round % 2 === 0) await next.manager.close({ keepPods: false });
      else {
        await next.manager.close({ keepPods: true });
        await cleanupAll(world.stateDir);
      }
      assert.equal(next.leftovers(), [], `round ${round}`);
    }
  });

  test('a container that ends while no agent runs: its status is known all the same', async ({ world }) => {
    world.pod('once', {
      restartPolicy: 'Never',
      containers: [{ name: 'c', image: 'process', command: ['sh', '-c', 'echo said; sleep 0.5; exit 7'] }],
    });
    await until('running', () => world.container('once', 'c')?.state?.running);
    await world.manager.close({ keepPods: true });
    await sleep(700);
    world.start();
    world.sync();
    await until('failed', () => world.status('once').phase === 'Failed');
    const { terminated } = world.container('once', 'c')!.state!;
    assert.is(terminated?.exitCode, 7);
    assert.is(terminated?.message, 'said\n');
  });

  test('killing pause makes the whole pod anew with the same address', async ({ world }) => {
    mc3(world);
    await world.ready('mc3');
    const { podIP } = world.status('mc3');
    const old = world.pausePid('mc3');
    process.kill(old, 'SIGKILL');
    await until('new sandbox', () => world.container('mc3', 'nginx')?.restartCount === 1);
    await world.ready('mc3');
    assert.is.not(world.pausePid('mc3'), old);
    assert.is(world.status('mc3').podIP, podIP);
    assert.is(world.container('mc3', 'webapp')?.restartCount, 1);
    assert.ok(world.events.some((event) => event.includes('SandboxChanged')));
    assert.is(world.get('mc3'), 'Hello world!');
  });

  test('deleting: everything is gone, then the API is told', async ({ world }) => {
    mc3(world);
    await world.ready('mc3');
    const start = Date.now();
    world.delete('mc3');
    await until('confirmed', () => world.deleted.includes('mc3'));
    assert.ok(Date.now() - start < 1500, `took ${Date.now() - start} ms`);
    assert.equal(world.leftovers(), []);
    assert.equal(world.attached, ['mc3', '-mc3']);
  });

  test('a process that ends again and again backs off, with its last words in the status', async ({ world }) => {
    const command = ['sh', '-c', 'echo "cannot go on" >&2; exit 3'];
    world.pod('crash', { containers: [{ name: 'c', image: 'process', command }] });
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

  test('two containers on one port: the second fails with the kernel’s own words', async ({ world }) => {
    const container = (name: string) => ({ name, image: 'nginx' });
    world.pod('clash', { containers: [container('first'), container('second')] });
    const status = await until('failure', () => world.container('clash', 'second')?.lastState?.terminated, 15_000);
    assert.is(status.exitCode, 1);
    assert.match(status.message ?? '', /bind\(\) to 0\.0\.0\.0:80 failed \(98: Address already in use\)/);
    assert.ok(world.container('clash', 'first')?.ready);
    assert.match(world.get('clash'), /Welcome to nginx!/);
  });

  test('stopping a command without a handler for SIGTERM takes no grace', async ({ world }) => {
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

  test('a mounted ConfigMap follows its changes, a missing one is waited for', async ({ world }) => {
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

  test('what cannot be started says why', async ({ world }) => {
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

  test('restartContainer: a new instance at once, the network stays', async ({ world }) => {
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

  test('a pod of the same name with another uid replaces the first', async ({ world }) => {
    const containers = [{ name: 'c', image: 'process', command: ['sleep', '1000'] }];
    world.pod('twin', { containers });
    await world.ready('twin');
    const old = world.mainPid('twin', 'c');
    world.pods.delete('twin');
    world.pod('twin', { containers }, 'another-uid');
    await world.ready('twin');
    assert.is.not(world.mainPid('twin', 'c'), old);
    assert.not(existsSync(`/proc/${old}`));
  });

  test('a terminal inside; exit status and environment come through', async ({ world }) => {
    world.pod('tty', {
      containers: [{ name: 'c', image: 'process', command: ['sleep', '1000'], env: [{ name: 'X', value: 'y z' }] }],
    });
    await world.ready('tty');
    const { execCommand } = await import('../../src/runtime/exec.ts');
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

  test('cleanupAll needs no manager, and spares whoever got a recorded pid since', async ({ world }) => {
    mc3(world);
    await world.ready('mc3');
    await world.manager.close({ keepPods: true });
    const directory = `${world.stateDir}/pods/${NAMESPACE}_mc3`;
    const stranger = spawnSync('sh', ['-c', 'sleep 30 >/dev/null 2>&1 & echo $!'], { encoding: 'utf8' }).stdout.trim();
    try {
      const stat = readFileSync(`/proc/${stranger}/stat`, 'utf8').split(' ');
      stat[21] = '1';
      execFileSync('mkdir', [`${directory}/run/other`]);
      writeFileSync(`${directory}/run/other/pid`, stat.join(' '));
      await cleanupAll(world.stateDir);
      assert.equal(world.leftovers(), []);
      assert.ok(existsSync(`/proc/${stranger}`));
    } finally {
      process.kill(Number(stranger), 'SIGKILL');
    }
    assert.equal(readdirSync(world.stateDir), ['pods']);
  });

  test('none of all this left anything behind', () => {
    assert.equal(left, []);
  });

  test.run();
}

function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}
