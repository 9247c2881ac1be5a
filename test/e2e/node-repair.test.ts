/**
 * Interference by other programs on a node: what they remove or change is restored within two seconds, firewalls that
 * drop forwarded packets do not affect ours, and what cannot be restored is in the Node's Ready condition within five.
 */
import { decode, encode, RECURSION_DESIRED } from 'dns-packet';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Cluster, eventually, nodeNetns, output, podNetns, processPod, startCluster } from '../lib/cluster.ts';

const SERVE = `require('http').createServer((q, r) => r.end('served')).listen(80);`;
/** A query for the address of the Service, as nc sends it: all bytes are ASCII. */
const QUESTION = { type: 'A', name: 'web.default.svc.cluster.local' } as const;
const QUERY = encode({ type: 'query', id: 1, flags: RECURSION_DESIRED, questions: [QUESTION] }).toString('latin1');
const ASK = 'nc -u -w 1 -W 1 10.96.0.10 53 | od -An -v -tx1';
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

/** The cluster's name server resolves the Service for a pod. A Node to ask it would take as long as all other paths together. */
async function resolve(): Promise<void> {
  const reply = await output(cluster.exec(CLIENT, ['sh', '-c', ASK], { input: QUERY }));
  const { answers = [] } = decode(Buffer.from(reply.replaceAll(/\s/g, ''), 'hex'));
  assert.is(answers[0]?.type, 'A');
}

/** Every kind of path: between pods, in fragments, through a NodePort, from the node, to the outside. */
async function everything(): Promise<void> {
  const ping = (...args: string[]) => output(cluster.exec(CLIENT, ['ping', '-c', '1', '-W', '1', ...args]));
  await Promise.all([
    ping(webIP),
    ping('-s', '5000', webIP),
    cluster.fetch('dp-outside', `http://172.18.0.11:${NODE_PORT}/`, '--max-time', '1'),
    cluster.fetch(N1, `http://${webIP}/`, '--max-time', '1'),
    ping('-s', '5000', FAR),
    ping('172.18.0.1'),
    resolve(),
  ]);
}

/** Retries until `work` succeeds; throws its last error. */
const within = (ms: number, work: () => Promise<unknown>): Promise<true> =>
  eventually(() => work().then(() => true), ms);

