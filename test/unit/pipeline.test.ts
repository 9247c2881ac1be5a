import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { exchange, TestNode } from '../lib/test-node.ts';

const A = '10.244.1.2';
const B = '10.244.1.3';

function node(): TestNode {
  return new TestNode().pod('a', A).pod('b', B).peer(2);
}

test("ARP: requests for the gateway and the node's pods are answered, no others", () => {
  const n = node();
  assert.is(n.receive('a', `arp who-has 10.244.1.1 tell ${A}`), 'arp-answered');
  assert.equal(n.sent('a'), ['arp 10.244.1.1 is-at 0a:58:0a:f4:01:01']);
  n.receive('a', `arp who-has ${B} tell ${A}`);
  assert.equal(n.sent('a'), [`arp ${B} is-at 0a:58:0a:f4:01:03`]);
  assert.is(n.receive('a', `arp who-has 10.244.1.9 tell ${A}`), 'arp-unknown-target');
  assert.is(n.receive('a', `arp who-has 10.244.1.1 tell ${B}`, { srcMac: '0a:58:0a:f4:01:02' }), 'arp-spoofed');
  assert.equal(n.out, []);
});

test('pods of a node reach each other; both directions are one flow', () => {
  const n = node();
  assert.is(n.receive('a', `tcp ${A}:4000 > ${B}:80 S`, { dstMac: '0a:58:0a:f4:01:03' }), 'forwarded');
  assert.equal(n.sent('b'), [`tcp ${A}:4000 > ${B}:80 S`]);
  assert.is(n.receive('b', `tcp ${B}:80 > ${A}:4000 SA seq 9 ack 1`, { dstMac: '0a:58:0a:f4:01:02' }), 'forwarded');
  assert.equal(n.sent('a'), [`tcp ${B}:80 > ${A}:4000 SA`]);
  assert.is(n.flows, 1);
});

test('the gateway answers ping', () => {
  const n = node();
  assert.is(n.receive('a', `icmp ${A} > 10.244.1.1 echo-request id 7 seq 1 len 56`), 'ping-answered');
  assert.equal(n.sentFully('a'), [`icmp 10.244.1.1 > ${A} echo-reply id 7 seq 1 len 56`]);
});

test("packets of the node's own flows are handed to it: replies to its pings, fragmented datagrams", () => {
  const n = node();
  assert.is(n.receive('host', 'icmp 172.18.0.1 > 172.18.0.11 echo-reply id 7 seq 1 len 56'), 'to-host');
  assert.is(n.receive('host', 'udp 172.18.0.1:53 > 172.18.0.11:999 len 64 frag id 9 offset 0 more'), 'to-host');
  assert.is(n.receive('host', 'udp 172.18.0.1 > 172.18.0.11 len 64 frag id 9 offset 72'), 'to-host');
  assert.is(n.receive('host', 'udp 172.18.0.1 > 172.18.0.11 len 64 frag id 10 offset 72'), 'fragment-held');
  assert.is(n.receive('host', 'udp 172.18.0.1:53 > 172.18.0.11:999 len 64 frag id 10 offset 0 more'), 'to-host');
  assert.is(n.sent('host').length, 5);
  assert.is(n.receive('a', `icmp ${A} > 172.18.0.11 echo-reply id 7 seq 1 len 56`), 'conntrack-invalid');
  assert.is(n.receive('host', `icmp 172.18.0.1 > ${A} echo-reply id 7 seq 1 len 56`), 'conntrack-invalid');
});

test('ClusterIP: the reply leaves with the service as its source', () => {
  const n = node().service('tcp 10.96.0.10:80', { endpoints: [`${B}:8080`] });
  n.receive('a', `tcp ${A}:4000 > 10.96.0.10:80 S`);
  assert.equal(n.sent('b'), [`tcp ${A}:4000 > ${B}:8080 S`]);
  n.receive('b', `tcp ${B}:8080 > ${A}:4000 SA seq 9 ack 1`, { dstMac: '0a:58:0a:f4:01:02' });
  assert.equal(n.sent('a'), [`tcp 10.96.0.10:80 > ${A}:4000 SA`]);
  assert.equal(n.countersMoved(), { forwarded: 2 });
});

