/**
 * From pods to what the host reaches: not without `up --egress`, and at once; with it, by slirp4netns, while the host's own
 * network stays as it is. The test's own network namespace is the host.
 */
import { createSocket, type Socket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { decode, encode } from 'dns-packet';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { missingProgram } from '../lib/applications.ts';
import { type Cluster, dataplane, eventually, output, processPod, run, startCluster } from '../lib/cluster.ts';

const HOST = '203.0.113.1';
/** Sends a datagram and prints the error that comes back. */
const DATAGRAM = `const socket = require('dgram').createSocket('udp4');
socket.on('error', ({ code }) => { console.log(code); process.exit(); });
socket.connect(53, '198.51.100.7', () => { socket.send('x'); setTimeout(() => process.exit(1), 3000); });`;
const POD = processPod('client', 'n2', ['sleep', '1000']);
let server: Server;
let names: Socket;

/** A network of the host's own: a device with an address and a default route. */
async function hostNetwork(): Promise<void> {
  for (const command of [
    'link add uplink type veth peer name uplink-peer',
    `address add ${HOST}/24 dev uplink`,
    'link set uplink up',
    'link set uplink-peer up',
    'route add default via 203.0.113.254',
  ])
    await output(run(['ip', ...command.split(' ')]));
  server = createServer((request, response) => response.end(`host sees ${request.socket.remoteAddress}`));
  await new Promise<void>((resolve) => server.listen(8000, resolve));
}

/** A name server of the host's, for one name. */
function serveNames(): Promise<void> {
  names = createSocket('udp4');
  names.on('message', (message, from) => {
    const { id, questions } = decode(message);
    const [{ name, type }] = questions as [{ name: string; type: string }];
    const answers = type === 'A' ? [{ type: 'A' as const, name, ttl: 5, data: HOST }] : [];
    names.send(
      encode({ type: 'response', id: id!, flags: 1 << 8, questions: questions!, answers }),
      from.port,
      from.address,
    );
  });
  return new Promise((resolve) => names.bind(53, HOST, resolve));
}

async function describeHost(): Promise<string> {
  const parts = ['address', 'route', 'rule', 'link'].map((what) => output(run(['ip', '-o', what])));
  const sysctls = ['ip_forward', 'conf/all/rp_filter', 'conf/uplink/forwarding', 'ping_group_range'].map((name) =>
    readFileSync(`/proc/sys/net/ipv4/${name}`, 'utf8'),
  );
  return [...(await Promise.all(parts)), ...sysctls, (await run(['nft', 'list', 'ruleset'])).stdout].join('\n');
}

const inPod = (...command: string[]) => dataplane(['exec', 'client', '--', ...command]);
const curl = (url: string) => inPod('curl', '-sS', '--max-time', '5', url);

const closed = suite('egress off');
let cluster: Cluster;
closed.before(async () => {
  await hostNetwork();
  cluster = await startCluster({ args: ['--nodes', '2'], manifests: [POD] });
});
closed.after(async () => {
  await cluster.down();
});

closed('connections to addresses without a route are refused at once, over TCP, UDP and ping', async () => {
  const startedMs = Date.now();
  const tcp = await curl('http://198.51.100.7/');
  assert.is(tcp.status, 7);
  assert.match(tcp.stderr, /Failed to connect to 198\.51\.100\.7 port 80 after \d+ ms/);
  const udp = await inPod(process.execPath, '-e', DATAGRAM);
  assert.match(udp.stdout, /EHOSTUNREACH|EACCES|ECONNREFUSED/);
  const ping = await inPod('ping', '-c', '1', '-W', '5', '198.51.100.7');
  assert.match(ping.stdout, /Packet filtered|Unreachable/);
  assert.ok(Date.now() - startedMs < 4500, 'none of them waits for its timeout');
  assert.is((await curl(`http://${HOST}:8000/`)).status, 7, 'the host is outside too');
});

closed('status counts them, and why names the cause', async () => {
  const { egress } = JSON.parse(await cluster.cli('status', '-o', 'json')) as {
    egress: { enabled: boolean; refusedPackets: number };
  };
  assert.is(egress.enabled, false);
  assert.ok(egress.refusedPackets >= 4);
  assert.match(
    await cluster.cli('status'),
    /\d+ packets to addresses without a route from dp-outside were refused: bring the cluster up with --egress/,
  );
  const { status, stdout } = await dataplane(['why', 'pod/client', '198.51.100.7:443']);
  assert.is(status, 1);
  assert.match(
    stdout,
    'Cause: there is no way to 198.51.100.7: the cluster was brought up without --egress, so that what is not in dp-outside cannot be reached.',
  );
});

closed('an address that is given to dp-outside is reached', async () => {
  await output(run(['ip', '-n', 'dp-outside', 'address', 'add', '192.0.2.9/32', 'dev', 'lo']));
  assert.is((await inPod('ping', '-c', '1', '-W', '5', '192.0.2.9')).status, 0);
  assert.is((await inPod('ping', '-c', '1', '-W', '5', '172.18.0.1')).status, 0);
});
closed.run();

const why = missingProgram(['slirp4netns', 'nft']);
const open = suite('egress on');
if (why !== undefined) {
  console.log(`skipped: egress on: ${why}`);
  open.skip(why, () => {});
  open.after(() => {
    server.close();
  });
} else {
  let before: string;
  open.before(async () => {
    await serveNames();
    before = await describeHost();
    cluster = await startCluster({ args: ['--nodes', '2', '--egress', '--dns-upstream', HOST], manifests: [POD] });
  });
  open.after(async () => {
    await cluster.down();
    assert.is(await describeHost(), before, 'the network of the host is as before');
    server.close();
    names.close();
  });

  open('a pod reaches an address of the host over TCP and ping, as a program of the host', async () => {
    await eventually(async () => ((await curl(`http://${HOST}:8000/`)).status === 0 ? true : undefined));
    assert.match((await curl(`http://${HOST}:8000/`)).stdout, /^host sees (::ffff:)?203\.0\.113\.1$/);
    assert.is((await inPod('ping', '-c', '1', '-W', '5', HOST)).status, 0);
    assert.is(await describeHost(), before, 'nothing of the network of the host has changed');
  });

  open('a connection that the host would be refused is refused', async () => {
    const { status, stderr } = await curl(`http://${HOST}:8001/`);
    assert.is(status, 7);
    assert.match(stderr, /Failed to connect/);
  });

  open('the loopback of the host stays out of reach', async () => {
    assert.is.not((await curl('http://10.0.2.2:8000/')).status, 0);
  });

  open('names outside of the cluster are resolved upstream', async () => {
    assert.match((await inPod('getent', 'ahostsv4', 'files.example.com')).stdout, /^203\.0\.113\.1\s/);
    assert.match((await curl('http://files.example.com:8000/')).stdout, /^host sees/);
    assert.match(await cluster.cli('dns', 'query', 'files.example.com', '--from', 'pod/client'), /IN A 203\.0\.113\.1/);
  });

  open('a policy that denies egress applies', async () => {
    await cluster.apply({
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: 'inside' },
      spec: { podSelector: {}, policyTypes: ['Egress'], egress: [{ to: [{ ipBlock: { cidr: '10.0.0.0/8' } }] }] },
    });
    await eventually(async () => ((await curl(`http://${HOST}:8000/`)).status !== 0 ? true : undefined));
    await cluster.cli('delete', 'networkpolicy', 'inside');
  });

  open('slirp4netns is started again when it was killed, also after the controller was', async () => {
    const pidOf = () => (JSON.parse(readFileSync('/run/dataplane/egress.json', 'utf8')) as { pid: number }).pid;
    const first = pidOf();
    process.kill(first, 'SIGKILL');
    await eventually(async () => (pidOf() !== first ? true : undefined));
    await eventually(async () => ((await curl(`http://${HOST}:8000/`)).status === 0 ? true : undefined));
    const second = pidOf();
    const { controller } = await cluster.status();
    process.kill(controller.pid, 'SIGKILL');
    await eventually(async () => ((await cluster.status()).controller.running ? true : undefined));
    assert.is(pidOf(), second, 'the next controller takes the running one over');
    assert.is((await curl(`http://${HOST}:8000/`)).status, 0);
    assert.match(await cluster.cli('status'), 'Egress: pods reach what this host reaches.');
  });
}
open.run();
