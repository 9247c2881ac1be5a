/**
 * Many short connections from behind one address: from a pod to one server outside, and from outside by a NodePort with
 * one endpoint. None may fail, however many there are (cilium #23604, kubernetes #76699). The short form has few source
 * ports, each of which is used several times; the full one has those of a real cluster, and 100,000 connections:
 *
 *   npm run test:source-ports
 */
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Pod } from '../../src/api/types/objects.ts';
import { type Cluster, eventually, output, podNetns, processPod, ROOT, run, startCluster } from '../lib/cluster.ts';
import { linux, startLinuxRouter, stopLinuxRouter } from '../lib/kernel/linux-router.ts';
import { times } from '../lib/long-form.ts';
import { ip } from '../lib/namespaces.ts';
import { NODE_IPS, OUTSIDE, serviceObject } from '../lib/services/services.ts';
import type { Outcome } from '../lib/short-connections.ts';

const FULL = process.env.SOURCE_PORTS_FULL === '1';
const COUNT = FULL ? 100_000 : times(5000, 20_000);
const PROGRAM = [process.execPath, join(ROOT, 'dist/test/lib/short-connections.js')];
const SERVER = '172.18.0.1';
const NODE_PORT = 31418;
const TIMEOUT_MS = 300_000;

const test = suite('source ports');
let cluster: Cluster;

test.before(async () => {
  const server = processPod('server', 'n1', [...PROGRAM, 'serve', '80']);
  cluster = await startCluster({
    args: ['--nodes', '1', ...(FULL ? [] : ['--masquerade-ports', '40000-40999'])],
    manifests: [
      { ...server, metadata: { ...server.metadata, labels: { app: 'web' } } },
      processPod('client', 'n1', ['sleep', 'infinity']),
      serviceObject('web', 'web', { type: 'NodePort', ports: [{ port: 80, nodePort: NODE_PORT }] }),
    ],
  });
  cluster.start(OUTSIDE, [...PROGRAM, 'serve', '8080']);
  await startLinuxRouter();
  cluster.start(linux.host, [...PROGRAM, 'serve', '8080']);
  cluster.start(linux.client, [...PROGRAM, 'serve', `${NODE_PORT}`]);
  for (const [netns, address] of [
    [linux.client, `${linux.hostIP}:8080`],
    [podNetns('client'), `${SERVER}:8080`],
    [OUTSIDE, `${NODE_IPS.n1}:${NODE_PORT}`],
  ] as const)
    await eventually(async () => {
      const { done } = await shortConnections(netns, address, 1);
      return done === 1 ? true : undefined;
    });
});

test.after(async () => {
  await stopLinuxRouter();
  await cluster?.down();
});

async function shortConnections(netns: string, to: string, count: number, ...from: string[]): Promise<Outcome> {
  const [host = '', port = ''] = to.split(':');
  const args = ['ip', 'netns', 'exec', netns, ...PROGRAM, 'connect', host, port, String(count), ...from];
  return JSON.parse(await output(run(args, { timeoutMs: TIMEOUT_MS }))) as Outcome;
}

const show = (what: string, outcome: Outcome): void => {
  if (FULL || process.env.SOURCE_PORTS_SHOW) console.log(`\n${what}: ${JSON.stringify(outcome)}`);
};

test(`${COUNT} short connections from one pod to one server outside: none fails`, async () => {
  const outcome = await shortConnections(podNetns('client'), `${SERVER}:8080`, COUNT);
  show('from a pod', outcome);
  assert.equal(outcome.failed, {});
  assert.is(outcome.done, COUNT);
});

test(`${COUNT} short connections from outside by a NodePort with one endpoint: none fails`, async () => {
  // Ports below 1024 have the smallest class, 424 ports: what it takes tens of thousands of connections for elsewhere.
  const addresses = FULL ? [] : [SERVER, '172.18.0.201', '172.18.0.202', '172.18.0.203'];
  await ip(OUTSIDE, ...addresses.slice(1).map((address) => `address add ${address}/24 dev underlay`));
  const from = FULL ? [] : ['600-1000', ...addresses];
  const outcome = await shortConnections(OUTSIDE, `${NODE_IPS.n1}:${NODE_PORT}`, COUNT, ...from);
  show('by a NodePort', outcome);
  assert.equal(outcome.failed, {});
  assert.is(outcome.done, COUNT);
});

