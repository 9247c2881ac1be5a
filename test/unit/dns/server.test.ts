/** The DNS server over real sockets on loopback. */
import { createSocket } from 'node:dgram';
import { Resolver as NodeResolver } from 'node:dns/promises';
import { once } from 'node:events';
import { connect } from 'node:net';
import { decode, encode, type Packet } from 'dns-packet';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { EndpointSlice, Service } from '../../../src/api/types/objects.ts';
import { ClusterZone } from '../../../src/dns/cluster-zone.ts';
import { Forwarder } from '../../../src/dns/forwarder.ts';
import { Resolver } from '../../../src/dns/resolver.ts';
import { DnsServer } from '../../../src/dns/server.ts';
import { seededRandom } from '../../lib/seeded-random.ts';

const test = suite('name server');
const NXDOMAIN = 3;
const TRUNCATED = 0x200;
const AUTHORITATIVE = 0x400;

function service(name: string, spec: object): Service {
  return { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace: 'default' }, spec } as unknown as Service;
}

const zone = new ClusterZone('cluster.local', '10.96.0.10');
const ports = [{ name: 'http', port: 80, protocol: 'TCP' }];
zone.setService(service('web', { clusterIP: '10.96.3.4', ports }));
zone.setService(service('many', { clusterIP: 'None', ports }));
zone.setService(service('alias', { type: 'ExternalName', externalName: 'web.default.svc.cluster.local' }));
zone.setService(service('away', { type: 'ExternalName', externalName: 'example.com' }));
zone.setSlice({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name: 'many-1', namespace: 'default', labels: { 'kubernetes.io/service-name': 'many' } },
  addressType: 'IPv4',
  endpoints: Array.from({ length: 200 }, (_, i) => ({ addresses: [`10.244.1.${i + 2}`], conditions: {} })),
  ports,
} as unknown as EndpointSlice);

const log: string[] = [];
const make = (resolver: Resolver) =>
  DnsServer.listen({ address: '127.0.0.1', port: 0, resolver, log: (line) => log.push(line) });
const isOwnAddress = (address: string) => address.startsWith('10.');
let server: DnsServer;

test.before(async () => {
  server = await make(new Resolver({ zone, isOwnAddress }));
});
test.after(() => server.close());

async function askBytes(message: Uint8Array, port = server.port, timeoutMs = 10_000): Promise<Packet | undefined> {
  const socket = createSocket('udp4');
  socket.send(message, port, '127.0.0.1');
  const timer = setTimeout(() => socket.emit('message', undefined), timeoutMs);
  const [answer] = (await once(socket, 'message')) as [Buffer | undefined];
  clearTimeout(timer);
  socket.close();
  return answer && decode(answer);
}

const edns = (udpPayloadSize: number) =>
  ({ type: 'OPT', name: '.', udpPayloadSize, extendedRcode: 0, ednsVersion: 0, flags: 0, options: [] }) as never;

async function ask(name: string, type = 'A', payload = 0, port = server.port): Promise<Packet> {
  const questions = [{ name, type } as never];
  const additionals = payload > 0 ? [edns(payload)] : [];
  const answer = await askBytes(encode({ type: 'query', id: 7, flags: 0x100, questions, additionals }), port);
  assert.ok(answer, `no answer for ${name} ${type}`);
  return answer;
}

const rcode = (packet: Packet): number => (packet.flags ?? 0) & 0xf;

test('a name of the cluster gets an authoritative response, in the letter case of the query', async () => {
  const packet = await ask('WeB.default.SVC.cluster.local');
  assert.is(packet.id, 7);
  assert.ok((packet.flags ?? 0) & AUTHORITATIVE);
  assert.is(packet.questions?.[0]?.name, 'WeB.default.SVC.cluster.local');
  assert.is(packet.answers?.[0]?.name, 'WeB.default.SVC.cluster.local');
  assert.is(packet.answers?.[0]?.type === 'A' && packet.answers[0].data, '10.96.3.4');
});

test('a repeated query gets the present answer: other identifier, other letter case, a changed Service', async () => {
  const address = async (name: string) => {
    const { answers } = await ask(name);
    assert.is(answers?.[0]?.name, name);
    return answers?.[0]?.type === 'A' && answers[0].data;
  };
  zone.setService(service('moving', { clusterIP: '10.96.7.1', ports }));
  for (let i = 0; i < 3; i++) assert.is(await address('moving.default.svc.cluster.local'), '10.96.7.1');
  assert.is(await address('MOVING.default.svc.cluster.local'), '10.96.7.1');
  zone.setService(service('moving', { clusterIP: '10.96.7.2', ports }));
  assert.is(await address('moving.default.svc.cluster.local'), '10.96.7.2');
  zone.removeService(service('moving', {}));
  assert.is(rcode(await ask('moving.default.svc.cluster.local')), NXDOMAIN);
  zone.setService(service('moving', { clusterIP: '10.96.7.3', ports }));
  assert.is(await address('moving.default.svc.cluster.local'), '10.96.7.3');
});

