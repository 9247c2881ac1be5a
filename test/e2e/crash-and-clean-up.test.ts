/** Crashes: of workers, of agents, of everything; and the traffic on the wire meanwhile. */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { NodeObject, Pod } from '../../src/api/types/objects.ts';
import { readClusterFile } from '../../src/cluster/state.ts';
import { findStandby } from '../../src/standby/find.ts';
import { Failure } from '../../src/worker/control.ts';
import {
  type Cluster,
  eventually,
  MAIN,
  nodeNetns,
  output,
  podNetns,
  processPod,
  ROOT,
  run,
  startCluster,
} from '../lib/cluster.ts';
import { leftovers } from '../lib/leftovers.ts';
import { agentPid, successor, WorkerControl } from '../lib/node-processes.ts';

const test = suite('crash and clean-up');
let cluster: Cluster;

/** Echoes lines over TCP and datagrams over UDP, with its name. */
const ECHO = `
const name = require('os').hostname();
require('net').createServer((s) => { s.on('data', (d) => s.write(name + ':' + d)); s.on('error', () => {}); }).listen(7000);
require('http').createServer((q, r) => r.end(name)).listen(80);
`;

const CLUSTER_IP = '10.96.7.7';

test.before(async () => {
  const service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'echo', namespace: 'default' },
    spec: {
      selector: { app: 'far' },
      clusterIP: CLUSTER_IP,
      type: 'NodePort',
      ports: [
        { name: 'http', port: 80, nodePort: 31080 },
        { name: 'echo', port: 7000, nodePort: 31700 },
      ],
    },
  };
  const echo = [process.execPath, '-e', ECHO];
  cluster = await startCluster({
    args: ['--nodes', '2', '--workers', '2'],
    manifests: [processPod('near', 'n1', echo), processPod('far', 'n2', echo), service],
  });
});

test.after(async () => {
  await cluster?.down();
});

/** A connection that stays: lines in, lines out. */
function openLine(netns: string, host: string, port: number) {
  const client = spawn('ip', ['netns', 'exec', netns, 'nc', '-w', '60', host, String(port)], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  let heard = '';
  client.stdout.on('data', (bytes: Buffer) => {
    heard += String(bytes);
  });
  return {
    async say(word: string): Promise<void> {
      client.stdin.write(`${word}\n`);
      await eventually(async () => (heard.includes(word) ? true : undefined), 8000);
    },
    close: () => client.kill('SIGKILL'),
  };
}

test('a second agent of a node is refused with the pid of the first, and changes nothing', async () => {
  const before = agentPid('n1');
  const args = ['nsenter', `--net=/run/netns/${nodeNetns('n1')}`, process.execPath, join(ROOT, 'dist/src/cli/main.js')];
  const { status, stderr } = await run([...args, 'agent', '--node', 'n1'], { timeoutMs: 10_000 });
  assert.is(status, 1);
  assert.match(stderr, `node n1: an agent is already running (pid ${before}); nothing was changed`);
  assert.is(agentPid('n1'), before);
  const line = openLine(podNetns('near'), CLUSTER_IP, 7000);
  await line.say('still');
  line.close();
});

test('an agent whose start fails exits with one line that says why', async () => {
  const ip = (...args: string[]) => output(run(['ip', ...args]));
  const node = {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'n9' },
    spec: { podCIDR: '10.244.9.0/24' },
    status: { addresses: [{ type: 'InternalIP', address: '172.18.0.99' }] },
  };
  await ip('netns', 'add', nodeNetns('n9'));
  try {
    // Another device has the name of the agent's own.
    for (const args of ['add dp0 type veth peer name eth0', 'set eth0 up'])
      await ip('-n', nodeNetns('n9'), 'link', ...args.split(' '));
    await ip('-n', nodeNetns('n9'), 'address', 'add', '172.18.0.99/24', 'dev', 'eth0');
    await cluster.apply(node);
    const agent = [process.execPath, MAIN, 'agent', '--node', 'n9'];
    const { status, stderr } = await run(['nsenter', `--net=/run/netns/${nodeNetns('n9')}`, ...agent]);
    assert.is(status, 1, stderr);
    assert.match(stderr, /^node n9: device dp0: .*: does another device have this name\?$/m);
    assert.is(stderr.trim().split('\n').length, 1, stderr);
  } finally {
    await cluster.cli('delete', 'node', 'n9').catch(() => undefined);
    await ip('netns', 'del', nodeNetns('n9'));
  }
});