test('hairpin: a pod reaches itself through its service, with the gateway as source', () => {
  const n = node().service('tcp 10.96.0.10:80', { endpoints: [`${A}:80`] });
  n.receive('a', `tcp ${A}:4000 > 10.96.0.10:80 S`);
  assert.equal(n.sent('a'), [`tcp 10.244.1.1:4000 > ${A}:80 S`]);
  n.receive('a', `tcp ${A}:80 > 10.244.1.1:4000 SA seq 5 ack 1`);
  assert.equal(n.sent('a'), [`tcp 10.96.0.10:80 > ${A}:4000 SA`]);
});

test('NodePort from outside: translated, masqueraded, and back', () => {
  const n = node().service('tcp 10.96.0.10:80', { endpoints: [`${B}:8080`], nodePort: 31418 });
  n.receive('host', 'tcp 172.18.0.1:5000 > 172.18.0.11:31418 S');
  assert.equal(n.sent('b'), [`tcp 10.244.1.1:5000 > ${B}:8080 S`]);
  n.receive('b', `tcp ${B}:8080 > 10.244.1.1:5000 SA seq 5 ack 1`);
  assert.equal(n.sent('host'), ['tcp 172.18.0.11:31418 > 172.18.0.1:5000 SA']);
});

test('NodePort on loopback: only from the node itself', () => {
  const n = node().service('tcp 10.96.0.10:80', { endpoints: [`${B}:8080`], nodePort: 31418 });
  n.receive('host', 'tcp 127.0.0.1:5000 > 127.0.0.1:31418 S');
  assert.equal(n.sent('b'), [`tcp 10.244.1.1:5000 > ${B}:8080 S`]);
  n.receive('b', `tcp ${B}:8080 > 10.244.1.1:5000 SA seq 5 ack 1`);
  assert.equal(n.sent('host'), ['tcp 127.0.0.1:31418 > 127.0.0.1:5000 SA']);
  n.receive('host', 'tcp 10.244.1.1:5001 > 127.0.0.1:31418 S');
  assert.equal(n.sent('b'), [`tcp 10.244.1.1:5001 > ${B}:8080 S`]);
  assert.is(n.receive('host', 'tcp 172.18.0.1:5000 > 127.0.0.1:31418 S'), 'loopback-from-network');
});

test('two nodes: a ClusterIP with an endpoint on the other, over the overlay', () => {
  const one = new TestNode({ number: 1 })
    .pod('a', A)
    .peer(2)
    .service('tcp 10.96.0.10:80', { endpoints: ['10.244.2.2:80'] });
  const two = new TestNode({ number: 2 }).pod('c', '10.244.2.2').peer(1);
  assert.is(one.receive('a', `tcp ${A}:4000 > 10.96.0.10:80 S`), 'encapsulated');
  exchange(one, two);
  assert.equal(two.sent('c'), [`tcp ${A}:4000 > 10.244.2.2:80 S`]);
  assert.is(two.receive('c', `tcp 10.244.2.2:80 > ${A}:4000 SA seq 5 ack 1`), 'encapsulated');
  exchange(one, two);
  assert.equal(one.sent('a'), [`tcp 10.96.0.10:80 > ${A}:4000 SA`]);
});

test('VXLAN from an unknown node, with a foreign inner source, or from a pod is dropped', () => {
  const n = node();
  const inner = `tcp 10.244.2.2:1 > ${A}:2 S`;
  assert.is(n.receive('host', `vxlan 172.18.0.99:50000 > 172.18.0.11:4789 vni 1 (${inner})`), 'vxlan-unknown-peer');
  assert.is(n.receive('host', `vxlan 172.18.0.12:50000 > 172.18.0.11:4789 vni 2 (${inner})`), 'vxlan-vni');
  assert.is(
    n.receive('host', `vxlan 172.18.0.12:50000 > 172.18.0.11:4789 vni 1 (tcp 10.244.3.2:1 > ${A}:2 S)`),
    'vxlan-inner-source',
  );
  assert.is(n.receive('a', `udp ${A}:50000 > 172.18.0.12:4789 len 60`), 'overlay-from-pod');
  assert.equal(n.out, []);
});