test('AAAA of a name with an A record is NODATA, an unknown name NXDOMAIN; both at once and with an SOA', async () => {
  for (const [name, code] of [
    ['web.default.svc.cluster.local', 0],
    ['nobody.default.svc.cluster.local', NXDOMAIN],
  ] as const) {
    const start = performance.now();
    const packet = await ask(name, 'AAAA');
    assert.ok(performance.now() - start < 1000, 'nothing waits for a time-out');
    assert.is(rcode(packet), code);
    assert.equal(packet.answers, []);
    const [soa] = packet.authorities ?? [];
    assert.is(soa?.type, 'SOA');
    assert.is(soa?.type === 'SOA' && soa.data.minimum, 5);
  }
});

test('A and AAAA queries sent together from one socket are both answered, a thousand times', async () => {
  const socket = createSocket('udp4');
  let answers = 0;
  socket.on('message', () => answers++);
  for (let i = 0; i < 1000; i++) {
    for (const type of ['A', 'AAAA'] as const) {
      const message = encode({ type: 'query', id: i, questions: [{ name: 'web.default.svc.cluster.local', type }] });
      await new Promise((sent) => socket.send(message, server.port, '127.0.0.1', sent));
    }
  }
  for (const end = Date.now() + 3000; answers < 2000 && Date.now() < end; ) await new Promise((r) => setTimeout(r, 10));
  socket.close();
  assert.is(answers, 2000);
});

test('without an upstream, names outside the cluster are answered at once, with the reason as an extended error', async () => {
  const packet = await ask('example.com', 'A', 1232);
  assert.is(rcode(packet), NXDOMAIN);
  const opt = packet.additionals?.find((record) => record.type === 'OPT');
  const option = (opt as { options?: { code: number; data: Buffer }[] }).options?.[0];
  assert.is(option?.code, 15);
  assert.match(option?.data.subarray(2).toString() ?? '', 'no upstream name server');
});

test('a response that does not fit is truncated, and complete over TCP; EDNS makes room', async () => {
  const cut = await ask('many.default.svc.cluster.local');
  assert.ok((cut.flags ?? 0) & TRUNCATED);
  assert.equal(cut.answers, []);
  const alsoCut = await ask('many.default.svc.cluster.local', 'A', 4096);
  assert.ok((alsoCut.flags ?? 0) & TRUNCATED, 'never more than 1232 bytes over UDP');
  const resolver = new NodeResolver();
  resolver.setServers([`127.0.0.1:${server.port}`]);
  assert.is((await resolver.resolve4('many.default.svc.cluster.local')).length, 200);
});

test('the order of addresses rotates', async () => {
  const resolver = new NodeResolver();
  resolver.setServers([`127.0.0.1:${server.port}`]);
  const first = new Set<string | undefined>();
  for (let i = 0; i < 5; i++) first.add((await resolver.resolve4('many.default.svc.cluster.local'))[0]);
  assert.ok(first.size > 1);
});

test('SRV responses include the addresses of their targets; PTR and aliases resolve', async () => {
  const packet = await ask('_http._tcp.web.default.svc.cluster.local', 'SRV');
  const [srv] = packet.answers ?? [];
  assert.equal(srv?.type === 'SRV' && srv.data, {
    priority: 0,
    weight: 100,
    port: 80,
    target: 'web.default.svc.cluster.local',
  });
  assert.is(packet.additionals?.[0]?.type, 'A');
  const ptr = await ask('4.3.96.10.in-addr.arpa', 'PTR');
  assert.is(ptr.answers?.[0]?.type === 'PTR' && ptr.answers[0].data, 'web.default.svc.cluster.local');
  assert.is(rcode(await ask('5.3.96.10.in-addr.arpa', 'PTR')), NXDOMAIN);
  const alias = await ask('alias.default.svc.cluster.local');
  assert.equal(
    alias.answers?.map((record) => [record.type, 'data' in record && record.data]),
    [
      ['CNAME', 'web.default.svc.cluster.local'],
      ['A', '10.96.3.4'],
    ],
  );
});

