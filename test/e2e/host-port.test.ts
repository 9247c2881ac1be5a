/**
 * Host ports of pods (kubernetes test/e2e/network/hostport.go, and rows of its kind): reached from everywhere at the
 * pod's node, with the client's own address; a node takes no two pods with one port.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import type { NodeTrace } from '../../src/observe/trace/step.ts';
import { eventually, nodeNetns, output } from '../lib/cluster.ts';
import { linux, startLinuxRouter, stopLinuxRouter } from '../lib/kernel/linux-router.ts';
import { ECHO, echoPod, idlePod, nameOf, OUTSIDE, podNetns, serviceObject } from '../lib/services/services.ts';
import { CLIENT_1, CLIENT_2, N1, N2, serviceSuite } from '../lib/services/suite.ts';
import { Talker } from '../lib/services/udp-talker.ts';

const NODE_1 = nodeNetns('n1');
const NODE_2 = nodeNetns('n2');
const SECOND = '172.18.0.50';
const GATEWAY = '10.244.1.1';
const serve = ['tcp:80', 'udp:80'];
const tcp = { containerPort: 80, hostPort: 8081 };
const udp = { containerPort: 80, hostPort: 8053, protocol: 'UDP' };

const { test, cluster, s } = await serviceSuite('host ports', {
  args: ['--nodes', '2'],
  manifests: [
    echoPod('web', 'n1', 'web', { serve, ports: [tcp, udp] }),
    idlePod('client-1', 'n1'),
    idlePod('client-2', 'n2'),
  ],
});

const ip = (netns: string, ...args: string[]) => output(cluster.exec(netns, ['ip', ...args]));
const pod = (name: string, node: string, ...ports: object[]) => echoPod(name, node, name, { serve, ports });
const clientOf = (answer: string): string => /^\S+ (\S+):\d+ /.exec(answer)?.[1] ?? answer;
const phase = async (name: string) => (await s.api.get('Pod', name, 'default')).status;
const answers = (netns: string, place: string, name: string) =>
  eventually(async () => ((await s.names(netns, place, 1)).join() === name ? true : undefined), 5000);

/** One answer to TCP, and one to UDP: the address that the server saw. */
async function seen(netns: string, address: string): Promise<string[]> {
  const [byTcp = ''] = await s.ask(netns, `${address}:8081`);
  const byUdp = await s.datagram(netns, `${address}:8053`);
  assert.equal([nameOf(byTcp), nameOf(byUdp)], ['web', 'web'], `${address} from ${netns}: ${byTcp}, ${byUdp}`);
  return [...new Set([clientOf(byTcp), clientOf(byUdp)])];
}

test('a hostPort is reached from everywhere, and the pod sees its client', async () => {
  await s.pod('web');
  await answers(OUTSIDE, `${N1}:8081`, 'web');
  assert.equal(await seen(OUTSIDE, N1), ['172.18.0.1']);
  assert.equal(await seen(NODE_2, N1), [N2]);
  assert.equal(await seen(CLIENT_1, N1), [await s.podIp('client-1')]);
  assert.equal(await seen(CLIENT_2, N1), [N2], 'pods leave the pod network with their node’s address, as with flannel');
  assert.equal(await seen(NODE_1, N1), [N1]);
  assert.equal(await seen(NODE_1, '127.0.0.1'), [GATEWAY]);
  assert.equal(await seen(podNetns('web'), N1), [GATEWAY], 'hairpin');
});

test('on the other node, and for the other protocol, the port is the node’s own', async () => {
  assert.equal(await s.ask(OUTSIDE, `${N2}:8081`), ['!7']);
  assert.equal(await s.ask(OUTSIDE, `${N1}:8053`), ['!7']);
  assert.equal(await s.ask(CLIENT_1, `${GATEWAY}:8081`), ['!7']);
});

test('it is open on a second address of the node as soon as there is one', async () => {
  await ip(NODE_1, 'address', 'add', `${SECOND}/24`, 'dev', 'eth0');
  await answers(OUTSIDE, `${SECOND}:8081`, 'web');
  assert.equal(await seen(CLIENT_1, SECOND), [await s.podIp('client-1')]);
});

