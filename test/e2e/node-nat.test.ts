/**
 * Translation by the node's own nftables rules beside that of the data plane: ports that Docker publishes, DNAT to pods
 * and services, hardening rules for packets that the kernel's conntrack does not know. A plain Linux router with the
 * same rules is the control.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Cluster, nodeNetns, output, podNetns, processPod, startCluster } from '../lib/cluster.ts';
import { linux, startLinuxRouter, stopLinuxRouter } from '../lib/kernel/linux-router.ts';
import { addNamespaces, ip, makeHost, removeNamespaces } from '../lib/namespaces.ts';
import { ECHO, NODE_IPS, nameOf, OUTSIDE, serviceObject, startEcho } from '../lib/services/services.ts';

const N1 = nodeNetns('n1');
const CONTAINER = 'dp-container';
const CONTAINER_IP = '172.17.0.2';
const BRIDGE_IP = '172.17.0.1';
/** One outside of all our ranges of ports, one among NodePorts without a Service, and one among those of masqueraded pods. */
const PUBLISHED = [8080, 31000, 40_000];
/** An address outside that is behind a router for the nodes. */
const FAR = '198.51.100.7';
/** An address that the router outside refuses. */
const NOWHERE = '192.0.2.1';
const PORT = 7900;

const test = suite('beside the node’s own NAT');
let cluster: Cluster;
let [local, remote, vip] = ['', '', ''];

const nft = (netns: string, rules: string) => output(cluster.exec(netns, ['nft', '-f', '-'], { input: rules }));

const serve = (netns: string, name: string, port: number) =>
  startEcho(cluster, netns, `tcp:${port}`, `udp:${port}`, `name=${name}`);

/** Name of the server that answers by TCP and by UDP, also in fragments. */
async function asked(netns: string, to: string, port: number): Promise<string> {
  const tcp = nameOf(await cluster.fetch(netns, `http://${to}:${port}/`, '--max-time', '2'));
  const program = `import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setsockopt(socket.IPPROTO_IP, 10, 0); s.settimeout(1); s.connect((sys.argv[1], int(sys.argv[2])))
for n in (10, 4000):
    s.send(b'x' * n); print(s.recv(65535).decode().split(' ')[0])`;
  const udp = (await output(cluster.exec(netns, ['python3', '-c', program, to, `${port}`]))).trim().split('\n');
  assert.equal(udp, [tcp, tcp], `${netns} to ${to}:${port} by UDP`);
  return tcp;
}

/** As Docker writes it for `-p PORT:80`. @param toward device of the container */
const published = (address: string, port: number, device: string): string => `
table ip published {
  chain in { type nat hook prerouting priority dstnat - 1; fib daddr type local meta l4proto { tcp, udp } th dport { ${PUBLISHED.join(', ')} } dnat to ${address}:${port}; }
  chain out { type nat hook output priority -100; ip daddr != 127.0.0.0/8 fib daddr type local meta l4proto { tcp, udp } th dport { ${PUBLISHED.join(', ')} } dnat to ${address}:${port}; }
  chain post { type nat hook postrouting priority srcnat; ip saddr ${address} oifname != "${device}" masquerade; }
}`;

test.before(async () => {
  const server = (name: string, node: string) => {
    const pod = processPod(name, node, [...ECHO, 'tcp:80', 'udp:80']);
    return { ...pod, metadata: { ...pod.metadata, labels: { app: name } } };
  };
  const ports = [
    { name: 't', port: 80 },
    { name: 'u', port: 80, protocol: 'UDP' as const },
  ];
  cluster = await startCluster({
    args: ['--nodes', '2'],
    manifests: [
      server('local', 'n1'),
      server('remote', 'n2'),
      processPod('client', 'n1', ['sleep', 'infinity']),
      serviceObject('remote', 'remote', { type: 'NodePort', ports }),
    ],
  });
  const address = async (name: string) => (await cluster.get<{ status: { podIP: string } }>('pod', name)).status.podIP;
  [local, remote] = [await address('local'), await address('remote')];
  vip = (await cluster.get<{ spec: { clusterIP: string } }>('service', 'remote')).spec.clusterIP;

  await startLinuxRouter();
  await addNamespaces(CONTAINER);
  await ip(
    N1,
    'link add docker0 type bridge',
    `address add ${BRIDGE_IP}/16 dev docker0`,
    'link set docker0 up',
    `link add veth1 type veth peer name eth0 netns ${CONTAINER}`,
    'link set veth1 master docker0 up',
  );
  await makeHost(CONTAINER, CONTAINER_IP, BRIDGE_IP);
  await ip(OUTSIDE, `address add ${FAR}/32 dev lo`, `route add unreachable ${NOWHERE}`);
  await output(cluster.exec(OUTSIDE, ['sysctl', '-qw', 'net.ipv4.ip_forward=1']));
  await serve(CONTAINER, 'container', 80);
  await serve(OUTSIDE, 'outside', PORT);
  await serve(linux.host, 'container', 80);
  await serve(linux.client, 'local', 80);
});

