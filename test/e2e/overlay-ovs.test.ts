/**
 * A foreign node with another implementation, Open vSwitch's userspace datapath: an independent check of our packets.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Cluster, eventually, podNetns, startCluster } from '../lib/cluster.ts';
import { foreignNodeObject, peerOf } from '../lib/overlay/foreign-node.ts';
import { drops, Paths } from '../lib/overlay/overlay.ts';
import {
  makeOvsNode,
  OVS_CIDR,
  OVS_IP,
  OVS_MAC,
  OVS_POD,
  OVS_POD_IP,
  type OvsNode,
  whyNoOvs,
} from '../lib/overlay/ovs-node.ts';
import { idlePod } from '../lib/services/services.ts';
import { testUnless } from '../lib/test-unless.ts';

const all = suite('overlay: Open vSwitch as a peer');
const why = whyNoOvs();
const test = testUnless(why, all);
let cluster: Cluster;
let paths: Paths;
let node: OvsNode;
const CLIENT = podNetns('client');
const CLIENT_IP = '10.244.1.2';
const PORT = 8472;

if (why === undefined) {
  all.before(async () => {
    // flannel's own port, which it chose before VXLAN had one.
    cluster = await startCluster({ args: ['--vxlan-port', `${PORT}`], manifests: [idlePod('client', 'n1')] });
    paths = new Paths(cluster);
    node = await makeOvsNode([peerOf(1)], PORT);
    await cluster.apply(foreignNodeObject(OVS_MAC, 1, OVS_IP, OVS_CIDR));
    await Promise.all([paths.startServers(OVS_POD), paths.startServers(CLIENT)]);
    await eventually(async () => ((await paths.tryPing(CLIENT, OVS_POD_IP)).status === 0 ? true : undefined));
  });
  all.after(async () => {
    await node.remove();
    await cluster.down();
  });
}

test('echoes both ways, of every size', async () => {
  for (const size of ['0', '1400', '1422']) {
    await paths.ping(CLIENT, OVS_POD_IP, '-M', 'do', '-s', size);
    await paths.ping(OVS_POD, CLIENT_IP, '-M', 'do', '-s', size);
  }
});

test('bulk TCP both ways arrives as it was sent', async () => {
  for (const way of ['up', 'down'] as const) {
    await paths.stream(CLIENT, way, OVS_POD_IP, 8 << 20);
    await paths.stream(OVS_POD, way, CLIENT_IP, 8 << 20);
  }
  assert.ok((await paths.iperf(CLIENT, OVS_POD_IP)) > 30);
  assert.ok((await paths.iperf(OVS_POD, CLIENT_IP)) > 30);
});

test('datagrams, in fragments when they are large', async () => {
  await paths.datagrams(CLIENT, OVS_POD_IP, [1, 512, 1422, 1423, 4000]);
  await paths.datagrams(OVS_POD, CLIENT_IP, [1, 512, 1422, 1423, 4000]);
});

test('nothing was dropped for a bad header or checksum', async () => {
  const dropped = await drops(cluster, 'n1');
  for (const reason of ['vxlan-flags', 'vxlan-checksum', 'vxlan-inner-frame', 'offload-invalid'])
    assert.is(dropped[reason] ?? 0, 0, `${reason}: ${dropped[reason]}`);
});

all.run();
