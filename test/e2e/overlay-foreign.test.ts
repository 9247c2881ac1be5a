/**
 * A node that runs flannel instead of our agent: the Linux kernel's vxlan device, configured as by flannel, and pods on
 * both sides that reach each other through it.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Cluster, eventually, nodeNetns, podNetns, startCluster } from '../lib/cluster.ts';
import {
  FOREIGN,
  FOREIGN_IP,
  FOREIGN_POD,
  FOREIGN_POD_IP,
  foreignNodeObject,
  makeFlannel,
  makeForeignNode,
  peerOf,
  removeForeignNode,
} from '../lib/overlay/foreign-node.ts';
import { drops, dropsMoved, Paths, ServerPort } from '../lib/overlay/overlay.ts';
import {
  idlePod,
  NODE_IPS,
  nodePort,
  OUTSIDE,
  Services,
  serviceObject,
  sliceObject,
  vip,
} from '../lib/services/services.ts';

const test = suite('overlay: a foreign node');
let cluster: Cluster;
let paths: Paths;
let s: Services;
const CLIENT = podNetns('client');
const CLIENT_IP = '10.244.1.2';
const PEERS = [1, 2].map(peerOf);

test.before(async () => {
  cluster = await startCluster({ manifests: [idlePod('client', 'n1')] });
  paths = new Paths(cluster);
  s = new Services(cluster);
  await makeForeignNode();
  await makeFlannel(PEERS);
  await cluster.apply(foreignNodeObject());
  await Promise.all([paths.startServers(FOREIGN_POD), paths.startServers(CLIENT)]);
  await eventually(async () => ((await paths.tryPing(CLIENT, FOREIGN_POD_IP)).status === 0 ? true : undefined));
});
test.after.each(() => s.cleanUp());
test.after(async () => {
  s.api.close();
  await cluster.down();
  await removeForeignNode();
});

test('our Node objects carry the annotations that flannel needs', async () => {
  const { items } = await cluster.get<{ items: { metadata: { name: string; annotations: Record<string, string> } }[] }>(
    'nodes',
  );
  for (const [n, { ip, vtepMac }] of PEERS.entries()) {
    const annotations = items.find(({ metadata }) => metadata.name === `n${n + 1}`)?.metadata.annotations ?? {};
    assert.is(annotations['flannel.alpha.coreos.com/backend-type'], 'vxlan');
    assert.equal(JSON.parse(annotations['flannel.alpha.coreos.com/backend-data'] ?? ''), { VNI: 1, VtepMAC: vtepMac });
    assert.is(annotations['flannel.alpha.coreos.com/public-ip'], ip);
  }
});

test('echoes both ways, of every size', async () => {
  for (const size of ['0', '56', '1400', '1422']) {
    await paths.ping(CLIENT, FOREIGN_POD_IP, '-M', 'do', '-s', size);
    await paths.ping(FOREIGN_POD, CLIENT_IP, '-M', 'do', '-s', size);
  }
  // In fragments, inside the overlay's packets.
  await paths.ping(CLIENT, FOREIGN_POD_IP, '-s', '9000');
  await paths.ping(FOREIGN_POD, CLIENT_IP, '-s', '9000');
});

test('the node itself reaches pods behind the foreign node, and the foreign node reaches ours', async () => {
  await paths.ping(nodeNetns('n2'), FOREIGN_POD_IP);
  await paths.ping(FOREIGN, CLIENT_IP);
  // Not through the overlay: one node to another.
  await paths.ping(nodeNetns('n1'), FOREIGN_IP);
  await paths.ping(FOREIGN, NODE_IPS.n1 as string);
  // In fragments, which are the node's own too.
  await paths.ping(nodeNetns('n1'), FOREIGN_IP, '-s', '5000');
  await paths.ping(FOREIGN, NODE_IPS.n1 as string, '-s', '5000');
});

test('a pod is seen with its own address on the other side', async () => {
  assert.match(await cluster.fetch(CLIENT, `http://${FOREIGN_POD_IP}:${ServerPort.ECHO}/`), ` ${CLIENT_IP}:`);
  assert.match(await cluster.fetch(FOREIGN_POD, `http://${CLIENT_IP}:${ServerPort.ECHO}/`), ` ${FOREIGN_POD_IP}:`);
});

for (const udpChecksum of [true, false]) {
  test(`bulk TCP both ways arrives as it was sent, outer UDP checksum ${udpChecksum ? 'on' : 'off'}`, async () => {
    await makeFlannel(PEERS, { udpChecksum });
    for (const way of ['up', 'down'] as const) {
      await paths.stream(CLIENT, way, FOREIGN_POD_IP);
      await paths.stream(FOREIGN_POD, way, CLIENT_IP);
    }
    // Where the path loses or spoils super-packets, TCP crawls on retransmissions of single segments.
    for (const [from, to] of [
      [CLIENT, FOREIGN_POD_IP],
      [FOREIGN_POD, CLIENT_IP],
    ] as const) {
      const mbits = await paths.iperf(from, to);
      assert.ok(mbits > 100, `${from}: ${mbits} Mbit/s`);
    }
  });
}

test('several streams at once, both ways at once', async () => {
  const mbits = await paths.iperf(CLIENT, FOREIGN_POD_IP, '-P', '4', '--bidir');
  assert.ok(mbits > 100, `${mbits} Mbit/s`);
});

test('datagrams of every size, in fragments when they are large', async () => {
  const sizes = [1, 18, 512, 1421, 1422, 1423, 2000, 4000, 8972, 20_000, 60_000];
  await paths.datagrams(CLIENT, FOREIGN_POD_IP, sizes);
  await paths.datagrams(FOREIGN_POD, CLIENT_IP, sizes);
});

test('a service whose endpoint lies behind the foreign node: ClusterIP, and NodePort on every node', async () => {
  const ports = [{ port: 80, targetPort: ServerPort.ECHO }];
  const service = await s.serve(serviceObject('abroad', undefined, { type: 'NodePort', ports }));
  await s.create(sliceObject('abroad', [{ ip: FOREIGN_POD_IP }], { port: ServerPort.ECHO }));
  const port = nodePort(service);
  const url = `http://${vip(service)}/`;
  const page = await eventually(async () => cluster.fetch(CLIENT, url));
  assert.match(page, `${FOREIGN_POD} ${CLIENT_IP}:`);
  await cluster.fetch(nodeNetns('n2'), url);
  for (const ip of Object.values(NODE_IPS)) {
    assert.match(await cluster.fetch(OUTSIDE, `http://${ip}:${port}/`), FOREIGN_POD);
  }
});

test('bulk transfer through a ClusterIP with an endpoint on the foreign node', async () => {
  const service = await s.serve(serviceObject('bulk', undefined, { ports: [{ port: 7000 }] }));
  await s.create(sliceObject('bulk', [{ ip: FOREIGN_POD_IP }], { port: ServerPort.STREAM }));
  const { clusterIP } = service.spec;
  await eventually(async () => paths.stream(CLIENT, 'up', clusterIP as string, 1000));
  await paths.stream(CLIENT, 'up', clusterIP as string);
  await paths.stream(CLIENT, 'down', clusterIP as string);
});

test('spoofed sources, wrong VNIs and nested tunnels are dropped and counted', async () => {
  const stray = '10.244.2.77';
  const spoof = async (): Promise<void> => {
    await cluster.exec(FOREIGN_POD, ['ip', 'address', 'add', `${stray}/32`, 'dev', 'lo']);
    assert.is((await paths.tryPing(FOREIGN_POD, CLIENT_IP, '-I', stray)).status, 1);
  };
  assert.equal(Object.keys(await dropsMoved(cluster, 'n1', spoof)), ['vxlan-inner-source']);

  await makeFlannel(PEERS, { vni: 7 });
  const other = async () => assert.is((await paths.tryPing(FOREIGN_POD, CLIENT_IP)).status, 1);
  assert.equal(Object.keys(await dropsMoved(cluster, 'n1', other)), ['vxlan-vni']);
  await makeFlannel(PEERS);

  const datagram = (netns: string, to: string): Promise<unknown> =>
    cluster.exec(netns, ['sh', '-c', `echo 12345678901234567890123456789012345 | nc -u -w1 ${to} 4789`]);
  assert.equal(Object.keys(await dropsMoved(cluster, 'n1', () => datagram(CLIENT, '172.18.0.12'))), [
    'overlay-from-pod',
  ]);
  assert.equal(Object.keys(await dropsMoved(cluster, 'n1', () => datagram(OUTSIDE, '172.18.0.11'))), ['vxlan-flags']);
  await eventually(async () => ((await paths.tryPing(CLIENT, FOREIGN_POD_IP)).status === 0 ? true : undefined));
});

test('a new VTEP address takes effect, and the old one is no longer used (flannel #1788)', async () => {
  const mac = '5e:99:88:77:66:55';
  await cluster.apply(foreignNodeObject(mac));
  await eventually(async () => ((await paths.tryPing(CLIENT, FOREIGN_POD_IP)).status !== 0 ? true : undefined));
  await makeFlannel(PEERS, { mac });
  await paths.ping(CLIENT, FOREIGN_POD_IP);
});

test('nothing was dropped for a bad header, checksum or offload', async () => {
  const dropped = await drops(cluster, 'n1');
  for (const reason of ['offload-invalid', 'vxlan-checksum', 'vxlan-inner-frame', 'write-failed'])
    assert.is(dropped[reason] ?? 0, 0, `${reason}: ${dropped[reason]}`);
});

test('packets of a foreign node that was deleted are dropped', async () => {
  await cluster.cli('delete', 'node', 'foreign');
  await eventually(async () => {
    const { stdout } = await paths.tryPing(CLIENT, FOREIGN_POD_IP);
    return /Unreachable/.test(stdout) ? true : undefined;
  });
  const before = (await drops(cluster, 'n1'))['vxlan-unknown-peer'] ?? 0;
  assert.is((await paths.tryPing(FOREIGN_POD, CLIENT_IP)).status, 1);
  assert.ok(((await drops(cluster, 'n1'))['vxlan-unknown-peer'] ?? 0) > before);
});

test.run();
