/**
 * Packet sizes: the pods' MTU, the sizes on the wire, changes of the underlay's MTU, and the errors for packets that
 * are too large.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { eventually, nodeNetns, output, run } from '../lib/cluster.ts';
import { addNamespaces, ip, makeHost, removeNamespaces } from '../lib/namespaces.ts';
import { FOREIGN_MAC, foreignNodeObject, makeFlannel, peerOf } from '../lib/overlay/foreign-node.ts';
import { ServerPort } from '../lib/overlay/overlay.ts';
import { CLIENT, SERVER, SERVER_IP, startOverlayCluster } from '../lib/overlay/overlay-cluster.ts';
import { NODE_IPS, nodePort, OUTSIDE, serviceObject, sliceObject } from '../lib/services/services.ts';

const NARROW = 'narrow';
const NARROW_IP = '172.31.0.2';
const FAR = 'far';
const FAR_IP = '172.30.0.2';
const POD_MTU = 9000;
const OVERHEAD = 50;

const test = suite('overlay: packet sizes');
const { cluster, paths, s } = await startOverlayCluster(['--mtu', `${POD_MTU}`]);
test.after.each(() => s.cleanUp());
test.after(async () => {
  s.api.close();
  await removeNamespaces(FAR, NARROW);
  await cluster.down();
});

async function mtuOf(netns: string, device: string): Promise<number> {
  const [link] = JSON.parse(await output(cluster.exec(netns, ['ip', '-j', 'link', 'show', device]))) as {
    mtu: number;
  }[];
  return link?.mtu as number;
}

/** The lines that `program` prints about traffic during `work`, which begins after a moment. */
async function watched(netns: string, args: string[], work: () => Promise<unknown>): Promise<string> {
  const watch = cluster.start(netns, args);
  let seen = '';
  let said = '';
  watch.stdout?.setEncoding('utf8').on('data', (text: string) => {
    seen += text;
  });
  watch.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  await eventually(async () => (/listening|Capturing/.test(said) ? true : undefined));
  return eventually(async () => {
    await work();
    return seen === '' ? undefined : seen;
  });
}

/** Set the underlay's MTU on both nodes. */
async function setUnderlay(mtu: number): Promise<void> {
  for (const node of ['n1', 'n2']) {
    await output(run(['ip', '-n', OUTSIDE, 'link', 'set', `to-${node}`, 'mtu', `${mtu}`]));
    await output(run(['ip', '-n', nodeNetns(node), 'link', 'set', 'eth0', 'mtu', `${mtu}`]));
  }
}

/** A host behind an outside link whose MTU is smaller than the host's own. */
async function behindNarrowLink(netns: string, address: string, gateway: string, mtu: number): Promise<void> {
  await addNamespaces(netns);
  await ip(
    OUTSIDE,
    `link add to-${netns} mtu ${mtu} type veth peer name eth0 mtu 1500 netns ${netns}`,
    `link set to-${netns} up`,
    `address add ${gateway}/24 dev to-${netns}`,
  );
  await makeHost(netns, address, gateway);
}

/** Path MTUs learned by the client's kernel, which keeps them for ten minutes. */
const forgetPaths = (): Promise<string> => output(cluster.exec(CLIENT, ['ip', 'route', 'flush', 'cache']));

const followed = (mtu: number): Promise<true> =>
  eventually(async () => {
    const both = await Promise.all([mtuOf(CLIENT, 'eth0'), mtuOf(SERVER, 'eth0')]);
    return both.every((one) => one === mtu) ? true : undefined;
  });

test('--mtu 9000: pods have it, and an underlay with room for the overlay', async () => {
  assert.is(await mtuOf(CLIENT, 'eth0'), POD_MTU);
  for (const device of ['eth0', 'dp0']) assert.is(await mtuOf(nodeNetns('n1'), device), POD_MTU + OVERHEAD);
  assert.is(await mtuOf(OUTSIDE, 'underlay'), POD_MTU + OVERHEAD);
  const [n1] = (await cluster.status()).nodes;
  assert.is(n1?.overlay.mtu, POD_MTU);
});

test('a full-size packet travels in one frame', async () => {
  const fields = ['ip.len', 'vxlan.vni', 'icmp.type'].flatMap((field) => ['-e', field]);
  const args = ['tshark', '-l', '-n', '-i', 'to-n1', '-c', '1', '-Y', 'vxlan && icmp', '-T', 'fields', ...fields];
  const seen = await watched(OUTSIDE, [...args, '-f', 'udp port 4789'], () =>
    paths.ping(CLIENT, SERVER_IP, '-M', 'do', '-s', `${POD_MTU - 28}`),
  );
  assert.match(seen, new RegExp(`^${POD_MTU + OVERHEAD},${POD_MTU}\\t1\\t`));
});

test('bulk TCP in large segments', async () => {
  for (const way of ['up', 'down'] as const) await paths.stream(CLIENT, way, SERVER_IP);
  assert.ok((await paths.iperf(CLIENT, SERVER_IP)) > 200);
});

test("a client with a larger MTU gets the pods' MSS", async () => {
  const ports = [{ port: 80, targetPort: ServerPort.ECHO }];
  const service = await s.serve(serviceObject('sized', undefined, { type: 'NodePort', ports }));
  await s.create(sliceObject('sized', [{ ip: SERVER_IP }], { port: ServerPort.ECHO }));
  const url = `http://${NODE_IPS.n1}:${nodePort(service)}/`;
  const dump = ['tcpdump', '-nn', '-l', '-i', 'eth0', '-c', '1'];
  const atServer = await watched(SERVER, [...dump, 'tcp[13] == 2'], () => cluster.fetch(OUTSIDE, url));
  assert.match(atServer, `mss ${POD_MTU - 40},`);
  const atClient = await watched(OUTSIDE, ['tcpdump', '-nn', '-l', '-i', 'underlay', '-c', '1', 'tcp[13] == 18'], () =>
    cluster.fetch(OUTSIDE, url),
  );
  assert.match(atClient, `mss ${POD_MTU - 40},`);
});

