/**
 * Situations of nodes that hurt users of other data planes, end to end, beside a plain Linux router where one answers
 * them: docs/field.md lists each with its reference.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { eventually, nodeNetns, output } from '../lib/cluster.ts';
import { linux, startLinuxRouter, stopLinuxRouter } from '../lib/kernel/linux-router.ts';
import { addNamespaces, ip, makeHost, removeNamespaces } from '../lib/namespaces.ts';
import {
  clientOf,
  echoPod,
  nameOf,
  OUTSIDE,
  podNetns,
  serviceObject,
  startEcho,
  vip,
} from '../lib/services/services.ts';
import { CLIENT_1, CLIENT_2, N1, N2, PODS, serviceSuite } from '../lib/services/suite.ts';

const [LOCAL_PORT, REMOTE_PORT, KEEPING_PORT] = [31_081, 31_082, 31_083];
const [LOCAL_IP, REMOTE_IP] = ['203.0.113.1', '203.0.113.2'];
/** An address outside that is behind a router for the nodes. */
const FAR = '198.51.100.7';
const PORT = 7900;
const BEHIND = 'dp-behind-n1';

const both = (nodePort: number) => [
  { name: 't', port: 80, nodePort },
  { name: 'u', port: 80, protocol: 'UDP' as const, nodePort },
];
const { test, cluster, s } = await serviceSuite('field, nodes', {
  args: ['--nodes', '2', '--external-ip-cidr', '203.0.113.0/24'],
  manifests: [
    ...PODS,
    echoPod('near', 'n1', 'near'),
    echoPod('far', 'n2', 'far'),
    serviceObject('near', 'near', { type: 'NodePort', ports: both(LOCAL_PORT), externalIPs: [LOCAL_IP] }),
    serviceObject('far', 'far', { type: 'NodePort', ports: both(REMOTE_PORT), externalIPs: [REMOTE_IP] }),
    serviceObject('keeping', 'near', {
      type: 'NodePort',
      ports: both(KEEPING_PORT),
      externalTrafficPolicy: 'Local',
    }),
  ],
});
const [HOST_1, HOST_2] = [nodeNetns('n1'), nodeNetns('n2')];
const [NEAR, FAR_POD] = [podNetns('near'), podNetns('far')];

const within = (netns: string, ...args: string[]) => output(cluster.exec(netns, args));
const nft = (netns: string, rules: string) => output(cluster.exec(netns, ['nft', '-f', '-'], { input: rules }));
const ask = async (netns: string, place: string, ...args: string[]) =>
  cluster.fetch(netns, `http://${place}/`, '--max-time', '2', ...args);
const python = async (netns: string, program: string, ...args: string[]) =>
  (await within(netns, 'python3', '-c', program, ...args)).trim();

const serve = (netns: string, name: string, port: number) =>
  startEcho(cluster, netns, `tcp:${port}`, `udp:${port}`, `name=${name}`);

test('the control is there', async () => {
  await startLinuxRouter();
  await ip(OUTSIDE, `address add ${FAR}/32 dev lo`);
  await serve(OUTSIDE, 'outside', PORT);
  await serve(linux.host, 'outside', PORT);
  await serve(linux.client, 'linux', LOCAL_PORT);
});

test('pods reach themselves and each other by every address of a service, of every node (kubernetes #87263, #113105, metallb #2751, kube-router #9)', async () => {
  for (const place of [
    vip(await s.api.get('Service', 'near', 'default')),
    LOCAL_IP,
    `${N1}:${LOCAL_PORT}`,
    `${N2}:${LOCAL_PORT}`,
    `${N1}:${KEEPING_PORT}`,
  ]) {
    assert.is(nameOf(await ask(NEAR, place)), 'near', place);
  }
  for (const from of [CLIENT_1, CLIENT_2, HOST_1, HOST_2, OUTSIDE, NEAR, FAR_POD]) {
    assert.is(nameOf(await ask(from, LOCAL_IP)), 'near', from);
    assert.is(nameOf(await ask(from, REMOTE_IP)), 'far', from);
  }
});

