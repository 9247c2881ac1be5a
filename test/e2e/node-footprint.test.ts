/**
 * What an agent has on a machine that is a node of a cluster: `node plan` lists all of it before, and `node reset` removes all
 * of it and nothing else.
 */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { NodePlan } from '../../src/agent/footprint/plan.ts';
import { ApiClient } from '../../src/api/client/client.ts';
import type { NodeObject } from '../../src/api/types/objects.ts';
import { API_SOCKET } from '../../src/cluster/state.ts';
import { type Cluster, eventually, MAIN, nodeNetns, output, type Ran, run, startCluster } from '../lib/cluster.ts';
import { CalledPlugin, type CniContainer, makeContainerNamespace } from '../lib/cni/called-plugin.ts';
import { JoinedNode } from '../lib/joined-node.ts';

const test = suite('footprint of a node');
const NODE = 'f1';
const NODE_IP = '172.18.0.61';
const NETNS = nodeNetns(NODE);
const CONTAINER: CniContainer = { id: 'one', netns: 'container-one' };

let cluster: Cluster;
let client: ApiClient;
let node: JoinedNode;
let before: Snapshot;

/** What the machine has of its own: a firewall that drops, settings, a rule, a route, reserved ports. */
const OWN = `
sysctl -qw net.ipv4.ip_forward=0 net.ipv4.conf.all.rp_filter=1 net.ipv4.ip_local_reserved_ports=8080,9000-9001
ip rule add pref 40 to 203.0.113.0/24 lookup 77
ip route add 203.0.113.0/24 via 172.18.0.1 table 77
nft -f - <<END
table inet operator {
  chain forward { type filter hook forward priority 0; policy drop; ct state established accept; }
  chain input { type filter hook input priority 0; policy accept; tcp dport 22 accept; }
}
END
`;

/** Lines of everything that an agent could change, by what shows them. */
type Snapshot = Record<'rules' | 'routes' | 'links' | 'nft' | 'sysctls' | 'files', readonly string[]>;

const inNode = (...command: string[]): Promise<Ran> => run(['ip', 'netns', 'exec', NETNS, ...command]);
const lines = async (ran: Promise<Ran>): Promise<string[]> =>
  (await output(ran)).split('\n').filter((line) => line.trim() !== '');

async function snapshot(): Promise<Snapshot> {
  const shell = (script: string): Promise<string[]> => lines(inNode('sh', '-c', script));
  return {
    rules: await shell('ip -4 rule show'),
    // `linkdown` while no process has dp0 open.
    routes: (await shell('ip -4 route show table all | sed "s/linkdown *//"')).sort(),
    links: await shell('ip -o link show | cut -d: -f2'),
    nft: await shell('nft -s list ruleset'),
    sysctls: await shell('sysctl -a -r "^net[.]ipv[46]" 2>/dev/null'),
    files: [...filesUnder(node.directory), ...readdirSync('/dev/shm').filter((name) => name.includes(`-${NODE}-`))],
  };
}

const filesUnder = (directory: string): string[] => (readdirSync(directory, { recursive: true }) as string[]).sort();

const commandLine = (...args: string[]): Promise<Ran> => inNode(process.execPath, MAIN, 'node', ...args);
const plan = (...more: string[]): Promise<Ran> =>
  commandLine('plan', '--node', NODE, '--kubeconfig', node.kubeconfig, ...node.args, '--state', state(), ...more);
const reset = (...more: string[]): Promise<Ran> =>
  commandLine('reset', '--node', NODE, ...placesOf(node.args), '--state', state(), ...more);
const state = (): string => join(node.directory, 'state');
const placesOf = (args: readonly string[]): string[] => args.filter((arg) => arg !== '--cni');

async function planned(): Promise<NodePlan> {
  return JSON.parse(await output(plan('-o', 'json'))) as NodePlan;
}

test.before(async () => {
  cluster = await startCluster({ args: ['--nodes', '1'], manifests: [] });
  client = new ApiClient(API_SOCKET);
  const status = { addresses: [{ type: 'InternalIP' as const, address: NODE_IP }] };
  await client.create<NodeObject>({ apiVersion: 'v1', kind: 'Node', metadata: { name: NODE }, status } as NodeObject);
  await eventually(async () => (await client.get('Node', NODE)).spec?.podCIDR);
  node = new JoinedNode({ name: NODE, ip: NODE_IP });
  const directories = { configuration: join(node.directory, 'net.d'), programs: join(node.directory, 'bin') };
  mkdirSync(directories.configuration);
  mkdirSync(directories.programs);
  node.args.push('--cni', '--cni-conf-dir', directories.configuration, '--cni-bin-dir', directories.programs);
  node.args.push('--cni-socket', join(node.directory, 'cni.sock'));
  await node.make(cluster);
  await output(inNode('sh', '-ec', OWN));
  before = await snapshot();
});
test.after(async () => {
  client?.close();
  await node?.remove();
  await cluster?.down();
});

test('`node plan` lists rules, routes, settings, tables and files, and changes nothing', async () => {
  const text = await output(plan());
  for (const expected of [
    /^KIND +NAME +NOW +WITH AN AGENT$/m,
    /^device +dp0 +- +TAP, address 10\.244\.\d+\.1\/32, MTU 1500$/m,
    /^device +dp1 +- +TAP, no address, MTU 1500$/m,
    /^rule +pref 0 lookup 255 +present +removed/m,
    /^route +10\.244\.0\.0\/16 dev dp0 table 254 src 10\.244\.\d+\.1 +- +added$/m,
    /^sysctl +net\.ipv4\.ip_forward +0 +1$/m,
    /^nftables +rule in inet operator forward iifname "dp0" counter accept/m,
    /^file +\S+\/net\.d\/05-dataplane\.conflist +- /m,
  ]) {
    assert.match(text, expected);
  }
  assert.not.match(text, /In the way/);
  assert.equal(await snapshot(), before);
});