test('traceroute: the gateway reports that the TTL expired, and quotes the packet', () => {
  const n = node();
  assert.is(n.receive('a', `udp ${A}:4000 > 10.244.2.2:33434 len 12`, { ttl: 1 }), 'ttl-exceeded');
  assert.equal(n.sent('a'), [`icmp 10.244.1.1 > ${A} time-exceeded (udp ${A}:4000 > 10.244.2.2:33434)`]);
});

test('traceroute to the other node: its gateway answers over the overlay', () => {
  const one = new TestNode({ number: 1 }).pod('a', A).peer(2);
  const two = new TestNode({ number: 2 }).pod('c', '10.244.2.2').peer(1);
  one.receive('a', `udp ${A}:4000 > 10.244.2.2:33435 len 12`, { ttl: 2 });
  exchange(one, two);
  assert.equal(one.sent('a'), [`icmp 10.244.2.1 > ${A} time-exceeded (udp ${A}:4000 > 10.244.2.2:33435)`]);
});

test('without tunnel offload a super-packet crosses the overlay in valid segments', () => {
  const features = { tunnelOffload: false, udpSegmentation: false };
  const one = new TestNode({ number: 1, features }).pod('a', A).peer(2);
  const two = new TestNode({ number: 2 }).pod('c', '10.244.2.2').peer(1);
  one.receive('a', `tcp ${A}:4000 > 10.244.2.2:80 S seq 1`);
  exchange(one, two);
  two.receive('c', `tcp 10.244.2.2:80 > ${A}:4000 SA seq 9 ack 2`);
  exchange(one, two);
  two.sent('c');
  assert.is(
    one.receive('a', `tcp ${A}:4000 > 10.244.2.2:80 PA seq 2 ack 10 len 3500`, { partial: true, gsoSize: 1398 }),
    'encapsulated',
  );
  const segments = one.sentFrames('host');
  assert.equal(
    segments.map((sent) => [sent.gsoType, sent.needsChecksum]),
    [
      [0, 0],
      [0, 0],
      [0, 0],
    ],
  );
  one.out.push(...segments);
  exchange(one, two);
  assert.equal(
    two.sentFully('c').map((line) => line.replace(/ win \d+/, '')),
    [
      `tcp ${A}:4000 > 10.244.2.2:80 A seq 2 ack 10 len 1398`,
      `tcp ${A}:4000 > 10.244.2.2:80 A seq 1400 ack 10 len 1398`,
      `tcp ${A}:4000 > 10.244.2.2:80 PA seq 2798 ack 10 len 704`,
    ],
  );
});

test('a service without endpoints refuses: reset for TCP, port unreachable for UDP', () => {
  const n = node().service('tcp 10.96.0.10:80', { endpoints: [] }).service('udp 10.96.0.10:53', { endpoints: [] });
  assert.is(n.receive('a', `tcp ${A}:4000 > 10.96.0.10:80 S seq 7`), 'rejected-tcp-reset');
  assert.equal(
    n.sentFully('a').map((line) => line.replace(/ win.*/, '')),
    [`tcp 10.96.0.10:80 > ${A}:4000 RA seq 0 ack 8`],
  );
  assert.is(n.receive('a', `udp ${A}:4000 > 10.96.0.10:53 len 5`), 'rejected-port-unreachable');
  assert.equal(n.sent('a'), [`icmp 10.244.1.1 > ${A} unreachable port (udp ${A}:4000 > 10.96.0.10:53)`]);
  assert.is(n.receive('a', `tcp ${A}:4000 > 10.96.0.10:81 S`), 'rejected-tcp-reset');
  assert.is(n.receive('a', `tcp ${A}:4000 > 10.96.0.99:80 S`), 'no-such-service');
  assert.is(n.receive('a', `icmp ${A} > 10.96.0.10 echo-request id 1 seq 1`), 'ping-answered');
});