test('the zone has a SOA and a name server; a transfer, another class and another operation are refused', async () => {
  assert.is((await ask('cluster.local', 'SOA')).answers?.[0]?.type, 'SOA');
  assert.is((await ask('cluster.local', 'NS')).answers?.[0]?.type, 'NS');
  assert.is((await ask('ns.dns.cluster.local')).answers?.length, 1);
  assert.is(rcode(await ask('cluster.local', 'AXFR')), 5);
  const update = encode({ type: 'query', id: 9, questions: [{ name: 'cluster.local', type: 'SOA' }] });
  update[2] = (update[2] ?? 0) | (5 << 3);
  assert.is(rcode((await askBytes(update))!), 4);
});

test('an unknown EDNS version is answered BADVERS, two questions FORMERR', async () => {
  const future = { ...(edns(1232) as object), ednsVersion: 1 } as never;
  const packet = await askBytes(
    encode({ type: 'query', id: 3, questions: [{ name: 'cluster.local', type: 'A' }], additionals: [future] }),
  );
  const opt = packet?.additionals?.[0] as { extendedRcode?: number } | undefined;
  assert.is(opt?.extendedRcode, 1);
  const two = [
    { name: 'a.cluster.local', type: 'A' as const },
    { name: 'b.cluster.local', type: 'A' as const },
  ];
  assert.is(rcode((await askBytes(encode({ type: 'query', id: 3, questions: two })))!), 1);
});

test('the server survives random bytes and mutated queries', async () => {
  const random = seededRandom(0xd45);
  const good = encode({ type: 'query', id: 1, questions: [{ name: 'web.default.svc.cluster.local', type: 'A' }] });
  const socket = createSocket('udp4');
  socket.on('error', () => {});
  for (let i = 0; i < 5000; i++) {
    const message = random.below(3) === 0 ? Buffer.alloc(random.below(600)) : Buffer.from(good);
    for (let n = 1 + random.below(8); n > 0 && message.length > 0; n--)
      message[random.below(message.length)] = random.word();
    await new Promise((sent) =>
      socket.send(message.subarray(0, 1 + random.below(message.length + 1)), server.port, '127.0.0.1', sent),
    );
  }
  socket.close();
  const tcp = connect(server.port, '127.0.0.1');
  tcp.on('error', () => {});
  for (let i = 0; i < 200; i++) tcp.write(Buffer.from(Array.from({ length: 50 }, () => random.word() & 0xff)));
  tcp.destroy();
  assert.is(rcode(await ask('web.default.svc.cluster.local')), 0);
  assert.equal(log, []);
});

test('upstream: one query for many clients, responses cached, a dead server skipped, none at all SERVFAIL', async () => {
  let asked = 0;
  const upstream = createSocket('udp4');
  upstream.on('message', (message, from) => {
    asked++;
    const query = decode(message);
    const answers = [{ type: 'A' as const, name: query.questions![0]!.name, ttl: 30, data: '192.0.2.1' }];
    upstream.send(
      encode({ type: 'response', id: query.id!, flags: 0x8180, questions: query.questions!, answers }),
      from.port,
      from.address,
    );
  });
  upstream.bind(0, '127.0.0.1');
  await once(upstream, 'listening');
  const dead = createSocket('udp4');
  dead.bind(0, '127.0.0.1');
  await once(dead, 'listening');
  const deadPort = dead.address().port;
  dead.close();
  let nowMs = 0;
  const servers = [deadPort, upstream.address().port].map((port) => ({ address: '127.0.0.1', port }));
  const forwarding = await make(new Resolver({ zone, isOwnAddress, upstream: new Forwarder(servers, () => nowMs) }));
  try {
    const together = await Promise.all([1, 2, 3].map(() => ask('example.com', 'A', 0, forwarding.port)));
    for (const packet of together) assert.is(packet.answers?.[0]?.type === 'A' && packet.answers[0].data, '192.0.2.1');
    assert.is(asked, 1);
    nowMs = 20_000;
    const [kept] = (await ask('EXAMPLE.com', 'A', 0, forwarding.port)).answers ?? [];
    assert.is(kept?.name, 'EXAMPLE.com');
    assert.is(kept?.type === 'A' && kept.ttl, 10);
    const alias = await ask('away.default.svc.cluster.local', 'A', 0, forwarding.port);
    assert.equal(
      alias.answers?.map(({ type }) => type),
      ['CNAME', 'A'],
    );
    nowMs = 31_000;
    await ask('example.com', 'A', 0, forwarding.port);
    assert.is(asked, 2);
    upstream.close();
    const failed = await ask('elsewhere.example', 'A', 0, forwarding.port);
    assert.is(rcode(failed), 2);
  } finally {
    forwarding.close();
  }
});

test.run();
