/** Pods as real processes in real namespaces: sharing, take-over by another agent, and complete removal. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { cleanupAll } from '../../src/runtime/cleanup.ts';
import { seededRandom } from '../lib/seeded-random.ts';
import { attempt, mc3, NAMESPACE, RuntimeFixture, until } from './runtime-fixture.ts';
import { runtimeSuite } from './runtime-suite.ts';

const { test, left } = runtimeSuite('runtime: pods', import.meta.url);
/** An agent with the pod mc3. */
const AGENT = fileURLToPath(new URL('runtime-agent.js', import.meta.url));

test('two containers share network and hostname; nothing else, and nothing reaches the host', async ({ runtime }) => {
  const start = Date.now();
  mc3(runtime);
  await runtime.ready('mc3');
  console.log(`ready after ${Date.now() - start} ms`);
  assert.is(runtime.get('mc3'), 'Hello world!');
  assert.is(runtime.exec('mc3', 'nginx', 'hostname').trim(), 'mc3');
  assert.match(runtime.exec('mc3', 'webapp', 'cat', '/etc/hosts'), new RegExp(`${runtime.status('mc3').podIP}\tmc3`));
  assert.match(runtime.exec('mc3', 'nginx', 'cat', '/proc/1/cmdline'), /^nginx: master process/);
  assert.match(runtime.exec('mc3', 'nginx', 'id', 'nginx'), /uid=101/);
  const net = (pid: number, kind: string) => readlinkSync(`/proc/${pid}/ns/${kind}`);
  const [nginx, webapp, pause] = [
    runtime.mainPid('mc3', 'nginx'),
    runtime.mainPid('mc3', 'webapp'),
    runtime.pausePid('mc3'),
  ];
  for (const kind of ['net', 'uts', 'ipc']) {
    assert.is(net(nginx, kind), net(pause, kind));
    assert.is(net(webapp, kind), net(pause, kind));
  }
  for (const kind of ['mnt', 'pid']) assert.is.not(net(nginx, kind), net(webapp, kind));
  runtime.exec('mc3', 'nginx', 'sh', '-c', 'echo x > /etc/dprt-written; echo x > /usr/dprt-written; rm /etc/fstab');
  assert.not(existsSync('/etc/dprt-written'));
  assert.not(existsSync('/usr/dprt-written'));
  assert.throws(() => runtime.exec('mc3', 'webapp', 'cat', '/etc/dprt-written'));
  assert.throws(() => runtime.exec('mc3', 'nginx', 'sh', '-c', 'echo x > /proc/sys/kernel/core_pattern'));
  assert.throws(() => runtime.exec('mc3', 'nginx', 'mount', '-t', 'tmpfs', 'x', '/mnt'), /denied|permitted|superuser/);
  assert.throws(() => runtime.exec('mc3', 'nginx', 'ls', '/run/netns'), /No such file/);
  assert.match(runtime.exec('mc3', 'nginx', 'env'), /^HOSTNAME=mc3$/m);
});

test('pods keep running without an agent; the next one takes over', async ({ runtime }) => {
  mc3(runtime);
  await runtime.ready('mc3');
  const before = [runtime.mainPid('mc3', 'nginx'), runtime.mainPid('mc3', 'webapp'), runtime.pausePid('mc3')];
  await runtime.manager.close({ keepPods: true });
  assert.is(runtime.get('mc3'), 'Hello world!');
  runtime.start();
  runtime.sync();
  await until('attached again', () => runtime.attached.filter((name) => name === 'mc3').length === 2);
  assert.equal([runtime.mainPid('mc3', 'nginx'), runtime.mainPid('mc3', 'webapp'), runtime.pausePid('mc3')], before);
  assert.ok(runtime.isReady('mc3'));
  process.kill(before[1]!, 'SIGKILL');
  await until('restart', () => runtime.container('mc3', 'webapp')?.restartCount === 1);
  assert.is(runtime.container('mc3', 'webapp')?.lastState?.terminated?.exitCode, 137);
  await until('served again', () => attempt(() => runtime.get('mc3')) === 'Hello world!');
  assert.is(runtime.container('mc3', 'nginx')?.restartCount, 0);
});