test(`${COUNT} short connections on plain Linux, masqueraded and by DNAT: none fails there either`, async () => {
  for (const [from, to] of [
    [linux.client, `${linux.hostIP}:8080`],
    [linux.host, `${linux.routerIP}:${NODE_PORT}`],
  ] as const) {
    const outcome = await shortConnections(from, to, COUNT);
    show(`plain Linux, to ${to}`, outcome);
    assert.equal(outcome.failed, {});
    assert.is(outcome.done, COUNT);
  }
});

/** As few connections as show that ports are used again: a router of one kernel makes them in a second. */
test('the same number of ports by connection on plain Linux: it makes no more of them than the pod does', async () => {
  const count = FULL ? COUNT / 20 : 1000;
  const from = (netns: string, to: string, local: string) =>
    shortConnections(netns, `${to}:8080`, count, '600-1000', local);
  const { status } = await cluster.get<Pod>('pod', 'client');
  const ours = await from(podNetns('client'), SERVER, status?.podIP ?? '');
  const control = await from(linux.client, linux.hostIP, linux.clientIP);
  show('from a pod, 401 ports', ours);
  show('the same on plain Linux', control);
  assert.ok(ours.done >= control.done, `${JSON.stringify(ours)} beside ${JSON.stringify(control)}`);
});

test('a pod’s source port below 1024 stays below 1024, and is kept while it is free (rancher #3099)', async () => {
  const { status } = await cluster.get<Pod>('pod', 'client');
  const from = (port: number) =>
    shortConnections(podNetns('client'), `${SERVER}:8080`, 1, `${port}-${port}`, status?.podIP ?? '');
  for (const port of [600, 700, 1000, 1023]) {
    assert.equal((await from(port)).ports, [port, port]);
    const onLinux = await shortConnections(linux.client, `${linux.hostIP}:8080`, 1, `${port}-${port}`, linux.clientIP);
    assert.equal(onLinux.ports, [port, port], 'plain Linux');
  }
  const { ports } = await from(100);
  assert.ok(ports[0] >= 600 && ports[0] <= 1023, `100 became ${ports[0]}`);
});

if (!FULL) {
  test('when all source ports toward a server are in use, a pod is refused at once, and an event reports it', async () => {
    // 1000 ports; connections that are open keep theirs.
    const hold = "require('net').createServer(() => {}).listen(8090)";
    cluster.start(OUTSIDE, [process.execPath, '-e', hold]);
    const open = `const net = require('net'); let failed = 0, opened = 0, slowest = 0;
      const next = (left) => {
        if (left === 0) return console.log(JSON.stringify({ opened, failed, slowest })), process.exit();
        const startMs = Date.now(), socket = net.connect(8090, '${SERVER}');
        const done = (ok) => { ok ? opened++ : (failed++, slowest = Math.max(slowest, Date.now() - startMs)); next(left - 1); };
        socket.once('connect', () => done(true)).once('error', () => done(false));
      };
      next(1100);`;
    const client = podNetns('client');
    await eventually(async () =>
      (await cluster.exec(client, ['nc', '-z', '-w', '1', SERVER, '8090'])).status === 0 ? true : undefined,
    );
    const ran = cluster.exec(client, [process.execPath, '-e', open], { timeoutMs: 60_000 });
    const { opened, failed, slowest } = JSON.parse(await output(ran)) as Record<string, number>;
    assert.ok(opened! > 900 && failed! >= 100, `${opened} opened, ${failed} refused`);
    assert.ok(slowest! < 1000, `refused after ${slowest} ms`);
    for (const object of [
      ['pod', 'client'],
      ['node', 'n1'],
    ]) {
      await eventually(async () =>
        (await cluster.cli('describe', ...object)).includes('SourcePortsExhausted') ? true : undefined,
      );
    }
  });
}

test.run();