test('validates that there is no conflict between pods with same hostPort but different hostIP and protocol', async () => {
  const same = { containerPort: 80, hostPort: 54321 };
  await s.create(pod('one', 'n1', { ...same, hostIP: N1 }));
  await s.create(pod('two', 'n1', { ...same, hostIP: SECOND }));
  await s.create(pod('three', 'n1', { ...same, hostIP: SECOND, protocol: 'UDP' }));
  for (const name of ['one', 'two', 'three']) await s.pod(name);
  await answers(OUTSIDE, `${N1}:54321`, 'one');
  await answers(OUTSIDE, `${SECOND}:54321`, 'two');
  assert.is(nameOf(await s.datagram(OUTSIDE, `${SECOND}:54321`)), 'three');
  assert.is(await s.datagram(OUTSIDE, `${N1}:54321`), '!refused');
  assert.equal(await s.ask(NODE_1, '127.0.0.1:54321'), ['!7']);
});

test('a pod that names a node whose port is taken fails there; one that names none goes to another node, or waits', async () => {
  await s.create(pod('late', 'n1', tcp));
  await eventually(async () => ((await phase('late'))?.phase === 'Failed' ? true : undefined));
  const { reason, message = '' } = (await phase('late')) ?? {};
  assert.is(reason, 'NodePorts');
  assert.match(message, "node(s) didn't have free ports for the requested pod ports");
  assert.match(await cluster.cli('describe', 'pod', 'late'), /Warning +NodePorts/);

  const { nodeName: _, ...spec } = pod('free', 'n1', tcp).spec;
  await s.create({ ...pod('free', 'n1', tcp), spec });
  assert.is((await s.pod('free')).spec.nodeName, 'n2');
  await answers(OUTSIDE, `${N2}:8081`, 'free');
  await s.create({ ...pod('waiting', 'n1', tcp), spec });
  const condition = await eventually(async () =>
    (await phase('waiting'))?.conditions?.find(({ type, status }) => type === 'PodScheduled' && status === 'False'),
  );
  assert.is(
    condition.message,
    "0/2 nodes are available: 2 node(s) didn't have free ports for the requested pod ports. " +
      'preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod.',
  );
  await s.remove('Pod', 'free', 0);
  assert.is((await s.pod('waiting')).spec.nodeName, 'n2', 'its turn has come');
  await answers(OUTSIDE, `${N1}:8081`, 'web');
});

test('describe and trace name it', async () => {
  assert.match(await cluster.cli('describe', 'pod', 'web'), /Host Ports: +8081\/TCP, 8053\/UDP/);
  const traces = JSON.parse(
    await cluster.cli('trace', 'pod/client-1', '--to', `${N1}:8081`, '-o', 'json'),
  ) as NodeTrace[];
  const row = traces[0]?.steps.find(({ stage }) => stage === 'service')?.row;
  assert.is(row?.pod, 'pod default/web');
  assert.is(row?.hostPort, 8081);
  assert.is(traces[0]?.verdict, 'forwarded');
});

test('what listens on the node’s port keeps listening, and is reached again when the pod is gone', async () => {
  cluster.start(NODE_1, [...ECHO, 'tcp:8090', 'udp:8090', 'name=host']);
  await answers(OUTSIDE, `${N1}:8090`, 'host');
  const talker = new Talker(cluster, OUTSIDE, `${N1}:8090`, 20, 12_345);
  await talker.hears('host');
  await s.create(pod('over', 'n1', { containerPort: 80, hostPort: 8090 }, { ...udp, hostPort: 8090 }));
  await s.pod('over');
  await answers(OUTSIDE, `${N1}:8090`, 'over');
  await answers(NODE_1, `${N1}:8090`, 'over');
  await talker.hears('over');
  await s.remove('Pod', 'over', 0);
  await answers(OUTSIDE, `${N1}:8090`, 'host');
  await answers(NODE_1, `${N1}:8090`, 'host');
  await talker.hears('host');
  await talker.end();
});