test('kill -9 of the agent at any moment: the next one finds or creates the pod, and can remove it completely', async ({
  runtime,
}) => {
  const random = seededRandom(7);
  for (let round = 0; round < 12; round++) {
    const args = [AGENT, runtime.stateDir];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const exit = once(child, 'exit');
    // The first rounds somewhere on the way, the last when all is up.
    if (round < 10) await sleep(100 + random.below(250));
    else await Promise.race([once(child.stdout, 'data'), exit]);
    child.kill('SIGKILL');
    assert.equal(await exit, [null, 'SIGKILL'], 'it must not end by itself');
    const whole =
      round < 10 ? [] : [runtime.mainPid('mc3', 'nginx'), runtime.mainPid('mc3', 'webapp'), runtime.pausePid('mc3')];
    const next = new RuntimeFixture(runtime.stateDir);
    const known = readdirSync(`${runtime.stateDir}/pods`).length > 0;
    if (known && existsSync(`${runtime.stateDir}/pods/${NAMESPACE}_mc3/state.json`)) {
      mc3(next);
      await next.ready('mc3');
      assert.is(next.get('mc3'), 'Hello world!');
      const now = [next.mainPid('mc3', 'nginx'), next.mainPid('mc3', 'webapp'), next.pausePid('mc3')];
      if (round >= 10) assert.equal(now, whole);
    }
    if (round % 2 === 0) await next.manager.close({ keepPods: false });
    else {
      await next.manager.close({ keepPods: true });
      await cleanupAll(runtime.stateDir);
    }
    assert.equal(next.leftovers(), [], `round ${round}`);
  }
});

test('a container that ends while no agent runs: its exit status is still known', async ({ runtime }) => {
  runtime.pod('once', {
    restartPolicy: 'Never',
    containers: [
      { name: 'c', image: 'process', command: ['sh', '-c', 'echo said > /dev/termination-log; sleep 0.5; exit 7'] },
    ],
  });
  await until('running', () => runtime.container('once', 'c')?.state?.running);
  await runtime.manager.close({ keepPods: true });
  await sleep(700);
  runtime.start();
  runtime.sync();
  await until('failed', () => runtime.status('once').phase === 'Failed');
  const { terminated } = runtime.container('once', 'c')!.state!;
  assert.is(terminated?.exitCode, 7);
  assert.is(terminated?.message, 'said\n');
});

test('killing pause recreates the whole pod with the same address', async ({ runtime }) => {
  mc3(runtime);
  await runtime.ready('mc3');
  const { podIP } = runtime.status('mc3');
  const old = runtime.pausePid('mc3');
  process.kill(old, 'SIGKILL');
  await until('new sandbox', () => runtime.container('mc3', 'nginx')?.restartCount === 1);
  await runtime.ready('mc3');
  assert.is.not(runtime.pausePid('mc3'), old);
  assert.is(runtime.status('mc3').podIP, podIP);
  assert.is(runtime.container('mc3', 'webapp')?.restartCount, 1);
  assert.ok(runtime.events.some((event) => event.includes('SandboxChanged')));
  assert.is(runtime.get('mc3'), 'Hello world!');
});

test('deleting: everything is removed before it is reported to the API', async ({ runtime }) => {
  mc3(runtime);
  await runtime.ready('mc3');
  const start = Date.now();
  runtime.delete('mc3');
  await until('confirmed', () => runtime.deleted.includes('mc3'));
  assert.ok(Date.now() - start < 1500, `took ${Date.now() - start} ms`);
  assert.equal(runtime.leftovers(), []);
  assert.equal(runtime.attached, ['mc3', '-mc3']);
});

test('a pod of the same name with another uid replaces the first', async ({ runtime }) => {
  const containers = [{ name: 'c', image: 'process', command: ['sleep', '1000'] }];
  runtime.pod('twin', { containers });
  await runtime.ready('twin');
  const old = runtime.mainPid('twin', 'c');
  runtime.pods.delete('twin');
  runtime.pod('twin', { containers }, 'another-uid');
  await runtime.ready('twin');
  assert.is.not(runtime.mainPid('twin', 'c'), old);
  assert.not(existsSync(`/proc/${old}`));
});

test('cleanupAll needs no manager, and spares a process that was given a recorded pid since', async ({ runtime }) => {
  mc3(runtime);
  await runtime.ready('mc3');
  await runtime.manager.close({ keepPods: true });
  const directory = `${runtime.stateDir}/pods/${NAMESPACE}_mc3`;
  const stranger = spawnSync('sh', ['-c', 'sleep 30 >/dev/null 2>&1 & echo $!'], { encoding: 'utf8' }).stdout.trim();
  try {
    const stat = readFileSync(`/proc/${stranger}/stat`, 'utf8').split(' ');
    stat[21] = '1';
    execFileSync('mkdir', [`${directory}/run/other`]);
    writeFileSync(`${directory}/run/other/pid`, stat.join(' '));
    await cleanupAll(runtime.stateDir);
    assert.equal(runtime.leftovers(), []);
    assert.ok(existsSync(`/proc/${stranger}`));
  } finally {
    process.kill(Number(stranger), 'SIGKILL');
  }
  assert.equal(readdirSync(runtime.stateDir), ['pods']);
});

test('none of all this left anything behind', () => {
  assert.equal(left, []);
});

test.run();
