/**
 * The same traffic at every offload level: super-packets sent whole through the overlay, segmented in user space, or
 * not used at all. A level emulates a kernel: `udp` one before 6.17, `tcp` one before 6.2.
 */
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Cluster, eventually, output, podNetns, ROOT, startCluster } from '../lib/cluster.ts';
import { times } from '../lib/long-form.ts';
import { drops, Paths, ServerPort } from '../lib/overlay/overlay.ts';
import { idlePod, Services, serviceObject, sliceObject } from '../lib/services/services.ts';

const CLIENT = podNetns('client');
const SERVER = podNetns('server');
const [CLIENT_IP, SERVER_IP, NEAR_IP] = ['10.244.1.2', '10.244.2.2', '10.244.1.3'];
const UDP_BULK = ['python3', join(ROOT, 'test/lib/overlay/udp-bulk.py')];
const UDP_PORT = 7002;
/** Of a stream whose bytes are compared. */
const BULK_BYTES = times(3 << 20, 12 << 20);

for (const { args, tunnelOffload } of [
  { args: [], tunnelOffload: true },
  { args: ['--no-tunnel-offload', '--workers', '2'], tunnelOffload: false },
  // Differs from the others in what a device offers for UDP: in the long form.
  ...(process.env.OFFLOADS_FULL === '1' ? [{ args: ['--offloads', 'tcp'], tunnelOffload: false }] : []),
  { args: ['--offloads', 'none'], tunnelOffload: false },
]) {
  const test = suite(`overlay: offloads ${args.join(' ') || 'of this kernel'}`);
  let cluster: Cluster;
  let paths: Paths;
  let s: Services;

  test.before(async () => {
    cluster = await startCluster({
      args,
      manifests: [idlePod('client', 'n1'), idlePod('near', 'n1'), idlePod('server', 'n2')],
    });
    paths = new Paths(cluster);
    s = new Services(cluster);
    const near = podNetns('near');
    await Promise.all([paths.startServers(SERVER), paths.startServers(CLIENT), paths.startServers(near)]);
    cluster.start(SERVER, [...UDP_BULK, 'serve', `${UDP_PORT}`]);
    cluster.start(near, [...UDP_BULK, 'serve', `${UDP_PORT}`]);
  });
  test.after(async () => {
    s.api.close();
    await cluster.down();
  });

  test('the devices have the requested offloads', async () => {
    const [n1] = (await cluster.status()).nodes;
    // An older kernel has less than it is asked for.
    if (!tunnelOffload) assert.is(n1?.overlay.tunnelOffload, false);
    const features = await output(cluster.exec(CLIENT, ['ethtool', '-k', 'eth0']));
    const has = (feature: string): boolean => new RegExp(`^\\s*${feature}: on`, 'm').test(features);
    assert.is(has('tx-tcp-segmentation'), !args.includes('none'));
    assert.is(has('tx-checksum-ip-generic'), !args.includes('none'));
    if (args.includes('tcp')) assert.not.ok(has('tx-udp-segmentation'));
    const [link] = JSON.parse(await output(cluster.exec(CLIENT, ['ip', '-d', '-j', 'link', 'show', 'eth0'])));
    // A super-packet that is to leave in a train (train.ts) is no larger than one.
    assert.is(link.gso_max_segs, args.includes('--no-tunnel-offload') ? 44 : 65_535);
  });

  test('bulk TCP across nodes arrives as it was sent, both ways', async () => {
    for (const way of ['up', 'down'] as const) {
      await paths.stream(CLIENT, way, SERVER_IP, BULK_BYTES);
      await paths.stream(SERVER, way, CLIENT_IP, BULK_BYTES);
    }
    assert.ok((await paths.iperf(CLIENT, SERVER_IP)) > 50);
    const [n1] = (await cluster.status()).nodes;
    const { bytesOut = 0, framesOut = 0 } = n1?.devices.find(({ port }) => port === 0) ?? {};
    const inSuperPackets = args.length === 0 || args.includes('--no-tunnel-offload');
    assert.is(bytesOut / framesOut > 5000, inSuperPackets, `${bytesOut} bytes in ${framesOut} frames`);
  });

  test('bulk TCP on one node', async () => {
    for (const way of ['up', 'down'] as const) await paths.stream(CLIENT, way, NEAR_IP, BULK_BYTES);
  });

  test('bulk TCP through a service on the other node', async () => {
    const service = await s.serve(serviceObject('bulk', undefined, { ports: [{ port: 7000 }] }));
    await s.create(sliceObject('bulk', [{ ip: SERVER_IP }], { port: ServerPort.STREAM }));
    const { clusterIP = '' } = service.spec;
    await eventually(async () => paths.stream(CLIENT, 'up', clusterIP, 1000));
    for (const way of ['up', 'down'] as const) await paths.stream(CLIENT, way, clusterIP, BULK_BYTES);
  });

  test('datagrams of every size across nodes', () =>
    paths.datagrams(CLIENT, SERVER_IP, [1, 18, 1421, 1422, 1423, 4000, 20_000]));

  for (const batch of [1, 8, 40]) {
    test(`datagrams ${batch === 1 ? 'one by one' : `by ${batch} in a UDP super-packet`}: each arrives alone and whole`, async () => {
      for (const [ip, size] of [
        [SERVER_IP, 64],
        [SERVER_IP, 1400],
        [NEAR_IP, 1400],
      ] as const) {
        const args = [ip, UDP_PORT, size, 400, batch].map(String);
        const said = await output(cluster.exec(CLIENT, [...UDP_BULK, 'send', ...args]));
        const [arrived = 0, spoiled = 0] = said.split(' ').map(Number);
        assert.is(spoiled, 0, `${ip}, ${size} bytes: ${said}`);
        assert.ok(arrived > 390 && arrived <= 400, `${ip}, ${size} bytes: ${said}`);
      }
    });
  }

  test('nothing was dropped for a bad header, checksum or offload', async () => {
    for (const node of ['n1', 'n2']) {
      const dropped = await drops(cluster, node);
      for (const reason of ['offload-invalid', 'vxlan-checksum', 'write-failed'])
        assert.is(dropped[reason] ?? 0, 0, `${node} ${reason}: ${dropped[reason]}`);
    }
  });

  test.run();
}