test('port policy "declared": other ports of the pod are refused and counted, for every client', () => {
  const n = new TestNode({ portPolicy: 'declared' })
    .pod('a', A)
    .pod('b', B, [{ protocol: 'TCP', port: 80 }])
    .service('tcp 10.96.0.10:5000', { endpoints: [`${B}:5000`] });
  assert.is(n.receive('a', `tcp ${A}:4000 > ${B}:80 S`, { dstMac: '0a:58:0a:f4:01:03' }), 'forwarded');
  assert.is(n.receive('a', `tcp ${A}:4001 > ${B}:5000 S`, { dstMac: '0a:58:0a:f4:01:03' }), 'port-not-declared');
  assert.is(n.receive('host', `tcp 10.244.1.1:4001 > ${B}:5000 S`), 'port-not-declared');
  assert.is(n.receive('a', `tcp ${A}:4002 > 10.96.0.10:5000 S`), 'port-not-declared');
  assert.is(n.receive('a', `icmp ${A} > ${B} echo-request id 1 seq 1`, { dstMac: '0a:58:0a:f4:01:03' }), 'forwarded');
});

test('port policy "declared": traceroute still sees the gateway, then the pod', () => {
  const n = new TestNode({ portPolicy: 'declared' }).pod('a', A).peer(2);
  const ask = (ttl: number): string =>
    n.receive('host', `vxlan 172.18.0.12:50000 > 172.18.0.11:4789 vni 1 (udp 10.244.2.2:5000 > ${A}:33436 len 12)`, {
      ttl,
    });
  assert.is(ask(1), 'ttl-exceeded');
  assert.match(n.sent('host')[0] ?? '', /icmp 10\.244\.1\.1 > 10\.244\.2\.2 time-exceeded/);
  assert.is(ask(2), 'port-not-declared');
  assert.match(n.sent('host')[0] ?? '', /icmp 10\.244\.1\.2 > 10\.244\.2\.2 unreachable port/);
});

test("a pod may not use another pod's address, nor loopback", () => {
  const n = node();
  assert.is(n.receive('a', `tcp ${B}:4000 > 10.244.2.2:80 S`, { srcMac: '0a:58:0a:f4:01:02' }), 'spoofed-source-ip');
  assert.is(n.receive('a', `tcp ${A}:4000 > 10.244.2.2:80 S`, { srcMac: '0a:58:0a:f4:01:03' }), 'spoofed-source-mac');
  assert.is(n.receive('a', `tcp 127.0.0.1:4000 > ${B}:80 S`, { srcMac: '0a:58:0a:f4:01:02' }), 'loopback-from-network');
  assert.equal(n.out, []);
});

test("a pod's address is accepted only from its port, or from its node through the overlay", () => {
  for (const overlay of ['vxlan', 'ipip', 'host-gw'] as const) {
    const n = new TestNode({ overlay }).pod('a', A).pod('b', B).peer(2);
    n.service('udp 10.96.0.10:53', { endpoints: [`${B}:53`], nodePort: 31053 });
    n.receive('a', `udp ${A}:4000 > ${B}:53 len 3`);
    n.sent('b');
    // Into an existing connection, to a NodePort, and with an unused address of the pod network as source.
    for (const text of [`${A}:4000 > ${B}:53`, `${A}:9 > 172.18.0.11:31053`, `10.244.9.9:9 > ${B}:53`]) {
      assert.is(n.receive('host', `udp ${text} len 3`), 'spoofed-source-ip', `${overlay}: ${text}`);
    }
    const direct = overlay === 'host-gw' ? 'forwarded' : 'spoofed-source-ip';
    assert.is(n.receive('host', `udp 10.244.2.2:9 > ${B}:53 len 3`), direct, overlay);
    assert.is(n.receive('host', `udp 10.244.1.1:9 > ${B}:53 len 3`), 'forwarded', 'the node itself');
  }
});

