/** The shortcut between wire and dp0, and the same cluster without it: they differ only in speed. */
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type Cluster,
  eventually,
  nodeNetns,
  output,
  podNetns,
  processPod,
  run,
  startCluster,
} from '../lib/cluster.ts';
import { fromOutside } from '../lib/floods/floods.ts';

const SERVE = `require('http').createServer((q, r) => r.end(q.socket.remoteAddress)).listen(80);`;
const NODE_PORT = 31080;

const service = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'web', namespace: 'default' },
  spec: { type: 'NodePort', selector: { app: 'web' }, ports: [{ port: 80, nodePort: NODE_PORT }] },
};

/** The same with the client's address kept, so that what reaches the pod shows who sent it. */
const LOCAL_PORT = 31081;
const local = {
  ...service,
  metadata: { name: 'local', namespace: 'default' },
  spec: { ...service.spec, externalTrafficPolicy: 'Local', ports: [{ port: 80, nodePort: LOCAL_PORT }] },
};

const nft = (...args: string[]) => run(['ip', 'netns', 'exec', nodeNetns('n1'), 'nft', ...args]);

/** What tcpdump prints in the pod of the SYNs that `send` causes, up to the last one, which `last` matches. */
async function synsInPod(
  cluster: Cluster,
  filter: string,
  last: RegExp,
  send: () => Promise<unknown>,
): Promise<string> {
  const tcpdump = ['tcpdump', '-Z', 'root', '-lvni', 'eth0', `tcp[tcpflags] == tcp-syn${filter}`];
  const capture = cluster.start(podNetns('web'), tcpdump);
  const seen = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    capture[name]!.setEncoding('utf8').on('data', (text: string) => {
      seen[name] += text;
    });
  }
  await eventually(async () => /listening on/.test(seen.stderr) || undefined);
  await send();
  await eventually(async () => last.test(seen.stdout) || undefined);
  // Another worker may still be at one that was sent before.
  await sleep(200);
  capture.kill('SIGKILL');
  return seen.stdout;
}

/** TTL of the SYNs that reach the pod from outside, through n1 and through n2. */
async function ttls(cluster: Cluster): Promise<number[]> {
  const syns = await synsInPod(cluster, '', /ttl[\s\S]*ttl/, async () => {
    for (const node of ['172.18.0.11', '172.18.0.12'])
      await cluster.fetch('dp-outside', `http://${node}:${NODE_PORT}/`);
  });
  return [...syns.matchAll(/ttl (\d+)/g)].map((match) => Number(match[1]));
}

async function withCluster(args: string[], work: (cluster: Cluster) => Promise<void>): Promise<void> {
  const manifests = [processPod('web', 'n1', [process.execPath, '-e', SERVE]), service, local];
  const cluster = await startCluster({ args: ['--nodes', '2', ...args], manifests });
  try {
    await cluster.fetch('dp-outside', `http://172.18.0.11:${NODE_PORT}/`, '--retry', '20', '--retry-connrefused');
    await work(cluster);
  } finally {
    await cluster.down();
  }
}

/** Sends SYNs in frames of their own: device, destination port, and for each destination MAC, source address and port. */
const SEND = `
import socket, struct, sys
device, dport = sys.argv[1:3]
def checksum(data):
    total = sum(struct.unpack('!%dH' % (len(data) // 2), data)); total = (total >> 16) + (total & 0xffff)
    return ~(total + (total >> 16)) & 0xffff
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind((device, 0))
for at in range(3, len(sys.argv), 3):
    mac, source, sport = sys.argv[at:at + 3]
    src, dst = socket.inet_aton(source), socket.inet_aton('172.18.0.11')
    tcp = struct.pack('!HHIIBBHHH', int(sport), int(dport), 1, 0, 5 << 4, 2, 64240, 0, 0)
    tcp = tcp[:16] + struct.pack('!H', checksum(src + dst + struct.pack('!HH', 6, 20) + tcp)) + tcp[18:]
    ip = struct.pack('!BBHHHBBH', 0x45, 0, 40, 7, 0, 64, 6, 0) + src + dst
    ip = ip[:10] + struct.pack('!H', checksum(ip)) + ip[12:]
    s.send(bytes.fromhex(mac.replace(':', '')) + bytes.fromhex('020000000099') + b'\\x08\\x00' + ip + tcp)`;