test.after(async () => {
  await stopLinuxRouter();
  await removeNamespaces(CONTAINER);
  await cluster?.down();
});

test('a port that Docker publishes on a node is reached by pods of that node, by others, and from outside', async () => {
  await nft(N1, published(CONTAINER_IP, 80, 'docker0'));
  await nft(linux.router, published(linux.hostIP, 80, 'outside'));
  for (const port of PUBLISHED) {
    for (const from of [podNetns('client'), podNetns('remote'), OUTSIDE, nodeNetns('n2'), N1]) {
      assert.is(await asked(from, NODE_IPS.n1!, port), 'container', `${from}, port ${port}`);
    }
  }
  assert.is(await asked(linux.client, linux.routerIP, PUBLISHED[0]!), 'container', 'plain Linux');
});

test('a container of Docker on the node reaches pods, services and the outside', async () => {
  for (const [to, port, name] of [
    [local, 80, 'local'],
    [remote, 80, 'remote'],
    [vip, 80, 'remote'],
    ['172.18.0.1', PORT, 'outside'],
  ] as const) {
    assert.is(await asked(CONTAINER, to, port), name, to);
  }
  assert.is(await asked(podNetns('client'), CONTAINER_IP, 80), 'container', 'a pod asks it without the published port');
});

test('DNAT rules of the node lead to pods of any node and to services', async () => {
  const to = (port: number, target: string) => `meta l4proto { tcp, udp } th dport ${port} dnat to ${target}:80`;
  const rules = (targets: readonly string[], device: string) =>
    `table ip forwards { chain in { type nat hook prerouting priority dstnat - 2; ${targets.map((target, i) => `iifname "${device}" ${to(8441 + i, target)};`).join(' ')} }; }`;
  await nft(N1, rules([local, remote, vip], 'eth0'));
  await nft(linux.router, rules([linux.clientIP], 'outside'));
  assert.is(await asked(OUTSIDE, NODE_IPS.n1!, 8441), 'local');
  assert.is(await asked(OUTSIDE, NODE_IPS.n1!, 8442), 'remote');
  assert.is(await asked(OUTSIDE, NODE_IPS.n1!, 8443), 'remote');
  assert.is(await asked(linux.host, linux.routerIP, 8441), 'local', 'plain Linux');
});

test('rules that drop what conntrack does not know, before forwarding: replies, errors and ports below 1024 pass', async () => {
  const hardening = `table ip hardening {
    chain pre { type filter hook prerouting priority mangle; ct state invalid counter drop; tcp flags & (fin|syn|rst|ack) != syn ct state new counter drop; }
    chain out { type filter hook output priority mangle; ct state invalid drop; }
    chain post { type filter hook postrouting priority mangle; ct state invalid drop; }
  }`;
  for (const netns of [N1, linux.router]) await nft(netns, hardening);
  for (const [from, to, neighbour, nowhere] of [
    [podNetns('client'), FAR, '172.18.0.1', NOWHERE],
    [linux.client, linux.hostIP, linux.hostIP, ''],
  ] as const) {
    const ping = (...args: string[]) => output(cluster.exec(from, ['ping', '-c', '1', '-W', '1', ...args]));
    await ping(to);
    await ping('-s', '5000', to);
    await ping(neighbour);
    // The error of a router outside, about a masqueraded packet.
    if (nowhere !== '')
      assert.match(
        (await cluster.exec(from, ['ping', '-c', '1', '-W', '2', nowhere])).stdout,
        /Unreachable|Packet filtered/,
      );
    const server = from === linux.client ? 'container' : 'outside';
    const port = from === linux.client ? 80 : PORT;
    for (const source of ['700', '50123']) {
      const body = await cluster.fetch(from, `http://${to}:${port}/`, '--local-port', source);
      assert.is(nameOf(body), server, `${from} from port ${source}`);
    }
    assert.is(await asked(from, neighbour, port), server);
  }
  assert.is(await asked(OUTSIDE, NODE_IPS.n1!, 8441), 'local');
  assert.is(await asked(podNetns('client'), vip, 80), 'remote');
  for (const from of [N1, nodeNetns('n2')]) assert.is(await asked(from, vip, 80), 'remote');
  await output(cluster.exec(N1, ['ping', '-c', '1', '-W', '1', FAR]));
});

test.run();