test('a smaller underlay MTU is applied to dp0, pods and tables, and larger packets get an ICMP error', async () => {
  await setUnderlay(1400);
  await followed(1350);
  assert.is(await mtuOf(nodeNetns('n1'), 'dp0'), 1400);
  assert.is((await cluster.status()).nodes[0]?.overlay.mtu, 1350);
  await paths.ping(CLIENT, SERVER_IP, '-M', 'do', '-s', '1322');
  for (const way of ['up', 'down'] as const) await paths.stream(CLIENT, way, SERVER_IP, 8 << 20);
  await paths.datagrams(CLIENT, SERVER_IP, [1322, 1323, 9000]);
  // A pod with a larger MTU, which was set inside it.
  await output(cluster.exec(CLIENT, ['ip', 'link', 'set', 'eth0', 'mtu', '9000']));
  const { stdout } = await paths.tryPing(CLIENT, SERVER_IP, '-M', 'do', '-s', '1400');
  assert.match(stdout, /From 10\.244\.1\.1 .*Frag needed and DF set \(mtu = 1350\)/);
  await paths.ping(CLIENT, SERVER_IP, '-M', 'do', '-s', '1322');
  await paths.ping(CLIENT, SERVER_IP, '-s', '3000');
  for (const way of ['up', 'down'] as const) await paths.stream(CLIENT, way, SERVER_IP, 8 << 20);
});

test('through a service too: the client gets the error about the packet that it sent', async () => {
  await s.serve(
    serviceObject('datagrams', undefined, { clusterIP: '10.96.0.99', ports: [{ port: 53, protocol: 'UDP' }] }),
  );
  await s.create(sliceObject('datagrams', [{ ip: SERVER_IP }], { port: ServerPort.ECHO, protocol: 'UDP' }));
  await eventually(async () => {
    await paths.datagrams(CLIENT, '10.96.0.99', [10], 53);
    return true;
  });
  await forgetPaths();
  // IP_MTU_DISCOVER 10 = IP_PMTUDISC_DO 2; IP_MTU 14 (linux include/uapi/linux/in.h).
  const script = `
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setsockopt(0, 10, 2); s.connect(('10.96.0.99', 53))
try:
    s.send(b'x' * 1400); time.sleep(0.3); s.send(b'x' * 1400); print('sent')
except OSError as error: print(error.errno, s.getsockopt(0, 14))`;
  assert.is(await output(cluster.exec(CLIENT, ['python3', '-c', script])), '90 1350\n');
});

test('connections survive a change of the underlay', async () => {
  await output(cluster.exec(CLIENT, ['ip', 'link', 'set', 'eth0', 'mtu', '1350']));
  await setUnderlay(9050);
  await followed(9000);
  const stream = paths.stream(CLIENT, 'up', SERVER_IP, 600 << 20);
  await setUnderlay(1500);
  await followed(1450);
  assert.ok((await stream) > 0);
  await forgetPaths();
  await paths.ping(CLIENT, SERVER_IP, '-M', 'do', '-s', '1422');
});

test("a link with a small MTU outside: its router's error reaches the masqueraded pod", async () => {
  await behindNarrowLink(FAR, FAR_IP, '172.30.0.1', 1280);
  await output(cluster.exec(OUTSIDE, ['sysctl', '-qw', 'net.ipv4.ip_forward=1']));
  await paths.startServers(FAR);
  const { stdout } = await paths.tryPing(CLIENT, FAR_IP, '-M', 'do', '-s', '1400');
  assert.match(stdout, /From 172\.18\.0\.1 .*Frag needed and DF set \(mtu = 1280\)/);
  await paths.ping(CLIENT, FAR_IP, '-M', 'do', '-s', '1252');
  await forgetPaths();
  for (const way of ['up', 'down'] as const) await paths.stream(CLIENT, way, FAR_IP, 4 << 20);
});

test("a link with a small MTU between the nodes: its router's error reaches the pod whose packet is too large", async () => {
  await behindNarrowLink(NARROW, NARROW_IP, '172.31.0.1', 1400);
  await makeFlannel([peerOf(1)], { netns: NARROW, address: NARROW_IP, mtu: 1400 });
  await paths.startServers(NARROW);
  await cluster.apply(foreignNodeObject(FOREIGN_MAC, 1, NARROW_IP));
  const there = '10.244.200.0';
  await eventually(async () => ((await paths.tryPing(CLIENT, there)).status === 0 ? true : undefined));
  await paths.tryPing(CLIENT, there, '-M', 'do', '-s', '1400');
  const { stdout } = await paths.tryPing(CLIENT, there, '-M', 'do', '-s', '1400');
  assert.match(stdout, /From 10\.244\.1\.1 .*Frag needed and DF set \(mtu = 1350\)/);
  await paths.ping(CLIENT, there, '-M', 'do', '-s', '1322');
  await forgetPaths();
  for (const way of ['up', 'down'] as const) await paths.stream(CLIENT, way, there, 4 << 20);
  // The others' way is as wide as before.
  await paths.ping(CLIENT, SERVER_IP, '-M', 'do', '-s', '1422');
});

test.run();
