/** Overlays other than VXLAN: the kernel's own routes (host-gw), and IPIP through a raw socket or through dp0. */
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { whyNoRawSocket } from '../../src/linux/raw-socket.ts';
import { Failure } from '../../src/worker/control.ts';
import { type Cluster, eventually, nodeNetns, output } from '../lib/cluster.ts';
import { times } from '../lib/long-form.ts';
import { WorkerControl } from '../lib/node-processes.ts';
import { drops, dropsMoved, type Paths, ServerPort } from '../lib/overlay/overlay.ts';
import { CLIENT, CLIENT_IP, SERVER, SERVER_IP, startOverlayCluster } from '../lib/overlay/overlay-cluster.ts';
import { NODE_IPS, nodePort, OUTSIDE, type Services, serviceObject, sliceObject } from '../lib/services/services.ts';

/** Sends one IPIP packet (outer destination, inner source, inner destination): a UDP datagram with right checksums. */
const IPIP_SENDER = `
import socket, struct, sys, time
outer, source, destination = sys.argv[1:]
def words(data): return sum(struct.unpack('!%dH' % (len(data) // 2), data))
def fold(n):
    while n > 0xffff: n = (n & 0xffff) + (n >> 16)
    return ~n & 0xffff
addresses = socket.inet_aton(source) + socket.inet_aton(destination)
udp = struct.pack('!HHHH', 4000, 9, 12, 0) + b'data'
udp = udp[:6] + struct.pack('!H', fold(words(udp) + words(addresses) + 17 + len(udp))) + udp[8:]
ip = struct.pack('!BBHHHBBH', 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0) + addresses
ip = ip[:10] + struct.pack('!H', fold(words(ip))) + ip[12:]
socket.socket(socket.AF_INET, socket.SOCK_RAW, 4).sendto(ip + udp, (outer, 0))
time.sleep(0.3)`;

interface Mode {
  args: string[];
  mtu: number;
  /** What tcpdump sees of a ping from client to server on n1's wire. */
  wire: RegExp;
  leastMbits: number;
  needsRawSocket?: boolean;
}

const MODES: Mode[] = [
  {
    args: ['--overlay', 'host-gw'],
    mtu: 1500,
    wire: /IP 10\.244\.1\.2 > 10\.244\.2\.2: ICMP echo request/,
    leastMbits: 200,
  },
  {
    args: ['--overlay', 'ipip', '--workers', '2'],
    needsRawSocket: true,
    mtu: 1480,
    wire: /IP 172\.18\.0\.11 > 172\.18\.0\.12: IP 10\.244\.1\.2 > 10\.244\.2\.2: ICMP echo request/,
    leastMbits: 20,
  },
  {
    args: ['--overlay', 'ipip', '--ipip-transport', 'dp0'],
    mtu: 1480,
    wire: /IP 172\.18\.0\.11 > 172\.18\.0\.12: IP 10\.244\.1\.2 > 10\.244\.2\.2: ICMP echo request/,
    leastMbits: 50,
  },
];

const why = whyNoRawSocket();
/** Of a stream whose bytes are compared. */
const BULK_BYTES = times(2 << 20, 8 << 20);
if (why !== undefined) console.log(`skipped: IPIP by a raw socket: ${why}`);