/** Sends datagrams in one super-packet, and prints how many came back. */
const SUPER_PACKET = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(1); s.setsockopt(socket.IPPROTO_UDP, 103, int(sys.argv[3])); s.connect((sys.argv[1], int(sys.argv[2])))
n = int(sys.argv[4]); best = 0
for attempt in range(3):
    s.send(b'y' * (int(sys.argv[3]) * n)); got = 0
    try:
        while got < n: s.recv(65535); got += 1
    except Exception: pass
    best = max(best, got)
    if best == n: break
print(best)`;

test('UDP in super-packets, as QUIC sends it, by NodePort and out, also where the wire merges them (calico #11653)', async () => {
  for (const merging of ['', 'rx-udp-gro-forwarding', 'rx-gro-list']) {
    // A kernel without that feature merges nothing.
    if (merging !== '')
      for (const netns of [HOST_1, HOST_2]) await cluster.exec(netns, ['ethtool', '-K', 'eth0', merging, 'on']);
    for (const [from, to, port] of [
      [CLIENT_1, '172.18.0.1', PORT],
      [OUTSIDE, N1, REMOTE_PORT],
      [OUTSIDE, N1, KEEPING_PORT],
      [linux.client, linux.hostIP, PORT],
      [linux.host, linux.routerIP, LOCAL_PORT],
    ] as const) {
      assert.is(
        await python(from, SUPER_PACKET, to, `${port}`, '1200', '30'),
        '30',
        `${from} to ${to}:${port} ${merging}`,
      );
    }
  }
});

test('strict reverse-path rules of a firewall (NixOS), and a masquerade of everything: nothing is lost, clients keep their addresses (flannel #1528, #835)', async () => {
  const rules = `
table inet strict {
  chain rpfilter { type filter hook prerouting priority mangle + 10; policy drop; meta nfproto ipv4 fib saddr . mark . iif oif exists accept; }
}
table ip hide {
  chain post { type nat hook postrouting priority srcnat; oifname { "eth0", "dp0", "outside", "inside" } masquerade; }
}`;
  for (const netns of [HOST_1, linux.router]) await nft(netns, rules);
  assert.is(nameOf(await ask(CLIENT_1, `${FAR}:${PORT}`)), 'outside');
  assert.is(nameOf(await ask(linux.client, `${linux.hostIP}:${PORT}`)), 'outside', 'plain Linux');
  await within(CLIENT_1, 'ping', '-c', '1', '-W', '1', '-s', '5000', FAR);
  assert.is(nameOf(await ask(CLIENT_1, REMOTE_IP)), 'far');
  assert.is(clientOf(await ask(OUTSIDE, `${N1}:${KEEPING_PORT}`)), '172.18.0.1');
  for (const from of [HOST_1, HOST_2]) assert.is(nameOf(await ask(from, REMOTE_IP)), 'far');
  for (const netns of [HOST_1, linux.router]) await nft(netns, 'delete table inet strict\ndelete table ip hide');
});

test('a device stops forwarding, as a sysctl of its own: restored', async () => {
  for (const device of ['dp0', 'eth0']) {
    await within(HOST_1, 'sysctl', '-qw', `net.ipv4.conf.${device}.forwarding=0`);
    await eventually(async () => {
      const value = await within(HOST_1, 'sysctl', '-n', `net.ipv4.conf.${device}.forwarding`);
      return value.trim() === '1' ? true : undefined;
    }, 3000);
    await within(CLIENT_1, 'ping', '-c', '1', '-W', '1', '-s', '5000', FAR);
  }
});

test('servers of the node on ports that pods’ connections may have (WireGuard, mosh), and its clients with any ephemeral port (kubernetes #139276)', async () => {
  await serve(HOST_1, 'node', 51_820);
  for (const from of [OUTSIDE, CLIENT_1, CLIENT_2, HOST_2, HOST_1]) {
    assert.is(nameOf(await ask(from, `${N1}:51820`)), 'node', from);
  }
  assert.is(clientOf(await ask(CLIENT_1, `${N1}:51820`)), await s.podIp('client-1'));
  assert.is(
    await python(OUTSIDE, SUPER_PACKET.replace(/ s\.setsockopt[^;]*;/, ''), N1, '51820', '9000', '1'),
    '1',
    'in fragments',
  );
  await within(HOST_1, 'sysctl', '-qw', 'net.ipv4.ip_local_port_range=1024 65535');
  const many = `import socket
