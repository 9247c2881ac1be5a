/**
 * Situations that hurt users of other data planes, end to end: docs/field.md lists each with its reference. Those that a
 * plain Linux router answers as well are tried on one beside it (test/lib/kernel/linux-router.ts).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import type { Service } from '../../src/api/types/objects.ts';
import { eventually, nodeNetns, output, processPod } from '../lib/cluster.ts';
import { linux, startLinuxRouter, stopLinuxRouter } from '../lib/kernel/linux-router.ts';
import {
  echoPod,
  nameOf,
  OUTSIDE,
  podNetns,
  serviceObject,
  sliceObject,
  startEcho,
  UDP,
  vip,
} from '../lib/services/services.ts';
import { CLIENT_1, CLIENT_2, N1, N2, PODS, serviceSuite } from '../lib/services/suite.ts';
import { Talker } from '../lib/services/udp-talker.ts';

const NODE_PORT = 31081;
const both = [
  { name: 't', port: 80, nodePort: NODE_PORT },
  { name: 'u', port: 80, protocol: 'UDP', nodePort: NODE_PORT },
] as const;

const { test, cluster, s } = await serviceSuite('field', {
  args: ['--nodes', '2', '--external-ip-cidr', '203.0.113.0/24'],
  manifests: [...PODS, serviceObject('other', 'other', { type: 'NodePort', ports: both })],
});
const [HOST_1, HOST_2] = [nodeNetns('n1'), nodeNetns('n2')];
const other = await s.api.get('Service', 'other', 'default');

/** Runs a Python program in a namespace; its output. */
const python = async (netns: string, program: string, ...args: string[]): Promise<string> =>
  (await output(cluster.exec(netns, ['python3', '-c', program, ...args]))).trim();

const serve = (netns: string, ...args: string[]) => startEcho(cluster, netns, ...args);

test('the control is there', async () => {
  await startLinuxRouter();
  await serve(linux.client, 'tcp:31081', 'udp:31081', 'name=linux');
  await serve(linux.host, 'tcp:7900', 'udp:7900', 'name=outside');
  await serve(OUTSIDE, 'tcp:7900', 'udp:7900', 'name=outside');
});

/** Echoes datagrams of these sizes, without DF; prints the sizes that did not come back. */
const SIZES = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setsockopt(socket.IPPROTO_IP, 10, 0); s.settimeout(1)
s.connect((sys.argv[1], int(sys.argv[2]))); bad = []
for n in eval(sys.argv[3]):
    for attempt in (0, 1):
        s.send(b'x' * n)
        try:
            if s.recv(65535).endswith(b'x' * n): break
        except Exception: pass
    else: bad.append(n)
    if len(bad) > 2: break
print(bad)`;
/** Around the MTU of pods and of the wire, so that last fragments have one to eight bytes. */
const AROUND_MTU = 'list(range(1394, 1432)) + list(range(1466, 1484)) + list(range(2894, 2914)) + [30000, 65000]';

test('datagrams whose last fragment is tiny, by every way to an endpoint and out, and back (cilium #32427, #13349, #22624)', async () => {
  for (const [netns, ip, port] of [
    [OUTSIDE, N1, NODE_PORT],
    [OUTSIDE, N2, NODE_PORT],
    [HOST_1, vip(other), 80],
    [HOST_1, '127.0.0.1', NODE_PORT],
    [CLIENT_1, vip(other), 80],
    [CLIENT_2, vip(other), 80],
    [CLIENT_1, N2, NODE_PORT],
    [CLIENT_1, '172.18.0.1', 7900],
    [linux.host, linux.routerIP, 31081],
    [linux.client, linux.hostIP, 7900],
  ] as const) {
    assert.is(await python(netns, SIZES, ip, `${port}`, AROUND_MTU), '[]', `${netns} to ${ip}:${port}`);
  }
});

/** TCP and UDP with each kind of IP option; prints what failed. */
const OPTIONS = `
import socket, sys
bad = []
for name, option in {'nop': b'\\x01' * 4, 'timestamp': bytes([68, 12, 5, 0]) + bytes(8), 'route': bytes([7, 11, 4]) + bytes(9), 'alert': bytes([148, 4, 0, 0]), 'longest': b'\\x01' * 40}.items():
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        try:
            s = socket.socket(socket.AF_INET, kind); s.settimeout(2); s.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, option)
            s.connect((sys.argv[1], int(sys.argv[2]))); s.send(b'GET / HTTP/1.0\\r\\n\\r\\n'); assert s.recv(999)
        except Exception as e: bad.append((name, str(e)))