test('20,000 connections to a node’s health port: the agent keeps its descriptors, and its pods keep running', async () => {
  const script = `
    const { connect } = require('net');
    let open = 0, opened = 0;
    const more = () => {
      if (opened === 20000) return;
      opened++;
      const s = connect(10256, '172.18.0.11');
      s.on('error', () => {}); s.on('connect', more); s.on('close', () => {});
      if (opened === 20000) setTimeout(() => process.exit(0), 500);
    };
    for (let i = 0; i < 50; i++) more();
  `;
  const pid = agentPid('n1');
  const node = ['ip', 'netns', 'exec', 'dp-outside', 'sh', '-c', 'ulimit -n 30000; exec "$0" -e "$1"'];
  const flood = run([...node, process.execPath, script], { timeoutMs: 60_000 });
  let most = 0;
  const watch = setInterval(() => {
    most = Math.max(most, readdirSync(`/proc/${pid}/fd`).length);
  }, 50);
  const { status } = await flood;
  clearInterval(watch);
  assert.is(status, 0);
  assert.ok(most > 0 && most < 400, `${most} descriptors`);
  assert.is(agentPid('n1'), pid);
  const answer = await run([
    'ip',
    'netns',
    'exec',
    'dp-outside',
    'curl',
    '-s',
    '-m',
    '5',
    'http://172.18.0.11:10256/healthz',
  ]);
  assert.match(answer.stdout, 'lastUpdated');
});

test('a pod that fills the file system of the cluster’s state with its log is evicted; nobody else notices', async () => {
  const { blocks, bfree, bsize } = statfsSync('/run');
  const limit = (blocks - bfree) * bsize + 40 * 2 ** 20;
  await output(run(['mount', '-o', `remount,size=${limit}`, '/run']));
  const controller = (await cluster.status()).controller.pid;
  const agents = ['n1', 'n2'].map(agentPid);
  const failures: string[] = [];
  let asked = 0;
  let full = false;
  const traffic = async (): Promise<void> => {
    while (!full) {
      for (const [from, place] of [
        [podNetns('near'), `${CLUSTER_IP}:80`],
        ['dp-outside', '172.18.0.11:31080'],
      ] as const) {
        await cluster.fetch(from, `http://${place}/`).catch((error: Error) => failures.push(error.message));
        asked++;
      }
      await sleep(50);
    }
  };
  const running = traffic();
  try {
    await cluster.apply(processPod('loud', 'n1', ['yes', 'x'.repeat(2000)]));
    const evicted = await eventually(async () => {
      const { status } = await cluster.get<Pod>('pod', 'loud');
      return status?.reason === 'Evicted' ? status : undefined;
    }, 30_000);
    assert.match(evicted.message ?? '', /^The node was low on resource: ephemeral-storage\./);
    await eventually(async () => {
      const { nodes } = await cluster.status();
      return nodes.every(({ ready }) => ready) && nodes.some(({ diskPressure }) => diskPressure) ? true : undefined;
    });
    assert.match(await cluster.cli('status'), /node n1 is short of storage: .* are free where \/run\/dataplane is/);
    const node = await cluster.get<NodeObject>('node', 'n1');
    assert.is(node.status?.conditions?.find(({ type }) => type === 'DiskPressure')?.status, 'True');
    // There is room again.
    await cluster.apply(processPod('next', 'n1', ['sleep', 'infinity']));
  } finally {
    full = true;
    await running;
    await output(run(['mount', '-o', 'remount,size=50%', '/run']));
  }
  assert.equal(failures, [], `of ${asked}`);
  assert.ok(asked > 20);
  assert.equal(['n1', 'n2'].map(agentPid), agents);
  assert.is((await cluster.status()).controller.pid, controller);
  for (const name of ['loud', 'next']) await cluster.cli('delete', 'pod', name, '--grace-period', '0');
});

