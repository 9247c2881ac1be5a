/**
 * A node's kernel refuses a masqueraded packet: its ICMP error reaches the pod that sent the packet, translated. A pod
 * gets the same errors as it would with plain Linux.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Cluster, eventually, nodeNetns, output, podNetns, processPod, startCluster } from '../lib/cluster.ts';
import { linux, startLinuxRouter, stopLinuxRouter } from '../lib/kernel/linux-router.ts';
import { Paths } from '../lib/overlay/overlay.ts';

const N1 = nodeNetns('n1');
const CLIENT = podNetns('client');
const test = suite('ICMP errors of the node’s kernel');
let cluster: Cluster;

/** Checks that an echo request is refused as expected; retries, as the kernel limits the rate of its errors. */
const refused = (ip: string, expected: RegExp, ...args: string[]) => refusedFrom(CLIENT, ip, expected, ...args);

async function refusedFrom(netns: string, ip: string, expected: RegExp, ...args: string[]): Promise<void> {
  let said = '';
  await eventually(async () => {
    const { stdout, stderr } = await cluster.exec(netns, ['ping', '-c', '1', '-W', '4', ...args, ip]);
    said = stdout + stderr;
    return expected.test(said) || undefined;
  }, 8000).catch(() => assert.match(said, expected));
}

/** A firewall that has the agent's accepts already (firewall.ts), behind its own rule: they do not come before it. */
const rejecting = (how: string): string =>
  `table ip host { chain f { type filter hook forward priority 0; ip daddr 198.51.100.10 reject with ${how}; iifname dp0 accept; oifname dp0 accept; }; }`;

async function route(...args: string[]): Promise<void> {
  await output(cluster.exec(N1, ['ip', 'route', ...args]));
}

test('the cluster is up', async () => {
  cluster = await startCluster({
    args: ['--nodes', '2'],
    manifests: [processPod('client', 'n1', ['sleep', 'infinity'])],
  });
});

const NO_NEIGHBOUR = /Destination Host Unreachable/;
const FILTERED = /Packet filtered/;
const NO_ROUTE = /Destination Net(work)? Unreachable/;
const TOO_BIG = /mtu ?= ?1300/;
/** Types of routes that refuse, and the error. */
const KINDS = [
  ['unreachable', NO_NEIGHBOUR],
  ['prohibit', FILTERED],
] as const;

for (const [kind, expected] of KINDS) {
  for (const ip of ['198.51.100.9', '172.18.0.77']) {
    test(`a route of type ${kind}, to ${ip}`, async () => {
      await route('add', kind, ip);
      await refused(ip, expected);
      await route('del', kind, ip);
    });
  }
}

test('no route at all', async () => {
  await route('del', 'default');
  await refused('198.51.100.9', NO_ROUTE);
  await route('add', 'default', 'via', '172.18.0.1');
});