/** Spoofed SYNs from outside, by the port they come from. The kernel would let none of them in but the first two. */
const SPOOFED: readonly (readonly [what: string, port: number, source: string, mac?: string])[] = [
  ['a host on the wire', 40000, '172.18.0.77'],
  ['a host behind a router', 40001, '198.51.100.7'],
  ['the node itself', 40002, '172.18.0.11'],
  ['the node’s gateway for pods', 40003, '10.244.1.1'],
  ['a pod of the node', 40004, '10.244.1.2'],
  ['a pod of another node', 40005, '10.244.2.2'],
  ['the network’s broadcast address', 40006, '172.18.0.255'],
  ['loopback', 40007, '127.0.0.1'],
  ['multicast', 40008, '224.0.0.1'],
  ['nobody', 40009, '0.0.0.0'],
  ['a host, to another machine’s MAC', 40010, '172.18.0.77', '02:00:00:00:00:42'],
];

/** A SYN after them, which has to arrive. */
const MARK = ['a host on the wire', 40100, '172.18.0.77'] as const;

/** Ports of the spoofed SYNs that reached the pod. */
async function whoGetsIn(cluster: Cluster): Promise<number[]> {
  const link = JSON.parse(await output(cluster.exec(nodeNetns('n1'), ['ip', '-j', 'link', 'show', 'eth0'])));
  const own: string = link[0].address;
  const sent = [...SPOOFED, MARK].flatMap(([, port, source, mac = own]) => [mac, source, `${port}`]);
  const send = ['python3', '-c', SEND, 'to-n1', `${LOCAL_PORT}`, ...sent];
  const filter = ' and src portrange 40000-40100';
  const syns = await synsInPod(cluster, filter, /\.40100 > /, () => output(cluster.exec('dp-outside', send)));
  const seen = [...syns.matchAll(/\d\.(\d+) > /g)].map((match) => Number(match[1]));
  return [...new Set(seen)].filter((port) => port !== MARK[1]).sort();
}

const LET_IN = [40000, 40001];

const test = suite('underlay shortcut');

test('each router decrements the TTL once: n1, and n2 and n1', async () => {
  await withCluster([], async (cluster) => {
    assert.match(
      await output(nft('list', 'table', 'netdev', 'dataplane')),
      /dport 4789 fwd to "dp1"[\s\S]*fwd to "dp0"/,
    );
    assert.equal(await ttls(cluster), [63, 62]);
    assert.equal(await whoGetsIn(cluster), LET_IN, 'sources that nobody outside has');
    // After a flush of nftables, rules and routes still forward.
    await output(nft('delete', 'table', 'netdev', 'dataplane'));
    assert.equal(await ttls(cluster), [63, 62]);
  });
});

/** A counter of frames from n1's kernel to the data plane. */
async function framesOf(cluster: Cluster, device: string, counter: 'tx_packets' | 'tx_dropped'): Promise<number> {
  const path = `/sys/class/net/${device}/statistics/${counter}`;
  return Number(await output(cluster.exec(nodeNetns('n1'), ['cat', path])));
}

test('F28: a flood of NodePort datagrams fills the queue of dp0, and takes no overlay packet', async () => {
  await withCluster(['--workers', '1'], async (cluster) => {
    const flood = fromOutside(
      'as many datagrams as possible',
      1_000_000,
      'udp 198.18.0.1:1 > 172.18.0.11:32001 len 64',
    );
    const before = await framesOf(cluster, 'dp1', 'tx_packets');
    const running = await flood.start({ cluster });
    // From outside to n2, and from there over the overlay to the pod on n1.
    for (let n = 0; n < 20; n++) await cluster.fetch('dp-outside', `http://172.18.0.12:${NODE_PORT}/`);
    assert.ok((await running.end()) > 10_000);
    assert.ok((await framesOf(cluster, 'dp1', 'tx_packets')) >= before + 20 * 4);
    assert.is(await framesOf(cluster, 'dp1', 'tx_dropped'), 0);
    assert.ok((await framesOf(cluster, 'dp0', 'tx_dropped')) > 0, 'the flood is too small to show anything');
  });
});

test('--no-underlay-shortcut: nftables hands no frame from device to device, the same network', async () => {
  await withCluster(['--no-underlay-shortcut'], async (cluster) => {
    // The node's table `ip dataplane` (firewall.ts) is there either way.
    assert.is((await output(nft('list', 'tables', 'netdev'))).trim(), '');
    assert.equal(await whoGetsIn(cluster), LET_IN, 'sources that nobody outside has');
    assert.equal(await ttls(cluster), [63, 62]);
  });
});

test.run();