const DP0_LEADS = 'ip link show dp0 up | grep -q dp0 && ip route show table 100 | grep -q default';
/** What others do, and what shows that it is restored, as shell commands in the node. */
const HARMS = [
  ['dp0 is deleted', 'ip link del dp0', DP0_LEADS],
  ['dp0 is taken down', 'ip link set dp0 down', DP0_LEADS],
  ['dp0’s MTU is changed', 'ip link set dp0 mtu 1200', 'ip link show dp0 | grep -q "mtu 1500"'],
  ['the nft rules are flushed', 'nft flush ruleset', 'nft list table ip dataplane'],
  [
    'the rules are flushed',
    'ip rule flush; ip rule add pref 0 lookup local; ip rule add pref 32766 lookup main',
    'ip rule | grep -q "iif dp0" && ! ip rule | grep -q ^0:',
  ],
  ['dp0’s routes are flushed', 'ip route flush table 100', DP0_LEADS],
  ['forwarding is switched off', 'sysctl -qw net.ipv4.ip_forward=0', 'grep -q 1 /proc/sys/net/ipv4/ip_forward'],
  [
    'sources are checked on dp0',
    'sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.dp0.accept_local=0',
    'grep -q 0 /proc/sys/net/ipv4/conf/all/rp_filter && grep -q 1 /proc/sys/net/ipv4/conf/dp0/accept_local',
  ],
] as const;
const DP1_IS_UP = 'ip link show dp1 up | grep -q dp1';
const HARMS_OF_DEVICES = [
  ['dp1 is deleted', 'ip link del dp1', DP1_IS_UP],
  ['dp1 is taken down', 'ip link set dp1 down', DP1_IS_UP],
  ['dp1’s MTU is changed', 'ip link set dp1 mtu 1200', 'ip link show dp1 | grep -q "mtu 1500"'],
  ['dp0’s MAC is changed', 'ip link set dp0 address 02:00:00:00:00:55', 'ip link show dp0 | grep -q 0a:58:0a:f4:01:01'],
  ['dp0’s queue is shortened', 'ip link set dp0 txqueuelen 1', 'ip link show dp0 | grep -q "qlen 4096"'],
  ['dp0 uses ARP', 'ip link set dp0 arp on', 'ip link show dp0 | grep -q NOARP'],
  [
    'dp0 belongs to a bridge',
    'ip link add br9 type bridge; ip link set br9 up; ip link set dp0 master br9',
    '! ip link show dp0 | grep -q master && ip link del br9',
  ],
  [
    'dp0’s queue shapes',
    'tc qdisc add dev dp0 root tbf rate 8kbit burst 1600 limit 3000',
    '! tc qdisc show dev dp0 | grep -q tbf',
  ],
] as const;
const ACCEPTS = /[io]ifname "dp0" counter[\s\S]*[io]ifname "dp0" counter/;

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

  for (const [what, harm, restored] of args.length === 0 ? [...HARMS, ...HARMS_OF_DEVICES] : HARMS) {
    test(`${what}: restored within two seconds`, async () => {
      await inNode('sh', '-c', harm);
      await within(RESTORED_MS, () => inNode('sh', '-c', restored));
      await everything();
      if (what.includes('nft') && args.length === 0) {
        assert.match(await inNode('nft', 'list', 'table', 'netdev', 'dataplane'), /fwd to "dp1"[\s\S]*fwd to "dp0"/);
      }
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
      const [, family = '', table = '', chain = ''] = /^table (\w+) (\w+) \{ chain (\w+)/.exec(ruleset) ?? [];
      const accepted = async () => assert.match(await inNode('nft', 'list', 'chain', family, table, chain), ACCEPTS);
      await nft(ruleset);
      await within(RESTORED_MS, accepted);
      await output(cluster.exec(N1, ['conntrack', '-F'])).catch(() => '');
      await everything();
      // And when it is written anew, as by a reload.
      await nft(`delete table ${family} ${table}\n${ruleset}`);
      await within(RESTORED_MS, accepted);
      await everything();
      const tracked = (await inNode('conntrack', '-L'))
        .split('\n')
        .filter((line) => / src=10\.244\.|dport=4789|src=172\.18\.0\.1 .*dport=31080/.test(line));
      assert.equal(
        // What the node itself sends and receives stays tracked: its own connections, and pods' queries to its name server.
        tracked.filter((line) => !/src=10\.244\.1\.1 |dport=10053 /.test(line)),
        [],
        'no entry for what is forwarded',
      );
      await inNode('nft', 'delete', 'table', family, table);
    });
  }

  test('iptables-legacy drops what is forwarded: nothing of ours meets it', async () => {
    if ((await cluster.exec(N1, ['which', 'iptables-legacy'])).status !== 0) return;
    const legacy = (...rules: string[]) => inNode('iptables-legacy', ...rules);
    await legacy('-P', 'FORWARD', 'DROP');
    await within(RESTORED_MS, async () =>
      assert.match(await legacy('-S', 'FORWARD'), /-i dp0 -j ACCEPT[\s\S]*-o dp0|-o dp0[\s\S]*-i dp0/),
    );
    await everything();
    await legacy('-P', 'FORWARD', 'ACCEPT');
  });

  for (const [what, harm, expected, undo] of [
    ...(args.length === 0
      ? ([
          [
            'a firewall drops all of dp0 before it is forwarded',
            'nft \'table ip own { chain pre { type filter hook prerouting priority -310; iifname "dp0" drop; }; }\'',
            /nftables, ip own pre drops all packets of dp0/,
            'nft delete table ip own',
          ],
          [
            'a rule before ours delivers what is for dp0 to the node itself',
            'ip rule add pref 3 lookup local',
            /packets to NodePorts go to lo /,
            'ip rule del pref 3',
          ],
          [
            'another network plugin has left a route to another node’s pods',
            'ip route add 10.244.2.0/24 via 172.18.0.1',
            /packets to 10\.244\.2\.0\/24 go to eth0 /,
            'ip route del 10.244.2.0/24',
          ],
          [
            'a rule refuses packets to pods',
            'ip rule add pref 4 to 10.244.0.0/16 prohibit',
            /packets to 10\.244\.\d\.0\/24 are refused/,
            'ip rule del pref 4',
          ],
          [
            'the node’s address is on no device',
            'ip address del 172.18.0.11/24 dev eth0',
            /no device has the node's address 172\.18\.0\.11/,
            'ip address add 172.18.0.11/24 dev eth0; ip route add default via 172.18.0.1',
          ],
        ] as const)
      : []),
    [
      'dp0 has another name',
      'ip link set dp0 down; ip link set dp0 name elsewhere',
      /dp0 was deleted/,
      'ip link set elsewhere name dp0',
    ],
  ] as const) {
    test(`${what}: the Node reports it within five seconds, and recovers`, async () => {
      await inNode('sh', '-c', harm);
      await within(REPORTED_MS, async () => {
        const { status, message, reason } = await readyOf('n1');
        assert.equal({ status, reason }, { status: 'False', reason: 'NetworkObstructed' });
        assert.match(message ?? '', expected);
      });
      assert.match(await cluster.cli('status'), expected);
      await inNode('sh', '-c', undo);
      await within(REPORTED_MS, async () => assert.is((await readyOf('n1')).status, 'True'));
      await within(REPORTED_MS, everything);
    });
  }

  test('ufw with its defaults: nothing of ours meets it, the pods’ DNS either', async () => {
    if (args.length > 0 || (await cluster.exec(N1, ['which', 'ufw'])).status !== 0) return;
    // A copy of its configuration, so that the machine's stays as it is.
    await inNode('sh', '-ec', 'cp -a /etc/ufw /run/ufw; mount --bind /run/ufw /etc/ufw; ufw --force enable');
    await within(RESTORED_MS, everything);
    assert.match(await inNode('nft', 'list', 'chain', 'ip', 'filter', 'INPUT'), /policy drop/);
  });

  test('the cluster is down, and nothing is left', async () => cluster.down());

  test.run();
}