/** Sends a line over one connection at each line of its input, and prints what comes back. */
const KEPT = `import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 3); s.settimeout(3); print('open', flush=True)
for line in sys.stdin:
    try: s.sendall(line.encode()); print(s.recv(99).decode().strip() or 'closed', flush=True)
    except Exception as e: print(e, flush=True)`;

/** A connection that stays open. */
class KeptConnection {
  private readonly child: ReturnType<typeof cluster.start>;
  private readonly what: string;
  private said = '';

  constructor(netns: string, host: string, port: number) {
    this.what = `${netns} to ${host}:${port}`;
    this.child = cluster.start(netns, ['python3', '-c', KEPT, host, `${port}`]);
    this.child.stdout!.on('data', (data) => {
      this.said += data;
    });
  }

  async opened(): Promise<void> {
    await eventually(async () => this.said.includes('open') || undefined);
  }

  /** It is echoed. */
  async echoes(word: string): Promise<void> {
    const before = this.said.length;
    this.child.stdin!.write(`${word}\n`);
    await eventually(async () => this.said.length > before || undefined);
    assert.is(this.said.slice(before).trim(), word, this.what);
  }

  close(): void {
    this.child.kill();
  }
}

test('connections that the node has on a port continue when a pod gets it as its hostPort, or a Service as its NodePort', async () => {
  const [hostPort, nodePort] = [8091, 31_591];
  const echo = (port: number) => `require('net').createServer((s) => s.pipe(s).on('error', () => {})).listen(${port})`;
  await startLinuxRouter();
  for (const netns of [NODE_1, linux.router]) {
    for (const port of [hostPort, nodePort]) cluster.start(netns, [process.execPath, '-e', echo(port)]);
    await eventually(async () => {
      const { stdout } = await cluster.exec(netns, ['ss', '-Hltn']);
      return [hostPort, nodePort].every((port) => stdout.includes(`:${port} `)) || undefined;
    });
  }
  const ways = [
    [OUTSIDE, N1],
    [OUTSIDE, SECOND],
    [NODE_1, N1],
    [NODE_1, '127.0.0.1'],
    [CLIENT_1, N1],
    [CLIENT_2, N1],
    [NODE_2, N1],
  ] as const;
  const all = ways.flatMap(([netns, host]) =>
    [hostPort, nodePort].map((port) => new KeptConnection(netns, host, port)),
  );
  all.push(new KeptConnection(linux.host, linux.routerIP, hostPort));
  for (const one of all) await one.opened();
  await s.create(pod('over-2', 'n1', { containerPort: 80, hostPort }));
  await s.pod('over-2');
  await s.create(serviceObject('over-2', 'over-2', { type: 'NodePort', ports: [{ port: 80, nodePort }] }));
  const dnat = `table ip ports { chain in { type nat hook prerouting priority dstnat; ip daddr ${linux.routerIP} tcp dport ${hostPort} dnat to ${linux.clientIP}:80; }; }`;
  await output(cluster.exec(linux.router, ['nft', '-f', '-'], { input: dnat }));
  for (const port of [hostPort, nodePort]) {
    for (const from of [OUTSIDE, NODE_1, CLIENT_1]) await answers(from, `${N1}:${port}`, 'over-2');
  }
  for (const one of all) await one.echoes('once');
  await s.remove('Pod', 'over-2', 0);
  await s.remove('Service', 'over-2', 0);
  await sleep(500);
  for (const one of all) await one.echoes('again');
  for (const one of all) one.close();
});