print(bad)`;

test('IP options, also in a SYN to a NodePort and through masquerade (calico felix #2315, cilium #23810)', async () => {
  for (const [netns, ip, port] of [
    [OUTSIDE, N1, NODE_PORT],
    [CLIENT_1, vip(other), 80],
    [CLIENT_1, '172.18.0.1', 7900],
    [linux.host, linux.routerIP, 31081],
    [linux.client, linux.hostIP, 7900],
  ] as const) {
    assert.is(await python(netns, OPTIONS, ip, `${port}`), '[]', `${netns} to ${ip}:${port}`);
  }
});

/** Answers each packet of a raw protocol with its sender's address. */
const RAW_SERVER = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, int(sys.argv[1]))
while True:
    d, a = s.recvfrom(999)
    if d[20:27] == b'request': s.sendto(b'answer ' + a[0].encode(), a)`;
const RAW_CLIENT = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, int(sys.argv[1])); s.settimeout(0.3)
for attempt in range(10):
    s.sendto(b'request of mine', (sys.argv[2], 0))
    try: print(s.recvfrom(999)[0][20:].decode()); break
    except Exception as e: last = e
else: print(last)`;

test('protocols without ports: masqueraded and answered, and across nodes (flannel #2196)', async () => {
  for (const protocol of ['50', '51']) {
    for (const netns of [OUTSIDE, podNetns('web-2'), linux.host]) {
      cluster.start(netns, ['python3', '-c', RAW_SERVER, protocol]);
    }
    const web = await s.podIp('web-2');
    assert.is(await python(CLIENT_1, RAW_CLIENT, protocol, '172.18.0.1'), `answer ${N1}`, protocol);
    assert.is(await python(linux.client, RAW_CLIENT, protocol, linux.hostIP), `answer ${linux.routerIP}`, protocol);
    assert.is(await python(CLIENT_1, RAW_CLIENT, protocol, web), `answer ${await s.podIp('client-1')}`, protocol);
  }
});

test('a server in the node’s namespace that is bound to no address is an endpoint for all, by TCP and UDP (kubernetes #94812)', async () => {
  for (const [i, netns] of [HOST_1, HOST_2].entries()) await serve(netns, 'udp:5080', 'tcp:5080', `name=node${i + 1}`);
  for (const [node, ip] of [
    ['node1', N1],
    ['node2', N2],
  ] as const) {
    for (const protocol of ['TCP', 'UDP'] as const) {
      const name = `${node}-${protocol.toLowerCase()}`;
      const service = await s.create<Service>(
        serviceObject(name, undefined, { type: 'NodePort', ports: [{ port: 80, targetPort: 5080, protocol }] }),
      );
      await s.create(sliceObject(name, [{ ip }], { port: 5080, protocol }));
      const places = [`${vip(service)}:80`, `${N1}:${service.spec.ports![0]!.nodePort}`];
      for (const from of [CLIENT_1, CLIENT_2, HOST_1, HOST_2, OUTSIDE]) {
        for (const place of from === OUTSIDE ? places.slice(1) : places) {
          const ask = async () => (protocol === 'TCP' ? (await s.ask(from, place))[0]! : udp(from, place));
          await eventually(async () => (nameOf(await ask()) === node ? true : undefined), 3000).catch(() =>
            assert.unreachable(`${name} by ${place} from ${from}`),
          );
        }
      }
    }
  }
});

/** One datagram, and its reply within 300 ms. */
const udp = (netns: string, place: string): Promise<string> => {
  const [ip = '', port = ''] = place.split(':');
  const program =
    'import socket, sys\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(0.3); s.connect((sys.argv[1], int(sys.argv[2])))\ns.send(b"x")\ntry: print(s.recv(99).decode())\nexcept Exception as e: print("!", e)';
  return python(netns, program, ip, port);
};

test('a node’s own connection from a port that becomes a NodePort goes on; a new one from there connects (kubernetes #111682)', async () => {
  const program = `
    const net = require('net');
    let hold;
    let n = 0;
    const ask = () => hold.write('GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n');
    // Again while the server does not listen yet.
    const connect = () => {
      hold = net.connect({ host: '172.18.0.1', port: 7901, localPort: 31555, localAddress: '${N1}' });
      hold.on('connect', ask).on('data', () => console.log('answer', ++n));
      hold.on('error', (e) => (e.code === 'ECONNREFUSED' ? setTimeout(connect, 50) : console.log(e.code)));
    };
    connect();
    process.stdin.on('data', ask);`;
  cluster.start(OUTSIDE, [process.execPath, '-e', `require('net').createServer((s) => s.pipe(s)).listen(7901)`]);
  const child = cluster.start(HOST_1, [process.execPath, '-e', program]);
  let said = '';
  child.stdout!.on('data', (data) => {
    said += data;
  });
  await eventually(async () => said.includes('answer 1') || undefined);
  const ports = [{ port: 80, nodePort: 31555 }];
  await s.serve(serviceObject('taken', 'other', { type: 'NodePort', ports }), 1);
  await eventually(async () => (nameOf((await s.ask(OUTSIDE, `${N1}:31555`))[0]!) === 'other' ? true : undefined));
  child.stdin!.write('again\n');
  await eventually(async () => said.includes('answer 2') || undefined, 3000).catch(() => assert.unreachable(said));
  child.kill();
  const [again] = await s.ask(HOST_1, '172.18.0.1:7900', 1, '--interface', N1, '--local-port', '31555-31556');
  assert.is(nameOf(again!), 'outside');
});

test('UDP clients by a NodePort of every address of the node follow the endpoint (kubernetes #114815, #98305)', async () => {
  const SECOND = '172.18.0.50';
  await output(cluster.exec(HOST_1, ['ip', 'address', 'add', `${SECOND}/24`, 'dev', 'eth0']));
  const pod = (name: string, node: string) => echoPod(name, node, 'moving', { serve: ['udp:80'], probe: false });
  await s.create(pod('moving-1', 'n1'));
  const service = await s.serve(serviceObject('moving', 'moving', { type: 'NodePort', ports: UDP }), 1);
  const port = service.spec.ports![0]!.nodePort;
  const talkers = [
    new Talker(cluster, OUTSIDE, `${SECOND}:${port}`, 50),
    new Talker(cluster, CLIENT_2, `${SECOND}:${port}`, 50),
    new Talker(cluster, HOST_1, `127.0.0.1:${port}`, 50),
  ];
  for (const talker of talkers) await talker.hears('moving-1');
  await s.create(pod('moving-2', 'n2'));
  await s.readyEndpoints('moving', 2);
  await s.remove('Pod', 'moving-1', 0);
  for (const talker of talkers) await talker.hears('moving-2');
  await Promise.all(talkers.map((talker) => talker.end()));
  await output(cluster.exec(HOST_1, ['ip', 'address', 'del', `${SECOND}/24`, 'dev', 'eth0']));
});

test('a client whose SYN was never answered reaches another endpoint once that one has left the service (amazon-vpc-cni-k8s #3634)', async () => {
  await s.create(echoPod('silent', 'n1', 'late', { serve: ['tcp:80'], probe: false }));
  const service = await s.serve(serviceObject('late', 'late'), 1);
  const rules = 'table ip t { chain i { type filter hook input priority 0; policy drop; }; }';
  await output(cluster.exec(podNetns('silent'), ['nft', '-f', '-'], { input: rules }));
  const asking = s.ask(CLIENT_1, `${vip(service)}:80`, 1, '--max-time', '9');
  await sleep(300);
  await s.create(echoPod('speaks', 'n2', 'late', { serve: ['tcp:80'], probe: false }));
  await s.readyEndpoints('late', 2);
  await s.api.patch('Pod', 'silent', { metadata: { labels: { app: 'left' } } }, { namespace: 'default' });
  assert.is(nameOf((await asking)[0]!), 'speaks');
});

/** Connects and waits; prints how the connection ended, and after how many milliseconds. */
const HOLD = `const [ip, port] = process.argv.slice(1); const t = Date.now();
  const s = require('net').connect(port, ip, () => console.log('connected'));
  for (const e of ['end', 'error']) s.on(e, () => { console.log(e, Date.now() - t); process.exit(); });
  setTimeout(() => { console.log('nothing'); process.exit(); }, 8000);`;

test('a pod that is deleted at once ends its connections on both sides: its peers know within a second (calico #7983, #12117, kubernetes #124290)', async () => {
  const pods = ['ends-1', 'ends-2'] as const;
  const connector = (ip: string) => processPod('connector', 'n1', [process.execPath, '-e', HOLD, ip, '80']);
  for (const name of pods) await s.create(echoPod(name, 'n2', 'ends', { serve: ['tcp:80'], probe: false }));
  const [first, second] = await Promise.all(pods.map((name) => s.podIp(name)));
  const said: string[] = [];
  for (const [i, netns] of [CLIENT_1, CLIENT_2].entries()) {
    const child = cluster.start(netns, [process.execPath, '-e', HOLD, first!, '80']);
    child.stdout!.on('data', (data) => {
      said[i] = `${said[i] ?? ''}${data}`;
    });
  }
  await s.create(connector(second!));
  const established = async () =>
    (await cluster.exec(podNetns('ends-2'), ['ss', '-Htn', 'state', 'established'])).stdout;
  await eventually(async () => (said.filter((text) => text.includes('connected')).length === 2 ? true : undefined));
  await eventually(async () => ((await established()).includes(':80') ? true : undefined));
  // The server goes, then a client.
  await s.remove('Pod', 'ends-1', 0);
  await eventually(async () => (said.filter((text) => /end|error/.test(text)).length === 2 ? true : undefined), 2000);
  await s.remove('Pod', 'connector', 0);
  await eventually(async () => ((await established()).includes(':80') ? undefined : true), 2000);
});

test('addresses that nobody has: the client gets an error at once, and nothing leaves the node (calico #13570, cilium #28904, metallb #2721)', async () => {
  const capture = cluster.exec(OUTSIDE, [
    'timeout',
    '4',
    'tcpdump',
    '-Z',
    'root',
    '-lni',
    'underlay',
    'net',
    '10.96.0.0/12',
    'or',
    'net',
    '10.244.0.0/16',
  ]);
  await sleep(300);
  const told = async (netns: string, place: string): Promise<void> => {
    const before = performance.now();
    const { status } = await cluster.exec(netns, ['curl', '-sS', '--max-time', '3', `http://${place}/`]);
    assert.is(status, 7, `${place} from ${netns}`);
    assert.ok(performance.now() - before < 1000, place);
  };
  for (const netns of [CLIENT_1, HOST_1]) {
    for (const place of ['10.244.2.200', '10.244.77.7', `${vip(other)}:81`]) await told(netns, place);
    await output(cluster.exec(netns, ['ping', '-c', '1', '-W', '1', vip(other)]));
    // As kube-proxy drops what is sent to an unused address of the service network.
    const { status } = await cluster.exec(netns, ['curl', '-sS', '--max-time', '0.3', 'http://10.97.0.77/']);
    assert.is(status, 28, 'silence');
  }
  await told(linux.client, '10.9.77.7').catch(() => undefined);
  const seen = (await capture).stdout.split('\n').filter((line) => line.includes(' IP '));
  assert.equal(seen, []);
});