for (const mode of MODES) {
  const all = suite(`overlay: ${mode.args.join(' ')}`);
  const isLeftOut = mode.needsRawSocket && why !== undefined;
  const test = isLeftOut ? all.skip : all;
  let cluster: Cluster;
  let paths: Paths;
  let s: Services;

  if (!isLeftOut) {
    all.before(async () => {
      ({ cluster, paths, s } = await startOverlayCluster(mode.args));
    });
    all.after.each(() => s.cleanUp());
    all.after(async () => {
      s.api.close();
      await cluster.down();
    });
  }

  test('packets on the wire have the overlay’s format', async () => {
    const watch = cluster.start(OUTSIDE, [
      'tcpdump',
      '-nn',
      '-l',
      '-c1',
      '-i',
      'to-n1',
      'icmp[0] == 8 or (ip proto 4 and src 172.18.0.11)',
    ]);
    let seen = '';
    watch.stdout?.setEncoding('utf8').on('data', (text: string) => {
      seen += text;
    });
    await eventually(async () => {
      await paths.tryPing(CLIENT, SERVER_IP);
      return seen === '' ? undefined : true;
    });
    assert.match(seen, mode.wire);
  });

  test("the pods' MTU is the underlay's less the overlay's headers, and packets of that size pass", async () => {
    const link = await output(cluster.exec(CLIENT, ['ip', 'link', 'show', 'eth0']));
    assert.match(link, `mtu ${mode.mtu} `);
    await paths.ping(CLIENT, SERVER_IP, '-M', 'do', '-s', `${mode.mtu - 28}`);
    await paths.ping(SERVER, CLIENT_IP, '-M', 'do', '-s', `${mode.mtu - 28}`);
    await paths.ping(CLIENT, SERVER_IP, '-s', '9000');
  });

  test('each node is one hop: the TTL goes down by two, and traceroute sees the gateway', async () => {
    const { stdout } = await paths.tryPing(CLIENT, SERVER_IP);
    assert.match(stdout, 'ttl=62');
    const near = await paths.tryPing(CLIENT, SERVER_IP, '-t', '1');
    assert.match(near.stdout, /From 10\.244\.1\.1 .*Time to live exceeded/);
    const far = await paths.tryPing(CLIENT, SERVER_IP, '-t', '2');
    assert.match(far.stdout, /From (10\.244\.2\.1|172\.18\.0\.12) .*Time to live exceeded/);
  });

  test('nodes reach the pods of others', async () => {
    await paths.ping(nodeNetns('n1'), SERVER_IP);
    await paths.ping(nodeNetns('n2'), CLIENT_IP);
    assert.match(await cluster.fetch(nodeNetns('n1'), `http://${SERVER_IP}:${ServerPort.ECHO}/`), SERVER);
    await paths.ping(CLIENT, NODE_IPS.n2 as string);
  });

  test('a pod is seen with its own address', async () => {
    assert.match(await cluster.fetch(CLIENT, `http://${SERVER_IP}:${ServerPort.ECHO}/`), ` ${CLIENT_IP}:`);
  });

  test('bulk TCP both ways arrives as it was sent', async () => {
    for (const way of ['up', 'down'] as const) {
      await paths.stream(CLIENT, way, SERVER_IP, BULK_BYTES);
      await paths.stream(SERVER, way, CLIENT_IP, BULK_BYTES);
    }
    const mbits = await paths.iperf(CLIENT, SERVER_IP);
    assert.ok(mbits > mode.leastMbits, `${mbits} Mbit/s`);
  });

  test('bulk TCP over a link that merges received segments (GRO)', async () => {
    const merge = (state: string) =>
      Promise.all(['n1', 'n2'].map((n) => output(cluster.exec(nodeNetns(n), ['ethtool', '-K', 'eth0', 'gro', state]))));
    await merge('on');
    for (const way of ['up', 'down'] as const) await paths.stream(CLIENT, way, SERVER_IP, BULK_BYTES);
    await merge('off');
  });

  test('datagrams of every size', async () => {
    const sizes = [1, 512, mode.mtu - 29, mode.mtu - 28, mode.mtu - 27, 4000, 20_000];
    await paths.datagrams(CLIENT, SERVER_IP, sizes);
    await paths.datagrams(SERVER, CLIENT_IP, sizes);
  });

  test('replies of a service endpoint on the other node are translated back', async () => {
    const ports = [
      { name: 'echo', port: 80, targetPort: ServerPort.ECHO },
      { name: 'stream', port: 7000 },
    ];
    const service = await s.serve(serviceObject('far', undefined, { type: 'NodePort', ports }));
    await s.create(sliceObject('far', [{ ip: SERVER_IP }], { name: 'echo', port: ServerPort.ECHO }));
    const { clusterIP = '' } = service.spec;
    const port = nodePort(service);
    const page = await eventually(() => cluster.fetch(CLIENT, `http://${clusterIP}/`));
    assert.match(page, ` ${CLIENT_IP}:`);
    await cluster.fetch(nodeNetns('n1'), `http://${clusterIP}/`);
    for (const ip of Object.values(NODE_IPS)) {
      assert.match(await cluster.fetch(OUTSIDE, `http://${ip}:${port}/`), SERVER);
      await cluster.fetch(CLIENT, `http://${ip}:${port}/`);
      await cluster.fetch(nodeNetns('n1'), `http://${ip}:${port}/`);
    }
    await s.api.patch(
      'EndpointSlice',
      'far-by-hand',
      {
        ports: [
          { name: 'echo', port: ServerPort.ECHO, protocol: 'TCP' },
          { name: 'stream', port: ServerPort.STREAM, protocol: 'TCP' },
        ],
      },
      { namespace: 'default' },
    );
    await eventually(() => paths.stream(CLIENT, 'up', clusterIP, 1000));
    for (const way of ['up', 'down'] as const) await paths.stream(CLIENT, way, clusterIP, BULK_BYTES);
  });

  test('a worker that crashes is restarted and forwards', async () => {
    const control = new WorkerControl('n1');
    control.fail(0, Failure.THROW);
    await eventually(async () => {
      await paths.tryPing(CLIENT, SERVER_IP);
      return control.restarts(0) > 0 ? true : undefined;
    });
    control.close();
    await eventually(async () => ((await paths.tryPing(CLIENT, SERVER_IP)).status === 0 ? true : undefined));
    await paths.stream(CLIENT, 'up', SERVER_IP, 1 << 20);
    await paths.stream(CLIENT, 'down', SERVER_IP, 1 << 20);
  });

  if (mode.args.includes('ipip')) {
    test("IPIP from an unknown node, or with a source that is not the sender's, is dropped and counted", async () => {
      const send = (netns: string, source: string, outer = '172.18.0.11') =>
        output(cluster.exec(netns, ['python3', '-c', IPIP_SENDER, outer, source, CLIENT_IP]));
      const moved = async (work: () => Promise<unknown>) => Object.keys(await dropsMoved(cluster, 'n1', work));
      assert.equal(await moved(() => send(OUTSIDE, SERVER_IP)), ['ipip-unknown-peer']);
      assert.equal(await moved(() => send(nodeNetns('n2'), '10.244.3.9')), ['ipip-inner-source']);
      assert.equal(await moved(() => send(nodeNetns('n2'), CLIENT_IP)), ['ipip-inner-source']);
      assert.equal(await moved(() => send(nodeNetns('n2'), SERVER_IP)), []);
    });

    test("IPIP to the gateway's address is dropped there, and does not loop", async () => {
      await output(cluster.exec(nodeNetns('n2'), ['python3', '-c', IPIP_SENDER, '10.244.1.1', SERVER_IP, CLIENT_IP]));
      const frames = async () => (await cluster.status()).nodes[0]?.workers[0]?.framesIn as number;
      const before = await frames();
      await sleep(300);
      assert.ok((await frames()) - before < 20);
    });
  }

  test('after an agent dies, the next one forwards', async () => {
    const pidOf = async () => (await cluster.status()).nodes.find(({ name }) => name === 'n1')?.agentPid as number;
    const before = await pidOf();
    process.kill(before, 'SIGKILL');
    await eventually(async () => ((await paths.tryPing(CLIENT, SERVER_IP)).status === 0 ? true : undefined), 20_000);
    await eventually(async () => ![before, undefined, null].includes(await pidOf()) || undefined, 20_000);
    await paths.stream(CLIENT, 'up', SERVER_IP, 1 << 20);
  });

  test('a Node that is deleted while its agent lives comes back, and its pods are reached again', async () => {
    const uidOf = async () => (await s.api.find('Node', 'n2'))?.metadata.uid;
    const before = await uidOf();
    await cluster.cli('delete', 'node', 'n2');
    await eventually(async () => {
      const uid = await uidOf();
      return uid !== undefined && uid !== before ? true : undefined;
    });
    await eventually(async () => ((await paths.tryPing(CLIENT, SERVER_IP)).status === 0 ? true : undefined), 20_000);
  });

  test('nothing was dropped for a bad header, checksum or offload', async () => {
    for (const node of ['n1', 'n2']) {
      const dropped = await drops(cluster, node);
      for (const reason of ['offload-invalid', 'write-failed'])
        assert.is(dropped[reason] ?? 0, 0, `${node} ${reason}: ${dropped[reason]}`);
    }
  });

  all.run();
}
