/**
 * Traffic through a service: client addresses, hairpin, datagrams, bulk data; and packets that do not belong to a
 * connection. Named after the Kubernetes end-to-end tests they mirror (kubernetes test/e2e/network/service.go,
 * networking.go, conntrack.go).
 */
import * as assert from 'uvu/assert';
import { eventually, nodeNetns, processPod } from '../lib/cluster.ts';
import {
  clientOf,
  idlePod,
  nameOf,
  nodePort,
  OUTSIDE,
  podNetns,
  serviceObject,
  UDP,
  unique,
  vip,
} from '../lib/services/services.ts';
import { CLIENT_1, N1, N2, PODS, serviceSuite, WEB } from '../lib/services/suite.ts';

const { test, cluster, s } = await serviceSuite('traffic', { manifests: PODS });

test('should preserve source pod IP for traffic thru service cluster IP', async () => {
  const service = await s.serve(serviceObject('source', 'web'), 2);
  for (const client of ['client-1', 'client-2']) {
    await s.eventuallyNames(podNetns(client), vip(service), WEB);
    const seen = unique((await s.ask(podNetns(client), vip(service), 12)).map(clientOf));
    assert.equal(seen, [await s.podIp(client)]);
  }
});

test('should allow pods to hairpin back to themselves through services', async () => {
  const service = await s.serve(serviceObject('hairpin', 'other'), 1);
  await s.eventuallyNames(podNetns('other'), vip(service), ['other']);
  const datagrams = await s.serveUdp('hairpin-udp', 'other', 1);
  await s.eventuallyDatagram(podNetns('other'), `${vip(datagrams)}:80`, ['other']);
});

test('should function for pod-Service and node-Service: udp', async () => {
  const service = await s.serve(serviceObject('udp', 'web', { type: 'NodePort', ports: UDP }), 2);
  const port = nodePort(service);
  for (const netns of [CLIENT_1, podNetns('web-1'), nodeNetns('n1'), nodeNetns('n2')]) {
    for (const place of [`${vip(service)}:80`, `${N1}:${port}`, `${N2}:${port}`]) {
      await s.eventuallyDatagram(netns, place, WEB);
    }
  }
  for (const node of [N1, N2]) await s.eventuallyDatagram(OUTSIDE, `${node}:${port}`, WEB);
});

test('should be able to handle large requests: http and udp', async () => {
  const object = serviceObject('large', 'web', {
    ports: [
      { name: 'tcp', port: 80 },
      { name: 'udp', port: 80, protocol: 'UDP' },
    ],
  });
  const service = await s.serve(object, 2);
  await s.eventuallyNames(CLIENT_1, vip(service), WEB);
  const body = 'x'.repeat(100_000);
  const { stdout } = await cluster.exec(CLIENT_1, ['curl', '-sS', '-d', '@-', `http://${vip(service)}/`], {
    input: body,
  });
  assert.match(stdout, /^web-[12] /);
  for (const client of ['client-1', 'client-2']) {
    // Larger than the MTU: fragments, over the overlay for one of two endpoints.
    const seen = new Set<string>();
    for (let turn = 0; turn < 12 && seen.size < 2; turn++) {
      seen.add(nameOf(await s.datagram(podNetns(client), `${vip(service)}:80`, undefined, 'y'.repeat(2000))));
    }
    assert.equal([...seen].sort(), WEB, client);
  }
});