test("to the outside a pod is masqueraded with its node's address and the masquerade ports", () => {
  const n = node();
  assert.is(n.receive('a', `udp ${A}:40000 > 172.18.0.1:53 len 20`), 'to-host');
  assert.equal(n.sent('host'), ['udp 172.18.0.11:40000 > 172.18.0.1:53']);
  n.receive('host', 'udp 172.18.0.1:53 > 172.18.0.11:40000 len 20');
  assert.equal(n.sent('a'), [`udp 172.18.0.1:53 > ${A}:40000`]);
  n.receive('a', `udp ${A}:60000 > 172.18.0.1:53 len 20`);
  const [line = ''] = n.sent('host');
  const port = Number(/172\.18\.0\.11:(\d+)/.exec(line)?.[1]);
  assert.ok(port >= 32768 && port <= 49151, line);
});

test('ICMP errors about a translated connection: outer addresses and quote are translated back', () => {
  const n = node().service('udp 10.96.0.10:53', { endpoints: [`${B}:5353`] });
  n.receive('a', `udp ${A}:4000 > 10.96.0.10:53 len 5`);
  n.sent('b');
  assert.is(
    n.receive('b', `icmp ${B} > ${A} unreachable port (udp ${A}:4000 > ${B}:5353 len 5)`, {
      dstMac: '0a:58:0a:f4:01:02',
    }),
    'forwarded',
  );
  assert.equal(n.sent('a'), [`icmp 10.96.0.10 > ${A} unreachable port (udp ${A}:4000 > 10.96.0.10:53)`]);
});

test('too big for the overlay: the sender gets an error with the MTU', () => {
  const n = node();
  assert.is(n.receive('a', `udp ${A}:4000 > 10.244.2.2:53 len 1432`, { df: true }), 'fragmentation-needed');
  assert.match(n.sentFully('a')[0] ?? '', /fragmentation-needed mtu 1450/);
});

test('the endpoint of an established connection is removed: the next segment is answered with a reset', () => {
  const n = node().service('tcp 10.96.0.10:80', { endpoints: [`${B}:80`] });
  n.receive('a', `tcp ${A}:4000 > 10.96.0.10:80 S`);
  n.receive('b', `tcp ${B}:80 > ${A}:4000 SA seq 5 ack 1`, { dstMac: '0a:58:0a:f4:01:02' });
  n.receive('a', `tcp ${A}:4000 > 10.96.0.10:80 A seq 1 ack 6`);
  n.sent('a');
  n.sync.removePod('b');
  assert.is(n.receive('a', `tcp ${A}:4000 > 10.96.0.10:80 PA seq 1 ack 6 len 10`), 'endpoint-gone');
  assert.equal(n.sent('a'), [`tcp 10.96.0.10:80 > ${A}:4000 R`]);
});

test("echo requests and replies do not match each other's flows", () => {
  const n = node();
  n.receive('a', `icmp ${A} > ${B} echo-request id 9 seq 1`, { dstMac: '0a:58:0a:f4:01:03' });
  n.receive('b', `icmp ${B} > ${A} echo-reply id 9 seq 1`, { dstMac: '0a:58:0a:f4:01:02' });
  assert.is(n.flows, 1);
  n.receive('b', `icmp ${B} > ${A} echo-request id 9 seq 1`, { dstMac: '0a:58:0a:f4:01:02' });
  assert.is(n.flows, 2, 'a request with the same identifier is a connection of its own');
  assert.is(
    n.receive('b', `icmp ${B} > ${A} echo-reply id 10 seq 1`, { dstMac: '0a:58:0a:f4:01:02' }),
    'conntrack-invalid',
  );
});

test.run();