bad = []
for i in range(400):
    try: s = socket.create_connection(('172.18.0.1', ${PORT}), 2); s.close()
    except Exception as e: bad.append(str(e))
print(bad)`;
  assert.is(await python(HOST_1, many), '[]');
  assert.is(await python(linux.router, many.replace('172.18.0.1', linux.hostIP)), '[]', 'plain Linux');
});

test('multicast and broadcast of the node itself reach its sockets', async () => {
  const listen = `import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 5353)); s.settimeout(4)
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, struct.pack('4s4s', socket.inet_aton('224.0.0.251'), socket.inet_aton('${N1}')))
print(s.recv(99).decode())`;
  const send = `import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1); s.setsockopt(socket.SOL_SOCKET, 25, b'underlay'); s.bind(('172.18.0.1', 0)); s.sendto(b'hello', (sys.argv[1], 5353))`;
  for (const group of ['224.0.0.251', '172.18.0.255', '255.255.255.255']) {
    const heard = python(HOST_1, listen);
    await sleep(500);
    await python(OUTSIDE, send, group);
    assert.is(await heard, 'hello', group);
  }
});

test('a virtual address moves from node to node (metallb #584, #1147): NodePorts are served where it is', async () => {
  const VIRTUAL = '172.18.0.60';
  await ip(HOST_1, `address add ${VIRTUAL}/32 dev eth0`);
  await eventually(() => ask(OUTSIDE, `${VIRTUAL}:${REMOTE_PORT}`), 3000);
  await ip(HOST_1, `address del ${VIRTUAL}/32 dev eth0`);
  await ip(HOST_2, `address add ${VIRTUAL}/32 dev eth0`);
  // As the gratuitous ARP of VRRP does it.
  for (const netns of [OUTSIDE, HOST_1]) await cluster.exec(netns, ['ip', 'neigh', 'flush', VIRTUAL]);
  for (const from of [OUTSIDE, CLIENT_1, CLIENT_2, HOST_1, HOST_2]) {
    const answer = await eventually(() => ask(from, `${VIRTUAL}:${REMOTE_PORT}`), 3000);
    assert.is(nameOf(answer), 'far', from);
  }
});

/** Echoes a byte eight times over one connection. */
const KEPT = `import socket, sys, time
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 3); s.settimeout(8)
for i in range(8):
    s.send(b'x'); assert s.recv(9) == b'x'; time.sleep(0.2)
