/** Connection tracking for operators: events, filters, flush, timeouts, changes at run time. */
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { CONFIG_MAP, type ConfigMap } from '../../src/api/types/objects.ts';
import { type Cluster, dataplane, eventually, output, podNetns, processPod, startCluster } from '../lib/cluster.ts';

const SERVE = `
require('http').createServer((q, r) => r.end('here')).listen(80);
const udp = require('dgram').createSocket('udp4'); udp.on('message', (m, from) => udp.send(m, from.port, from.address)); udp.bind(53);
`;
const CLUSTER_IP = '10.96.3.3';

const service = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'web', namespace: 'default' },
  spec: {
    selector: { app: 'web' },
    clusterIP: CLUSTER_IP,
    ports: [
      { name: 'http', port: 80 },
      { name: 'dns', port: 53, protocol: 'UDP' },
    ],
  },
};

interface ShownFlow {
  event?: string;
  protocol: string;
  state: string;
  timeoutSeconds: number;
  original: { src: string; srcPort: number; dst: string; dstPort: number };
  status: string[];
}

const test = suite('conntrack');
let cluster: Cluster;

test.before(async () => {
  cluster = await startCluster({
    args: ['--nodes', '1', '--conntrack-timeout', 'udp=7', '--conntrack-timeout', 'tcp-time-wait=40'],
    manifests: [
      processPod('web', 'n1', [process.execPath, '-e', SERVE]),
      processPod('client', 'n1', ['sleep', '1000']),
      service,
    ],
  });
  await cluster.fetch(podNetns('client'), `http://${CLUSTER_IP}/`, '--retry', '20', '--retry-connrefused');
});

test.after(async () => {
  await cluster?.down();
});

const flows = async (...args: string[]): Promise<ShownFlow[]> =>
  JSON.parse(await cluster.cli('conntrack', ...args, '-o', 'json')) as ShownFlow[];

const ask = async (): Promise<string> =>
  output(
    cluster.exec(podNetns('client'), ['sh', '-c', `echo hello | socat -T1 - UDP4:${CLUSTER_IP}:53,sourceport=4053`]),
  );

test('--follow prints the events of a connection, filtered, one JSON object per line', async () => {
  await cluster.cli('conntrack', 'flush');
  const args = ['conntrack', '--follow', '-o', 'json', '-p', 'tcp', '--dport', '80', '--dst-nat'];
  const following = dataplane(args, { timeoutMs: 4000 });
  await sleep(1500);
  assert.is(await cluster.fetch(podNetns('client'), `http://${CLUSTER_IP}/`), 'here');
  await ask();
  await cluster.cli('conntrack', 'flush', '-p', 'tcp');
  const lines = (await following).stdout.trim().split('\n');
  const told = lines.map((line) => JSON.parse(line) as ShownFlow);
  assert.ok(told.every(({ original }) => original.dst === CLUSTER_IP && original.dstPort === 80));
  assert.is(told[0]?.event, 'NEW');
  assert.is(told[0]?.state, 'SYN_SENT');
  const states = told.filter(({ event }) => event === 'UPDATE').map(({ state }) => state);
  for (const state of ['SYN_RECV', 'ESTABLISHED', 'FIN_WAIT', 'TIME_WAIT']) assert.ok(states.includes(state), state);
  assert.is(told.at(-1)?.event, 'DESTROY');
});

test('--follow over several nodes is ordered by the time of the events', async () => {
  const following = dataplane(['conntrack', '--follow', '-p', 'icmp'], { timeoutMs: 4000 });
  await sleep(1500);
  const pods = await cluster.get<{ items: { metadata: { name: string }; status: { podIP: string } }[] }>('pods');
  const other = pods.items.find(({ metadata }) => metadata.name !== 'client')!;
  for (let i = 0; i < 5; i++) {
    await cluster.exec(podNetns('client'), ['ping', '-c', '1', '-W', '1', other.status.podIP]);
  }
  const lines = (await following).stdout.trim().split('\n');
  const times = lines.map((line) => /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/.exec(line)?.[0] ?? '');
  assert.ok(times.length >= 5 && times.every(Boolean), lines.join('\n'));
  assert.equal(times, [...times].sort());
  assert.ok(times.every((time) => Math.abs(Date.now() - Date.parse(time)) < 10_000));
});