test('what the agent changes is what the plan lists', async () => {
  const { items } = await planned();
  const names = (kind: string): string[] => items.filter((item) => item.kind === kind).map(({ name }) => name);
  await node.start('container runtimes are served');
  const now = await snapshot();
  const gone = (part: keyof Snapshot): string[] => before[part].filter((line) => !now[part].includes(line));
  const fresh = (part: keyof Snapshot): string[] => now[part].filter((line) => !before[part].includes(line));

  assert.equal(gone('rules'), ['0:\tfrom all lookup local']);
  assert.is(fresh('rules').length, names('rule').filter((name) => /^pref [1-9]/.test(name)).length);
  assert.equal(gone('routes'), []);
  const isPlanned = (route: string): boolean =>
    names('route').some((name) => name.startsWith(`${route.split(' ')[0]} dev dp0`)) || /^local 10\.244/.test(route);
  assert.equal(
    fresh('routes').filter((route) => !isPlanned(route)),
    [],
  );
  assert.equal(fresh('links'), [' dp0', ' dp1']);
  const settings = fresh('sysctls').filter((line) => !/\.dp[01]\./.test(line));
  const known = names('sysctl');
  assert.equal(
    settings.map((line) => line.split(' = ')[0] as string).filter((name) => !known.includes(name)),
    // Set by the kernel with ip_forward.
    ['all.accept_redirects', 'all.forwarding', 'default.forwarding', 'lo.forwarding'].map(
      (name) => `net.ipv4.conf.${name}`,
    ),
  );
  for (const { kind, name, now: value, withAgent } of (await planned()).items) {
    if (kind === 'sysctl' && value !== '' && !value.startsWith('with')) assert.is(value, withAgent, name);
    if (['rule', 'route'].includes(kind) && withAgent === 'added') assert.is(value, 'present', name);
    if (kind === 'file') assert.is(value, 'present', name);
  }
});

test('`node reset` refuses while the agent runs, and while pods are connected, and changes nothing then', async () => {
  await makeContainerNamespace(CONTAINER.netns);
  const runtime = new CalledPlugin(join(node.directory, 'net.d', '05-dataplane.conflist'), join(node.directory, 'bin'));
  await runtime.add(CONTAINER);
  const now = await snapshot();
  const running = await reset();
  assert.is(running.status, 1);
  assert.match(running.stderr, /^node f1: its agent is running \(pid \d+\): stop it first; nothing was changed\n$/);
  await node.stop();
  const connected = await reset();
  assert.is(connected.status, 1);
  assert.match(connected.stderr, /1 pod is connected, and would lose the network: drain the node first/);
  const { files: _, ...kept } = now;
  assert.equal({ ...(await snapshot()), files: undefined }, { ...kept, files: undefined });
});

test('`node reset --force` leaves the machine as it was before the first agent', async () => {
  const { status, stdout, stderr } = await reset('--force');
  assert.is(status, 0, stderr);
  assert.match(stdout, /^node f1: removed dp0, dp1, \d+ rules, \d+ routes, \d+ files, 1 pod; restored \d+ settings\n$/);
  const now = await snapshot();
  for (const part of Object.keys(before) as (keyof Snapshot)[]) assert.equal(now[part], before[part], part);
  assert.not.match(await output(run(['ip', '-n', CONTAINER.netns, '-o', 'link'])), /eth0/);
  assert.not(existsSync(state()));
  const again = await reset();
  assert.is(again.status, 1);
  assert.match(again.stderr, /no agent of it has run here/);
});

test('what is in the way is named, and an agent does not start beside kube-proxy', async () => {
  writeFileSync(join(node.directory, 'net.d', '00-other.conflist'), '{}');
  await output(
    inNode(
      'sh',
      '-ec',
      `ip link add flannel.1 type vxlan id 1 dstport 4789 dev eth0
       ip rule add pref 9 fwmark 7 lookup 77
       ip route add 198.51.100.0/24 via 172.18.0.1 table 100
       nft add table ip nat; nft add chain ip nat KUBE-SERVICES; nft add rule ip nat KUBE-SERVICES counter`,
    ),
  );
  const { status, stdout, stderr } = await plan();
  assert.is(status, 1);
  assert.match(stderr, /^node f1: an agent would not work here: see what is in the way\n$/);
  for (const expected of [
    /kube-proxy \(iptables, chain KUBE-SERVICES\) translates/,
    /device flannel\.1 receives vxlan on port 4789/,
    /rule `pref 9 lookup 77` has a preference of the agent's/,
    /routing table 100 has a route to 198\.51\.100\.0\/24/,
    /00-other\.conflist comes before 05-dataplane\.conflist/,
  ]) {
    assert.match(stdout, expected);
  }
  const crowded = await snapshot();
  await node.start('kube-proxy').catch(() => {});
  assert.match(node.log, /^node f1: kube-proxy \(iptables, chain KUBE-SERVICES\) translates .*`kube-proxy --cleanup`/m);
  assert.equal({ ...(await snapshot()), files: [] }, { ...crowded, files: [] });
});

test.run();