test('on the wire: VXLAN with valid inner frames; in the pod: the ClusterIP, never the endpoint', async () => {
  const files = ['/tmp/dataplane-test-underlay.pcap', '/tmp/dataplane-test-pod.pcap'];
  const capture = (netns: string, device: string, file: string) =>
    run(['ip', 'netns', 'exec', netns, 'timeout', '4', 'tcpdump', '-Z', 'root', '-ni', device, '-s', '0', '-w', file], {
      timeoutMs: 8000,
    });
  try {
    const captures = [
      capture('dp-outside', 'underlay', files[0] as string),
      capture(podNetns('near'), 'eth0', files[1] as string),
    ];
    await sleep(1500);
    for (let i = 0; i < 5; i++) assert.is(await cluster.fetch(podNetns('near'), `http://${CLUSTER_IP}/`), 'far');
    assert.is(await cluster.fetch('dp-outside', 'http://172.18.0.11:31080/'), 'far');
    await Promise.all(captures);
    const tshark = async (file: string, ...args: string[]): Promise<string> => {
      const ran = await run(['tshark', '-r', file, '-o', 'ip.check_checksum:TRUE', ...args], { timeoutMs: 20_000 });
      return ran.stdout;
    };
    const overlay = await tshark(
      files[0] as string,
      '-Y',
      'vxlan && udp.dstport == 4789',
      '-T',
      'fields',
      '-e',
      'vxlan.vni',
    );
    assert.ok(overlay.trim().split('\n').length > 20, 'the fetches went through the overlay');
    const check = ['-o', 'tcp.check_checksum:TRUE', '-o', 'udp.check_checksum:TRUE'];
    const bad = await tshark(
      files[0] as string,
      ...check,
      '-Y',
      'vxlan && (ip.checksum.status == 0 || tcp.checksum.status == 0 || _ws.malformed)',
    );
    assert.is(bad, '');
    const peers = await tshark(files[1] as string, '-Y', 'tcp', '-T', 'fields', '-e', 'ip.src', '-e', 'ip.dst');
    assert.match(peers, CLUSTER_IP);
    assert.not.match(peers, '10.244.2.');
  } finally {
    for (const file of files) rmSync(file, { force: true });
  }
});

test('a worker that crashes is restarted and continues with the same connections', async () => {
  const line = openLine('dp-outside', '172.18.0.11', 31700);
  try {
    await line.say('before');
    const control = new WorkerControl('n1');
    for (const worker of [0, 1]) control.fail(worker, Failure.THROW);
    await line.say('after');
    await cluster.fetch('dp-outside', 'http://172.18.0.11:31080/');
    await eventually(async () => {
      const restarted = [0, 1].some((worker) => control.restarts(worker) > 0);
      return restarted && [0, 1].every((worker) => control.isLooping(worker)) ? true : undefined;
    });
    control.close();
    await line.say('still');
  } finally {
    line.close();
  }
});

test('a node whose worker fails again and again is not Ready and has no endpoints, until the worker is steady', async () => {
  const endpoints = async () => {
    const slices = await cluster.get<{ items: { endpoints?: { conditions: { ready: boolean } }[] }[] }>(
      'endpointslices',
      '-l',
      'kubernetes.io/service-name=echo',
    );
    return slices.items.flatMap((slice) => slice.endpoints ?? []).some(({ conditions }) => conditions.ready);
  };
  assert.ok(await endpoints());
  const control = new WorkerControl('n2');
  const failing = setInterval(() => control.fail(0, Failure.THROW), 1000);
  const n2 = async () => (await cluster.status()).nodes.find(({ name }) => name === 'n2')!;
  try {
    const { message } = await eventually(async () => {
      const status = await n2();
      return status.ready ? undefined : status;
    }, 30_000);
    assert.match(message ?? '', /^worker 0 (fails again and again|does not forward)/);
    await eventually(async () => ((await endpoints()) ? undefined : true), 30_000);
  } finally {
    clearInterval(failing);
    control.close();
  }
  await eventually(async () => ((await n2()).ready && (await endpoints()) ? true : undefined), 40_000);
  assert.is(await eventually(() => cluster.fetch('dp-outside', 'http://172.18.0.11:31080/')), 'far');
});

test('cilium #29667, #19367, #46927, #11983: kill -9 of an agent: the next one takes over pods, connections and services', async () => {
  const line = openLine('dp-outside', '172.18.0.11', 31700);
  const inside = openLine(podNetns('near'), CLUSTER_IP, 7000);
  try {
    await line.say('before');
    await inside.say('before');
    const pods = await cluster.cli('get', 'pods', '-o', 'json');
    const startedAt = (text: string): string[] =>
      (
        JSON.parse(text).items as { status: { containerStatuses: { containerID?: string; restartCount: number }[] } }[]
      ).map(({ status }) =>
        JSON.stringify(status.containerStatuses.map(({ containerID, restartCount }) => [containerID, restartCount])),
      );
    for (const node of ['n1', 'n2']) {
      const pid = agentPid(node);
      process.kill(pid, 'SIGKILL');
      await eventually(
        async () =>
          agentPid(node) !== pid && (await cluster.status()).nodes.every(({ ready }) => ready) ? true : undefined,
        20_000,
      );
    }
    await line.say('after');
    await inside.say('after');
    assert.is(await cluster.fetch('dp-outside', 'http://172.18.0.12:31080/'), 'far');
    assert.equal(
      startedAt(await cluster.cli('get', 'pods', '-o', 'json')),
      startedAt(pods),
      'no container was started again',
    );
  } finally {
    line.close();
    inside.close();
  }
});

