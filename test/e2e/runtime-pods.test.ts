/** Pods as real processes in real namespaces: sharing, take-over by another agent, and complete removal. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { cleanupAll } from '../../src/runtime/cleanup.ts';
import { seededRandom } from '../lib/seeded-random.ts';
import { runtimeSuite } from './runtime-suite.ts';
import { attempt, mc3, NAMESPACE, until, World } from './runtime-world.ts';

const { test, left } = runtimeSuite('runtime: pods', import.meta.url);
/** An agent with the pod mc3. */
const AGENT = fileURLToPath(new URL('runtime-agent.js', import.meta.url));

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
  const [nginx, webapp, pause] = [world.mainPid('mc3', 'nginx'), world.mainPid('mc3', 'webapp'), world.pausePid('mc3')];
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

test('pods keep running without an agent; the next one takes over', async ({ world }) => {
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

test('kill -9 of the agent at any moment: the next one finds or creates the pod, and can remove it completely', async ({
  world,
}) => {
  const random = seededRandom(7);
  for (let round = 0; round < 12; round++) {
    const words = [AGENT, world.stateDir];
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

test('a container that ends while no agent runs: its exit status is still known', async ({ world }) => {
  world.pod('once', {
    restartPolicy: 'Never',
    containers: [
      { name: 'c', image: 'process', command: ['sh', '-c', 'echo said > /dev/termination-log; sleep 0.5; exit 7'] },
    ],
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

test('killing pause recreates the whole pod with the same address', async ({ world }) => {
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

test('deleting: everything is removed before it is reported to the API', async ({ world }) => {
  mc3(world);
  await world.ready('mc3');
  const start = Date.now();
  world.delete('mc3');
  await until('confirmed', () => world.deleted.includes('mc3'));
  assert.ok(Date.now() - start < 1500, `took ${Date.now() - start} ms`);
  assert.equal(world.leftovers(), []);
  assert.equal(world.attached, ['mc3', '-mc3']);
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

test('cleanupAll needs no manager, and spares a process that was given a recorded pid since', async ({ world }) => {
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