test('an external or load-balancer address that is a node’s is refused with the reason; the node stays reachable (kubernetes #127410, #104679, k3s #2087)', async () => {
  const wrong = serviceObject('wrong', 'other', { externalIPs: [N2] });
  await s.create(wrong).then(
    () => assert.unreachable('it was accepted'),
    (error: Error) => assert.match(error.message, /172\.18\.0\.12.*is not in a network allowed/),
  );
  const balanced = { type: 'LoadBalancer' as const, loadBalancerClass: 'example.com/servicelb' };
  await s.create(serviceObject('wrong', 'other', balanced));
  const status = { status: { loadBalancer: { ingress: [{ ip: N2 }] } } };
  await s.api.patch('Service', 'wrong', status, { namespace: 'default', subresource: 'status' }).then(
    () => assert.unreachable('it was accepted'),
    (error: Error) => assert.match(error.message, /172\.18\.0\.12/),
  );
  for (const netns of [OUTSIDE, HOST_1]) await output(cluster.exec(netns, ['ping', '-c', '1', '-W', '1', N2]));
});

test('healthCheckNodePort and nodePort are of one range: no number is given twice (kubernetes #63617)', async () => {
  const local = { type: 'LoadBalancer' as const, externalTrafficPolicy: 'Local' as const };
  for (const [spec, ports] of [
    [{ ...local, healthCheckNodePort: NODE_PORT }, [{ port: 80 }]],
    [{ ...local, healthCheckNodePort: 31600 }, [{ port: 80, nodePort: 31600 }]],
  ] as const) {
    await s.create(serviceObject('clash', 'other', { ...spec, ports: [...ports] })).then(
      () => assert.unreachable('it was accepted'),
      (error: Error) => assert.match(error.message, /already allocated/),
    );
  }
});

test('the node’s own connections to remote endpoints by ClusterIP and NodePort take no second SYN (calico #3145, kubernetes #89622)', async () => {
  for (const place of [`${vip(other)}:80`, `127.0.0.1:${NODE_PORT}`]) {
    const args = ['curl', '-sS', '-o', '/dev/null', '-H', 'Connection: close', '-w', '%{time_connect}\n'];
    const took = await output(cluster.exec(HOST_1, [...args, `http://${place}/?[1-20]`]));
    const slowest = Math.max(...took.trim().split('\n').map(Number));
    assert.ok(slowest > 0 && slowest < 0.9, `${place}: ${slowest} s; a lost SYN is sent again after one`);
  }
});

test('the control is gone', stopLinuxRouter);

test.run();