test('kill -9 of an agent and its standby: the next agent starts another standby', async () => {
  const standby = () => findStandby('/run/dataplane/nodes/n1')?.pid;
  const [agent, before] = [agentPid('n1'), await eventually(async () => standby())];
  process.kill(before, 'SIGKILL');
  process.kill(agent, 'SIGKILL');
  await eventually(async () => (agentPid('n1') !== agent && standby() !== undefined ? true : undefined), 20_000);
  assert.is.not(standby(), before);
  assert.is(await eventually(() => cluster.fetch('dp-outside', 'http://172.18.0.11:31080/')), 'far');
  // And a standby that ends alone is replaced by its agent.
  const second = standby()!;
  process.kill(second, 'SIGKILL');
  await eventually(async () => (standby() === undefined || standby() === second ? undefined : true), 20_000);
});

/** Waits until another process than `before` is the controller, and the API answers. */
async function anotherController(before: number): Promise<void> {
  await eventually(async () => {
    const { controller } = await cluster.status();
    return controller.running && controller.pid !== before ? true : undefined;
  }, 30_000);
}

test('a controller that is stopped is killed and restarted; so is an agent', async () => {
  const { controller } = await cluster.status();
  const agent = agentPid('n1');
  process.kill(controller.pid, 'SIGSTOP');
  await anotherController(controller.pid);
  assert.is(agentPid('n1'), agent, 'the agents were left alone');
  process.kill(agent, 'SIGSTOP');
  // The Node stays Ready for some seconds after its agent.
  await successor('n1', agent);
  const { items } = await cluster.get<{ items: { reason: string; message: string }[] }>('events', '-n', 'default');
  const { message } = items.find(({ reason }) => reason === 'AgentKilled')!;
  assert.is(message, 'The agent of node n1 is stopped: it is killed and restarted');
});

test('kill -9 of the supervisor: the controller starts another, which restarts it when it is killed', async () => {
  const supervisor = () => readClusterFile()?.supervisor?.pid;
  const before = supervisor()!;
  const { controller } = await cluster.status();
  process.kill(before, 'SIGKILL');
  await eventually(async () => ([before, undefined].includes(supervisor()) ? undefined : true));
  assert.is((await cluster.status()).controller.pid, controller.pid, 'the same controller');
  process.kill(controller.pid, 'SIGKILL');
  await anotherController(controller.pid);
});

test('deleted rules of dp0 are restored', async () => {
  const rules = async (): Promise<string> => (await cluster.exec(nodeNetns('n1'), ['ip', 'rule'])).stdout;
  const before = await rules();
  await cluster.exec(nodeNetns('n1'), ['ip', 'rule', 'del', 'pref', '5']);
  await cluster.exec(nodeNetns('n1'), ['ip', 'rule', 'del', 'pref', '10']);
  await cluster.exec(nodeNetns('n1'), ['ip', 'route', 'flush', 'table', '100']);
  await eventually(
    async () => ((await rules()).split('\n').sort().join() === before.split('\n').sort().join() ? true : undefined),
    5000,
  );
  assert.is(await cluster.fetch('dp-outside', 'http://172.18.0.11:31080/'), 'far');
});

test('kill -9 of everything: down leaves nothing, and up works again', async () => {
  const { controller, nodes } = await cluster.status();
  for (const pid of [controller.pid, ...nodes.map(({ agentPid: pid }) => pid)]) {
    if (pid) process.kill(pid as number, 'SIGKILL');
  }
  await sleep(300);
  await cluster.down();
  assert.equal(leftovers(), []);
  const ours = readdirSync('/proc').filter((pid) => {
    try {
      return (
        /^\d+$/.test(pid) && /(main\.js\0agent|standby\/main\.js)/.test(readFileSync(`/proc/${pid}/cmdline`, 'utf8'))
      );
    } catch {
      return false;
    }
  });
  assert.equal(ours, [], 'no agent process is left');
  cluster = await startCluster({
    args: ['--nodes', '1'],
    manifests: [processPod('near', 'n1', [process.execPath, '-e', ECHO])],
  });
  assert.ok(existsSync('/run/dataplane/api.sock'));
});

test('a process of the user’s in a pod’s namespace ends with `down`', async () => {
  const own = cluster.start(podNetns('near'), ['sleep', '3600']);
  await eventually(async () => own.pid !== undefined || undefined);
  const ended = new Promise<NodeJS.Signals | null>((resolve) => own.once('exit', (_code, signal) => resolve(signal)));
  // Without the clean-up of cluster.down(), which would end it as well.
  const { status } = await run([process.execPath, join(ROOT, 'dist/bundle/cli/main.js'), 'down']);
  assert.is(status, 0);
  const signal = await Promise.race([ended, sleep(2000, undefined)]);
  assert.is(signal, 'SIGKILL');
});

test.run();