print('kept')`;

test('the node’s address is renewed, and the host outside has another MAC: connections go on', async () => {
  const echo = "require('net').createServer((s) => s.pipe(s).on('error', () => {})).listen(7910)";
  cluster.start(OUTSIDE, [process.execPath, '-e', echo]);
  await eventually(
    async () => (await cluster.exec(CLIENT_1, ['nc', '-z', '-w', '1', '172.18.0.1', '7910'])).status === 0 || undefined,
  );
  const kept = python(CLIENT_1, KEPT, '172.18.0.1', '7910');
  await sleep(300);
  await within(
    HOST_1,
    'sh',
    '-c',
    `ip address del ${N1}/24 dev eth0; ip address add ${N1}/24 dev eth0; ip route add default via 172.18.0.1`,
  );
  await sleep(500);
  await ip(OUTSIDE, 'link set underlay address 02:00:00:00:77:77');
  await cluster.exec(OUTSIDE, ['ping', '-c', '1', '-W', '1', N1]);
  await cluster.exec(HOST_1, ['ip', 'neigh', 'flush', '172.18.0.1']);
  assert.is(await kept, 'kept');
});

test('clients behind a second card, and with a route back by the first one, are served (kubernetes #22698, #101910)', async () => {
  await addNamespaces(BEHIND);
  await ip(
    HOST_1,
    `link add eth1 type veth peer name eth0 netns ${BEHIND}`,
    'address add 192.168.99.1/24 dev eth1',
    'link set eth1 up',
  );
  await makeHost(BEHIND, '192.168.99.2', '192.168.99.1');
  for (const place of [`192.168.99.1:${LOCAL_PORT}`, `192.168.99.1:${REMOTE_PORT}`, `${N1}:${REMOTE_PORT}`]) {
    await eventually(() => ask(BEHIND, place), 3000);
  }
  assert.is(clientOf(await ask(BEHIND, `192.168.99.1:${KEEPING_PORT}`)), '192.168.99.2');
  // Requests come in by the second card, answers go out by the first.
  const ASYMMETRIC = '198.18.7.7';
  await ip(
    BEHIND,
    `address add ${ASYMMETRIC}/32 dev lo`,
    `link add eth9 type veth peer name behind netns ${OUTSIDE}`,
    'address add 192.168.98.2/30 dev eth9',
    'link set eth9 up',
  );
  await ip(
    OUTSIDE,
    'address add 192.168.98.1/30 dev behind',
    'link set behind up',
    `route add ${ASYMMETRIC} via 192.168.98.2`,
  );
  await ip(HOST_1, `route add ${ASYMMETRIC} via 172.18.0.1`);
  for (const [netns, ...settings] of [
    [OUTSIDE, 'net.ipv4.ip_forward=1'],
    [BEHIND, 'net.ipv4.conf.all.rp_filter=0', 'net.ipv4.conf.eth9.rp_filter=0'],
    [HOST_1, 'net.ipv4.conf.eth1.rp_filter=0'],
  ] as const) {
    await within(netns, 'sysctl', '-qw', ...settings);
  }
  for (const port of [REMOTE_PORT, KEEPING_PORT]) {
    await eventually(() => ask(BEHIND, `192.168.99.1:${port}`, '--interface', ASYMMETRIC), 3000);
  }
  await removeNamespaces(BEHIND);
});

/** Sends ten pings with one identifier; prints how many were answered, and how many answers were another's. */
const PINGS = `import os, socket, struct, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP); s.settimeout(1)
mine, got, foreign = os.urandom(8), 0, 0
for seq in range(1, 11):
    body = struct.pack('!BBHHH', 8, 0, 0, 7777, seq) + mine
    n = sum(struct.unpack('!8H', body)); n = (n >> 16) + (n & 65535); n += n >> 16
    s.sendto(body[:2] + struct.pack('!H', ~n & 65535) + body[4:], (sys.argv[1], 0))
    end = time.time() + 1
    while time.time() < end:
        try: d = s.recv(999)
        except Exception: break
        if d[20:22] != b'\\0\\0' or d[24:26] != struct.pack('!H', 7777): continue
        if d[28:36] == mine: got += 1; break
        foreign += 1
    time.sleep(0.1)
print(got, foreign)`;

test('the node and a pod ping one host with one identifier: each gets its own answers, whoever begins', async () => {
  for (const [own, pod, host, first] of [
    [HOST_1, CLIENT_1, FAR, 'the node'],
    [HOST_1, CLIENT_1, '172.18.0.1', 'the pod'],
    [HOST_1, CLIENT_1, N2, 'the node'],
    [linux.router, linux.client, linux.hostIP, 'the node'],
  ] as const) {
    const began = python(first === 'the node' ? own : pod, PINGS, host);
    await sleep(350);
    const second = python(first === 'the node' ? pod : own, PINGS, host);
    // A reply that is on its way when the pod gets another identifier is lost to it.
    const lost = first === 'the pod' ? 1 : 0;
    for (const [who, said] of [
      ['first', await began],
      ['second', await second],
    ]) {
      const [got = 0, foreign = 0] = said!.split(' ').map(Number);
      assert.ok(got >= 10 - lost && foreign <= lost, `${own}, ${pod} to ${host}, ${who}: ${said}`);
    }
  }
});

test('traceroute from a pod, by UDP, ICMP and TCP, shows the gateway and the host', async () => {
  for (const method of [[], ['-I'], ['-T', '-p', `${PORT}`]]) {
    const hops = (await within(CLIENT_1, 'traceroute', '-n', '-w', '1', '-q', '2', '-m', '4', ...method, FAR))
      .split('\n')
      .slice(1);
    assert.match(hops[0]!, '10.244.1.1', method.join(' '));
    assert.match(hops[1]!, FAR, method.join(' '));
  }
});

test('the control is gone', stopLinuxRouter);

test.run();
