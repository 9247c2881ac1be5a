/**
 * Interference by other programs on a node: what they remove or change is restored within two seconds, firewalls that
 * drop forwarded packets do not affect ours, and what cannot be restored is in the Node's Ready condition within five.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Cluster, eventually, nodeNetns, output, podNetns, processPod, startCluster } from '../lib/cluster.ts';

const SERVE = `require('http').createServer((q, r) => r.end('served')).listen(80);`;
const NODE_PORT = 31080;
const RESTORED_MS = 2000;
const REPORTED_MS = 5000;
const N1 = nodeNetns('n1');
const CLIENT = podNetns('client');
/** An address of the outside that is behind a router for the nodes. */
const FAR = '198.51.100.7';

const manifests = [
  processPod('client', 'n1', [process.execPath, '-e', SERVE]),
  processPod('web', 'n2', [process.execPath, '-e', SERVE]),
  {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'default' },
    spec: { type: 'NodePort', selector: { app: 'web' }, ports: [{ port: 80, nodePort: NODE_PORT }] },
  },
];

let cluster: Cluster;
let webIP = '';

const inNode = (...args: string[]) => output(cluster.exec(N1, args));
const nft = (input: string) => output(cluster.exec(N1, ['nft', '-f', '-'], { input }));

/** Every kind of path: between pods, in fragments, through a NodePort, from the node, to the outside. */
async function everything(): Promise<void> {
  await output(cluster.exec(CLIENT, ['ping', '-c', '1', '-W', '1', webIP]));
  await output(cluster.exec(CLIENT, ['ping', '-c', '1', '-W', '1', '-s', '5000', webIP]));
  await cluster.fetch('dp-outside', `http://172.18.0.11:${NODE_PORT}/`, '--max-time', '1');
  await cluster.fetch(N1, `http://${webIP}/`, '--max-time', '1');
  await output(cluster.exec(CLIENT, ['ping', '-c', '1', '-W', '1', '-s', '5000', FAR]));
  await output(cluster.exec(CLIENT, ['ping', '-c', '1', '-W', '1', '172.18.0.1']));
}

async function readyOf(node: string): Promise<{ status?: string; message?: string; reason?: string }> {
  const { status } = await cluster.get<{
    status: { conditions: { type: string; status: string; message: string; reason: string }[] };
  }>('node', node);
  return status.conditions.find(({ type }) => type === 'Ready') ?? {};
}

for (const args of [[], ['--overlay', 'host-gw', '--no-underlay-shortcut']]) {
  const test = suite(`beside others on a node ${args.join(' ')}`);

  test('the cluster is up', async () => {
    cluster = await startCluster({ args: ['--nodes', '2', ...args], manifests });
    webIP = (await cluster.get<{ status: { podIP: string } }>('pod', 'web')).status.podIP;
    await output(cluster.exec('dp-outside', ['ip', 'address', 'add', `${FAR}/32`, 'dev', 'lo']));
    await everything();
  });

  for (const [what, harm] of [
    ['dp0 is deleted', () => inNode('ip', 'link', 'del', 'dp0')],
    ['dp0 is taken down', () => inNode('ip', 'link', 'set', 'dp0', 'down')],
    ['dp0’s MTU is changed', () => inNode('ip', 'link', 'set', 'dp0', 'mtu', '1200')],
    ['the nft rules are flushed', () => inNode('nft', 'flush', 'ruleset')],
    [
      'the rules are flushed',
      () => inNode('sh', '-c', 'ip rule flush; ip rule add pref 0 lookup local; ip rule add pref 32766 lookup main'),
    ],
    ['dp0’s routes are flushed', () => inNode('ip', 'route', 'flush', 'table', '100')],
    ['forwarding is switched off', () => inNode('sysctl', '-qw', 'net.ipv4.ip_forward=0')],
    [
      'sources are checked on dp0',
      () => inNode('sysctl', '-qw', 'net.ipv4.conf.all.rp_filter=1', 'net.ipv4.conf.dp0.accept_local=0'),
    ],
  ] as const) {
    test(`${what}: restored within two seconds`, async () => {
      await harm();
      await sleep(RESTORED_MS);
      await everything();
      if (what.includes('nft') && args.length === 0) {
        assert.match(await inNode('nft', 'list', 'table', 'netdev', 'dataplane'), /fwd to "dp0"/);
      }
      assert.is((await readyOf('n1')).status, 'True');
    });
  }

  for (const [what, ruleset] of [
    [
      'a FORWARD policy of drop, as iptables and Docker set it',
      'table ip filter { chain FORWARD { type filter hook forward priority filter; policy drop; ct state related,established accept; }; }',
    ],
    [
      'a firewall that drops invalid packets and rejects the rest, as firewalld does',
      'table inet firewalld { chain filter_FORWARD { type filter hook forward priority 10; policy accept; ct state established,related accept; ct state invalid drop; reject with icmpx admin-prohibited; }; }',
    ],
  ] as const) {
    test(`${what}: nothing of ours meets it`, async () => {
      await nft(ruleset);
      await sleep(RESTORED_MS);
      await output(cluster.exec(N1, ['conntrack', '-F'])).catch(() => '');
      await everything();
      // And when it is written anew, as by a reload.
      const [, family = '', table = ''] = /^table (\w+) (\w+)/.exec(ruleset) ?? [];
      await nft(`delete table ${family} ${table}\n${ruleset}`);
      await sleep(RESTORED_MS);
      await everything();
      const tracked = (await inNode('conntrack', '-L'))
        .split('\n')
        .filter((line) => / src=10\.244\.|dport=4789|src=172\.18\.0\.1 .*dport=31080/.test(line));
      assert.equal(
        tracked.filter((line) => !line.includes('src=10.244.1.1 ')),
        [],
        'no entry for what is forwarded',
      );
      await inNode('nft', 'delete', 'table', family, table);
    });
  }

  test('dp0 has another name: the Node says so within five seconds, and recovers', async () => {
    await inNode('sh', '-c', 'ip link set dp0 down; ip link set dp0 name elsewhere');
    await sleep(REPORTED_MS);
    const { status, message, reason } = await readyOf('n1');
    assert.equal({ status, reason }, { status: 'False', reason: 'NetworkObstructed' });
    assert.match(message ?? '', /dp0/);
    assert.match(await cluster.cli('status'), /dp0 is gone/);
    await inNode('ip', 'link', 'set', 'elsewhere', 'name', 'dp0');
    await eventually(async () => ((await readyOf('n1')).status === 'True' ? true : undefined), REPORTED_MS);
    await eventually(() => everything().then(() => true), REPORTED_MS);
  });

  test('the cluster is down, and nothing is left', async () => cluster.down());

  test.run();
}