test('a dead neighbour', async () => {
  await refused('172.18.0.99', NO_NEIGHBOUR);
  // A connection ends as soon, with the error that Linux gives.
  const { stderr } = await cluster.exec(CLIENT, ['curl', '-sS', '--max-time', '8', 'http://172.18.0.98/']);
  assert.match(stderr, /No route to host|Couldn't connect/);
});

for (const [how, expected] of [
  ['tcp reset', /Connection refused|Couldn't connect/],
  ['icmp type port-unreachable', /Connection refused|Couldn't connect/],
  ['icmp type host-prohibited', /No route to host|Couldn't connect/],
] as const) {
  test(`a firewall of the node that rejects a masqueraded connection with ${how}: it ends at once`, async () => {
    const rules = rejecting(how);
    await output(cluster.exec(N1, ['nft', '-f', '-'], { input: rules }));
    const startMs = performance.now();
    const curl = ['curl', '-sS', '--max-time', '8', 'http://198.51.100.10/'];
    const { status, stderr } = await cluster.exec(CLIENT, curl);
    assert.is(status, 7, stderr);
    assert.match(stderr, expected);
    assert.ok(performance.now() - startMs < 3000);
    await output(cluster.exec(N1, ['nft', 'delete', 'table', 'ip', 'host']));
  });
}

test('a firewall of the node that resets the node’s own connections still reaches them', async () => {
  const rules =
    'table ip host { chain o { type filter hook output priority 0; ip daddr 198.51.100.10 tcp dport 80 reject with tcp reset; }; }';
  await output(cluster.exec(N1, ['nft', '-f', '-'], { input: rules }));
  const { status, stderr } = await cluster.exec(N1, ['curl', '-sS', '--max-time', '8', 'http://198.51.100.10/']);
  assert.is(status, 7, stderr);
  await output(cluster.exec(N1, ['nft', 'delete', 'table', 'ip', 'host']));
});

test('a firewall of the node that rejects', async () => {
  const rules = rejecting('icmp type admin-prohibited');
  await output(cluster.exec(N1, ['nft', '-f', '-'], { input: rules }));
  await refused('198.51.100.10', FILTERED);
  await output(cluster.exec(N1, ['nft', 'delete', 'table', 'ip', 'host']));
});

test('a route of the node with a smaller MTU: fragmentation needed, and an upload ends', async () => {
  const paths = new Paths(cluster);
  await paths.startServers('dp-outside');
  await route('add', '172.18.0.1', 'dev', 'eth0', 'mtu', '1300');
  await refused('172.18.0.1', TOO_BIG, '-M', 'do', '-s', '1400');
  await paths.stream(CLIENT, 'up', '172.18.0.1', 3 << 20);
  await paths.stream(CLIENT, 'down', '172.18.0.1', 3 << 20);
  await route('del', '172.18.0.1');
});

test('the control: a client behind a plain Linux router gets the same errors', async () => {
  await startLinuxRouter();
  const router = (...args: string[]) => output(cluster.exec(linux.router, args));
  for (const [kind, expected] of KINDS) {
    await router('ip', 'route', 'add', kind, '198.51.100.9');
    await refusedFrom(linux.client, '198.51.100.9', expected);
    await router('ip', 'route', 'del', kind, '198.51.100.9');
  }
  await refusedFrom(linux.client, '198.51.100.9', NO_ROUTE);
  await refusedFrom(linux.client, '198.18.0.99', NO_NEIGHBOUR);
  const rules = `table ip fw { chain f { type filter hook forward priority 0; ip daddr ${linux.hostIP} reject with icmp type admin-prohibited; }; }`;
  await output(cluster.exec(linux.router, ['nft', '-f', '-'], { input: rules }));
  await refusedFrom(linux.client, linux.hostIP, FILTERED);
  await router('nft', 'delete', 'table', 'ip', 'fw');
  await router('ip', 'route', 'add', linux.hostIP, 'dev', 'outside', 'mtu', '1300');
  await refusedFrom(linux.client, linux.hostIP, TOO_BIG, '-M', 'do', '-s', '1400');
  await stopLinuxRouter();
});

test('the node’s own pings and errors to itself are as they were', async () => {
  await output(cluster.exec(N1, ['ping', '-c', '2', '-i', '0.2', '-W', '1', '172.18.0.11']));
  await output(cluster.exec(N1, ['ping', '-c', '1', '-W', '1', '127.0.0.1']));
  // A closed UDP port of the node itself: the kernel's error reaches the sender.
  const script = `const s = require('dgram').createSocket('udp4'); s.on('error', (e) => { console.log(e.code); process.exit(); });
    s.connect(9, '172.18.0.11', () => { s.send('x'); setTimeout(() => s.send('y'), 300); setTimeout(process.exit, 2000); });`;
  const { stdout } = await cluster.exec(N1, [process.execPath, '-e', script]);
  assert.is(stdout.trim(), 'ECONNREFUSED');
});

test('the cluster is down, and nothing is left', async () => cluster.down());

test.run();