test('the control: a port of a plain Linux router that leads to a client behind it', async () => {
  cluster.start(linux.client, [...ECHO, 'tcp:80', 'udp:80', 'name=web']);
  const ports = `table ip ports {
    chain in { type nat hook prerouting priority dstnat; ip daddr ${linux.routerIP} tcp dport 8081 dnat to ${linux.clientIP}:80; ip daddr ${linux.routerIP} udp dport 8053 dnat to ${linux.clientIP}:80; }
    chain out { type nat hook output priority -100; ip daddr ${linux.routerIP} tcp dport 8081 dnat to ${linux.clientIP}:80; ip daddr ${linux.routerIP} udp dport 8053 dnat to ${linux.clientIP}:80; }
  }`;
  await output(cluster.exec(linux.router, ['nft', '-f', '-'], { input: `delete table ip ports\n${ports}` }));
  await answers(linux.host, `${linux.routerIP}:8081`, 'web');
  assert.equal(await seen(linux.host, linux.routerIP), [linux.hostIP], 'the true client, as above');
  assert.equal(await seen(linux.router, linux.routerIP), [linux.routerIP]);
  await stopLinuxRouter();
});

test('UDP from one socket goes to the pod’s successor; TCP to a pod that is gone is reset', async () => {
  const ports = [
    { containerPort: 80, hostPort: 8070 },
    { ...udp, hostPort: 8070 },
  ];
  await s.create(pod('cycle-1', 'n1', ...ports));
  await s.pod('cycle-1');
  const place = `${N1}:8070`;
  const talkers = [OUTSIDE, CLIENT_1, NODE_1].map((netns) => new Talker(cluster, netns, place, 20, 12_345));
  talkers.push(new Talker(cluster, OUTSIDE, `${SECOND}:8070`, 20, 12_346));
  for (const talker of talkers) await talker.hears('cycle-1');
  const slow = s.ask(OUTSIDE, place, 1, '--max-time', '15', '-G', '-d', 'wait=8000');
  await sleep(300);
  await s.remove('Pod', 'cycle-1', 0);
  await s.gone('Pod', 'cycle-1');
  await s.create(pod('cycle-2', 'n1', ...ports));
  await s.pod('cycle-2');
  for (const talker of talkers) {
    await talker.hears('cycle-2');
    await talker.end();
  }
  const [answer = ''] = await slow;
  assert.match(answer, /^!(52|56)/, `closed or reset, not left to its time limit: ${answer}`);
});

test('an agent that dies leaves host ports and their connections to the next one', async () => {
  const talker = new Talker(cluster, OUTSIDE, `${N1}:8053`, 20, 23_456);
  await talker.hears('web');
  const slow = s.ask(OUTSIDE, `${N1}:8081`, 1, '--max-time', '20', '-G', '-d', 'wait=6000');
  await sleep(300);
  const pid = (await cluster.status()).nodes.find(({ name }) => name === 'n1')?.agentPid as number;
  process.kill(pid, 'SIGKILL');
  await eventually(async () => {
    const node = (await cluster.status()).nodes.find(({ name }) => name === 'n1');
    return node?.ready && node.agentPid !== pid ? true : undefined;
  }, 20_000);
  await answers(OUTSIDE, `${N1}:8081`, 'web');
  await talker.hears('web');
  assert.is(nameOf((await slow)[0] ?? ''), 'web');
  const clients = new Set(talker.answers.map(({ port }) => port));
  assert.is(clients.size, 1);
  await talker.end();
});

test('the node’s own sockets do not begin connections at a hostPort, and its rules go with the pod', async () => {
  const reserved = async () =>
    (await cluster.exec(NODE_1, ['cat', '/proc/sys/net/ipv4/ip_local_reserved_ports'])).stdout;
  const rules = async () => (await cluster.exec(NODE_1, ['ip', 'rule', 'show'])).stdout;
  await s.create(pod('brief', 'n1', { containerPort: 80, hostPort: 33333 }));
  await s.pod('brief');
  await answers(OUTSIDE, `${N1}:33333`, 'brief');
  assert.match(await reserved(), /\b33333\b/);
  assert.match(await rules(), 'dport 33333');
  await s.remove('Pod', 'brief', 0);
  await eventually(async () => ((await rules()).includes('33333') ? undefined : true));
  assert.not.match(await reserved(), /\b33333\b/);
});

test.run();
