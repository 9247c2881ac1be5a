import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AgentBuilds } from '../../../../src/controllers/nodes/agent-build.ts';
import { startAgentSupervisor } from '../../../../src/controllers/nodes/agent-supervisor.ts';
import { findProcess } from '../../../../src/linux/processes.ts';
import { eventually, sleep } from '../test-cluster.ts';

const directory = mkdtempSync(join(tmpdir(), 'dataplane-agents-'));
const recordOf = (node: string) =>
  JSON.parse(readFileSync(join(directory, 'nodes', node, 'agent.json'), 'utf8')) as { pid: number };
const alive = (pid: number) =>
  existsSync(`/proc/${pid}`) && !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));

test('an agent that exits is restarted after a pause', async () => {
  const supervisor = startAgentSupervisor({ nodes: ['n1'], stateDir: directory, command: () => ['sleep', '60'] });
  const first = supervisor.pidOf('n1')!;
  assert.is(recordOf('n1').pid, first);
  process.kill(first, 'SIGKILL');
  const second = await eventually(() => {
    const pid = supervisor.pidOf('n1');
    return pid !== undefined && pid !== first && pid;
  });
  assert.is(recordOf('n1').pid, second);
  await supervisor.close();
  assert.not(alive(second));
  assert.not(existsSync(join(directory, 'nodes', 'n1', 'agent.json')));
});

test('an agent that cannot be recorded, because the disk is full, runs on and is recorded later', async () => {
  const lines: string[] = [];
  const log = (line: string) => lines.push(line);
  // In place of the full disk: the file cannot be written either.
  const obstacle = join(directory, 'nodes', 'n7', 'agent.json.new');
  mkdirSync(obstacle, { recursive: true });
  const supervisor = startAgentSupervisor({ nodes: ['n7'], stateDir: directory, command: () => ['sleep', '60'], log });
  const pid = supervisor.pidOf('n7')!;
  await sleep(600);
  assert.ok(alive(pid));
  assert.is(lines.length, 1);
  assert.match(lines[0]!, 'agent of node n7 is running, but cannot be recorded yet: ');
  rmSync(obstacle, { recursive: true });
  await eventually(() => existsSync(join(directory, 'nodes', 'n7', 'agent.json')));
  assert.is(recordOf('n7').pid, pid);
  await supervisor.close();
});

test('an agent that is stopped is noticed within 200 ms, reported, killed and restarted', async () => {
  const lines: string[] = [];
  const log = (line: string) => lines.push(line);
  let [killed, afterMs] = ['', 0];
  const startedMs = performance.now();
  const onKilled = (node: string, why: string) => {
    killed = `${node} ${why}`;
    afterMs = performance.now() - startedMs;
  };
  const command = () => ['sleep', '60'] as const;
  const supervisor = startAgentSupervisor({ nodes: ['n6'], stateDir: directory, command, onKilled, log });
  const first = supervisor.pidOf('n6')!;
  process.kill(first, 'SIGSTOP');
  const second = await eventually(() => {
    const pid = supervisor.pidOf('n6');
    return pid !== undefined && pid !== first && pid;
  }, 15_000);
  assert.not(alive(first));
  assert.ok(alive(second as number));
  assert.match(lines[0]!, 'agent of node n6 is stopped and is killed');
  assert.is(killed, 'n6 is stopped');
  // 50 to 100 ms, and what the machine is late.
  assert.ok(afterMs < 1000, `${afterMs} ms`);
  await supervisor.close();
});

test('an agent is started with the build that its node is assigned, until that is withdrawn', async () => {
  const builds = new AgentBuilds(directory, 'n8');
  mkdirSync(join(directory, 'nodes', 'n8'), { recursive: true });
  const by = findProcess(process.pid)!;
  const started: (string | undefined)[] = [];
  const command = (_: string, main?: string) => {
    started.push(main);
    return ['sleep', '60'] as const;
  };
  const supervisor = startAgentSupervisor({ nodes: ['n8'], stateDir: directory, command });
  const restart = async () => {
    const before = supervisor.pidOf('n8')!;
    process.kill(before, 'SIGKILL');
    await eventually(() => ![undefined, before].includes(supervisor.pidOf('n8')));
  };
  builds.assign({ main: '/new/main.js', by });
  await restart();
  builds.withdraw();
  await restart();
  assert.equal(started, [undefined, '/new/main.js', undefined]);
  await supervisor.close();
});

test('if the process that has assigned a build ends, the agent is ended, and started with its former build', async () => {
  const upgrading = spawn('sleep', ['60']);
  const builds = new AgentBuilds(directory, 'n9');
  mkdirSync(join(directory, 'nodes', 'n9'), { recursive: true });
  builds.assign({ main: '/new/main.js', by: findProcess(upgrading.pid!)! });
  const started: (string | undefined)[] = [];
  const lines: string[] = [];
  const command = (_: string, main?: string) => {
    started.push(main);
    return ['sleep', '60'] as const;
  };
  const log = (line: string) => lines.push(line);
  const supervisor = startAgentSupervisor({ nodes: ['n9'], stateDir: directory, command, log });
  const first = supervisor.pidOf('n9')!;
  upgrading.kill('SIGKILL');
  await eventually(() => ![undefined, first].includes(supervisor.pidOf('n9')));
  assert.not(alive(first));
  assert.equal(started, ['/new/main.js', undefined]);
  assert.match(lines[0]!, 'agent of node n9 returns to its former build');
  assert.is(builds.assigned(), undefined);
  await supervisor.close();
});

test('an agent that ignores SIGTERM is killed after three seconds', async () => {
  const command = () => ['sh', '-c', "trap '' TERM; while :; do sleep 0.05; done"] as const;
  const supervisor = startAgentSupervisor({ nodes: ['n2'], stateDir: directory, command });
  const pid = supervisor.pidOf('n2')!;
  await sleep(100);
  const started = Date.now();
  await supervisor.close();
  assert.ok(Date.now() - started >= 2900);
  assert.not(alive(pid));
});

test('the agent of a killed supervisor is taken over, and no second one is started', async () => {
  const command = () => ['sleep', '60'] as const;
  const old = startAgentSupervisor({ nodes: ['n3'], stateDir: directory, command });
  const pid = old.pidOf('n3')!;
  const next = startAgentSupervisor({ nodes: ['n3'], stateDir: directory, command: () => ['false'] });
  assert.is(next.pidOf('n3'), pid);
  await next.close();
  assert.not(alive(pid));
  await old.close();
});

test('released agents keep running, and the next supervisor takes them over', async () => {
  const command = () => ['sleep', '60'] as const;
  const old = startAgentSupervisor({ nodes: ['n5'], stateDir: directory, command });
  const pid = old.pidOf('n5')!;
  old.release();
  await sleep(300);
  assert.ok(alive(pid));
  const next = startAgentSupervisor({ nodes: ['n5'], stateDir: directory, command });
  assert.is(next.pidOf('n5'), pid);
  await next.close();
  assert.not(alive(pid));
});

test('a program that does not exist is retried without an exception', async () => {
  const lines: string[] = [];
  const log = (line: string) => lines.push(line);
  const supervisor = startAgentSupervisor({ nodes: ['n4'], stateDir: directory, command: () => ['/nonexistent'], log });
  await eventually(() => lines.length >= 2);
  assert.match(lines[0]!, 'agent of node n4 cannot be started');
  await supervisor.close();
});

test.after(() => rmSync(directory, { recursive: true, force: true }));

test.run();