test('filters are those of conntrack-tools; flush removes the connections they match and no others', async () => {
  await cluster.fetch(podNetns('client'), `http://${CLUSTER_IP}/`);
  await ask();
  const client = (await cluster.get<{ status: { podIP: string } }>('pod', 'client')).status.podIP;
  assert.ok((await flows('-p', 'udp', '-s', client, '-d', CLUSTER_IP, '--dport', '53', '--dst-nat')).length === 1);
  assert.equal(await flows('-p', 'udp', '-s', CLUSTER_IP), []);
  assert.ok((await flows('-p', 'tcp', '--state', 'TIME_WAIT', '-d', '10.96.0.0/12')).length >= 1);
  assert.match(await cluster.cli('conntrack', 'flush', '-p', 'udp', '--dport', '53'), /^1 connection removed/);
  assert.equal(await flows('-p', 'udp', '--dport', '53'), []);
  assert.ok((await flows('-p', 'tcp')).length >= 1);
  const [{ entries, max }] = JSON.parse(await cluster.cli('conntrack', 'count', '-o', 'json'));
  assert.ok(entries >= 1 && max === 262144);
});

test('flushed in the middle of a download: a masqueraded client keeps its connection, whoever speaks first', async () => {
  // 200 KB/s for three seconds; in the second half the server alone decides when it sends.
  const serve = `require('http').createServer((q, r) => {
    let left = 30;
    const turn = setInterval(() => (left-- > 0 ? r.write(Buffer.alloc(20000)) : (clearInterval(turn), r.end())), 100);
  }).listen(8088)`;
  cluster.start('dp-outside', [process.execPath, '-e', serve]);
  const words = [
    '--local-port',
    '30500',
    '-o',
    '/dev/null',
    '-w',
    '%{size_download}',
    '--retry',
    '5',
    '--retry-connrefused',
  ];
  const download = cluster.fetch(podNetns('client'), 'http://172.18.0.1:8088/', ...words);
  for (let i = 0; i < 8; i++) {
    await sleep(300);
    await cluster.cli('conntrack', 'flush');
  }
  assert.is(await download, '600000');
});

test('configured timeouts apply, and can be changed while the cluster runs', async () => {
  await cluster.cli('conntrack', 'flush');
  await cluster.fetch(podNetns('client'), `http://${CLUSTER_IP}/`);
  await ask();
  const [tcp] = await flows('-p', 'tcp', '--dport', '80');
  assert.ok(tcp!.timeoutSeconds > 30 && tcp!.timeoutSeconds <= 40, `${tcp!.timeoutSeconds}`);
  const [udp] = await flows('-p', 'udp', '--dport', '53');
  assert.ok(udp!.timeoutSeconds <= 7, `${udp!.timeoutSeconds}`);

  const { name, namespace, key } = CONFIG_MAP;
  const map = await cluster.get<ConfigMap>('configmap', name, '-n', namespace);
  const options = { ...JSON.parse(map.data?.[key] ?? '{}'), conntrackTimeouts: { udp: 90 } };
  const changed = { metadata: { name, namespace }, data: { [key]: JSON.stringify(options) } };
  await cluster.apply({ apiVersion: 'v1', kind: 'ConfigMap', ...changed });
  await eventually(async () => {
    await cluster.cli('conntrack', 'flush', '-p', 'udp');
    await ask();
    const [flow] = await flows('-p', 'udp', '--dport', '53');
    return flow!.timeoutSeconds > 80 ? true : undefined;
  });
});

test('an unknown timeout is rejected by name', async () => {
  const { status, stderr } = await dataplane(['up', '--conntrack-timeout', 'tcp-establish=5']);
  assert.is(status, 2);
  assert.match(stderr, /there is no timeout "tcp-establish": did you mean tcp-established\?/);
});

test.run();