test('iperf3: bulk data in both directions, over a ClusterIP and a NodePort', async () => {
  await s.create({
    ...idlePod('iperf', 'n2'),
    spec: { ...idlePod('iperf', 'n2').spec, containers: [{ name: 'm', image: 'process', command: ['iperf3', '-s'] }] },
  });
  const ports = [
    { name: 'tcp', port: 5201 },
    { name: 'udp', port: 5201, protocol: 'UDP' as const },
  ];
  const service = await s.serve(serviceObject('iperf', 'iperf', { type: 'NodePort', ports }), 1);
  // Control connection and data use one number, which is a NodePort's only when both are given.
  const places = [
    [CLIENT_1, vip(service), 5201, [[], ['-u', '-b', '20M', '-l', '1200']]],
    [OUTSIDE, N1, nodePort(service), [['-R'], ['-u', '-b', '20M', '-l', '1200']]],
  ] as const;
  for (const [netns, address, port, runs] of places) {
    for (const more of runs) {
      const args = ['iperf3', '-c', address, '-p', `${port}`, '-t', '1', '-J', ...more];
      const { end, error } = await eventually(async () => {
        const result = JSON.parse((await cluster.exec(netns, args)).stdout);
        return result.error === undefined ? result : undefined;
      });
      assert.is(error, undefined, `${netns} ${more.join(' ')}`);
      if (more.length > 1) assert.ok(end.sum.packets > 100 && end.sum.lost_percent < 5, JSON.stringify(end.sum));
      else assert.ok(end.sum_received.bytes > 1_000_000, JSON.stringify(end.sum_received));
    }
  }
});

/**
 * Sends TCP segments as the server's, all round the circle of sequence numbers, so that some are old and some far ahead
 * (python's raw socket fills in the IP header).
 */
const STRAY_SEGMENTS = `
import socket, struct, sys
source, destination, destination_port = socket.inet_aton(sys.argv[1]), socket.inet_aton(sys.argv[2]), int(sys.argv[3])
def segment(sequence, checksum):
    return struct.pack('!HHIIBBHHH', 90, destination_port, sequence, 1, 5 << 4, 0x18, 512, checksum, 0) + b'stray'
pseudo = source + destination + struct.pack('!BBH', 0, 6, 25)
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
for sequence in range(0, 1 << 32, 1 << 29):
    packet = pseudo + segment(sequence, 0) + b'\\0'
    total = sum(struct.unpack('!%dH' % (len(packet) // 2), packet))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    raw.sendto(segment(sequence, ~total & 0xffff), (sys.argv[2], 0))
`;

test('should drop INVALID conntrack entries', async () => {
  const command = ['socat', 'TCP-LISTEN:90,fork,reuseaddr', 'EXEC:cat'];
  for (const [name, node] of [
    ['echo-1', 'n1'],
    ['echo-2', 'n2'],
  ] as const) {
    await s.create(processPod(name, node, command));
    const service = await s.serve(serviceObject(name, name, { ports: [{ port: 90 }] }), 1);
    const [server, client] = [await s.podIp(name), await s.podIp('client-1')];
    const talk = cluster.start(CLIENT_1, [
      'socat',
      '-',
      `TCP:${vip(service)}:90,sourceport=45678,reuseaddr,retry=50,interval=0.1`,
    ]);
    let heard = '';
    talk.stdout?.setEncoding('utf8').on('data', (text: string) => {
      heard += text;
    });
    const says = async (text: string) => {
      talk.stdin?.write(text);
      await eventually(async () => (heard.endsWith(text) ? true : undefined));
    };
    await says('one');
    const before = await invalid();
    const inject = ['python3', '-c', STRAY_SEGMENTS, server, client, '45678'];
    const { status, stderr } = await cluster.exec(podNetns(name), inject);
    assert.is(status, 0, stderr);
    await eventually(async () => ((await invalid()) > before ? true : undefined));
    await says('two');
    assert.is(talk.exitCode, null);
    talk.stdin?.end();
    await s.cleanUp();
  }
});

/** Packets dropped for not fitting their connection, on all nodes. */
async function invalid(): Promise<number> {
  const { nodes } = await cluster.status();
  const drops = nodes.flatMap(({ workers }) => workers.map((worker) => worker.drops['conntrack-invalid'] ?? 0));
  return drops.reduce((sum, count) => sum + count, 0);
}

test.run();
