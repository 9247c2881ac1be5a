/**
 * RFC 4787 (UDP through a NAT) as assertions, one test per requirement, and the checksums of datagrams. Where we follow
 * netfilter and not the RFC, the test says so and checks netfilter's behaviour, which users know from their clusters.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { timeoutsWith } from '../../native-free-dataplane/conntrack/timeouts.ts';
import { removeRecord } from '../../native-free-dataplane/conntrack/tuple-index.ts';
import { fragments } from '../lib/frames/frame-builder.ts';
import { frame, packet } from '../lib/frames/frame-text.ts';
import {
  A,
  B,
  entries,
  GATEWAY,
  HOST_MACS,
  isPacket,
  NODE,
  natNode,
  OTHER,
  onlySent,
  portsOf,
  ROUTER,
  SERVER,
  secondsLeft,
} from '../lib/nat-node.ts';
import type { TestNode } from '../lib/test-node.ts';

/** A pod's datagram to the outside; returns its external port. */
function ask(n: TestNode, pod: 'a' | 'b', port: number, to = `${SERVER}:53`): number {
  assert.is(n.receive(pod, `udp ${pod === 'a' ? A : B}:${port} > ${to} len 20`), 'to-host');
  return portsOf(onlySent(n, 'host'))[0];
}

/** Datagrams in both directions for longer than two seconds, so that the mapping is a stream, and assured. */
function answerAndGoOn(n: TestNode, port: number, outside: number): void {
  for (let i = 0; i < 2; i++) {
    n.receive('host', `udp ${SERVER}:53 > ${NODE}:${outside} len 9`);
    n.advance(1500);
    n.receive('a', `udp ${A}:${port} > ${SERVER}:53 len 20`);
  }
  n.out.length = 0;
}

test('RFC 4787 REQ-1: an internal socket has one external port for all destinations', () => {
  const n = natNode();
  assert.is(ask(n, 'a', 40000, `${SERVER}:53`), 40000);
  assert.is(ask(n, 'a', 40000, `${SERVER}:54`), 40000);
  assert.is(ask(n, 'a', 40000, `${OTHER}:53`), 40000);
  // A port that cannot be kept is replaced by the same port for every destination.
  const outside = ask(n, 'a', 5000, `${SERVER}:53`);
  for (let i = 0; i < 100; i++) assert.is(ask(n, 'a', 5000, `198.51.100.${i}:${1000 + i}`), outside);
});

test('RFC 4787 REQ-1: a port replaced because it was in use at one destination is the same at all others', () => {
  const n = natNode();
  ask(n, 'b', 40000, `${SERVER}:53`);
  const outside = ask(n, 'a', 40000, `${SERVER}:53`);
  assert.is.not(outside, 40000);
  assert.is(ask(n, 'a', 40000, `${OTHER}:53`), outside);
  assert.is(ask(n, 'a', 40000, `${SERVER}:54`), outside);
  // As in netfilter, it is replaced again only at a destination where it is in use.
  ask(n, 'b', outside, `${ROUTER}:53`);
  assert.is.not(ask(n, 'a', 40000, `${ROUTER}:53`), outside);
  // Once the socket's mappings have expired, its own port is kept again.
  n.advance(31_000);
  assert.is(ask(n, 'a', 40000, `${SERVER}:53`), 40000);
});

test('RFC 4787 REQ-1: mappings that were flushed while their sockets are open are recreated with the same ports', () => {
  const n = natNode();
  ask(n, 'b', 40000);
  const sockets = [40000, 5000, 700, 20001, 55001];
  const before = sockets.map((port) => ask(n, 'a', port));
  for (const { record } of entries(n)) removeRecord(n.conntrack, record);
  assert.is(n.flows, 0);
  assert.equal(
    sockets.map((port) => ask(n, 'a', port)),
    before,
  );
});

test('RFC 4787 REQ-2: all connections of a pod leave with one external address', () => {
  const n = natNode();
  for (let port = 40000; port < 40050; port++) {
    n.receive('a', `udp ${A}:${port} > ${SERVER}:53 len 20`);
    assert.match(n.sent('host')[0] ?? '', `udp ${NODE}:${port} > ${SERVER}:53`);
  }
});

test('RFC 4787 REQ-3: two pods with the same port and destination never share a mapping, and each gets its own replies', () => {
  const n = natNode();
  const [a, b] = [ask(n, 'a', 40000), ask(n, 'b', 40000)];
  assert.is(a, 40000);
  assert.is.not(a, b);
  for (const [pod, address, port] of [
    ['a', A, a],
    ['b', B, b],
  ] as const) {
    assert.is(n.receive('host', `udp ${SERVER}:53 > ${NODE}:${port} len 9`), 'forwarded');
    isPacket(onlySent(n, pod), `udp ${SERVER}:53 > ${address}:40000 len 9`);
  }
});

test('RFC 4787 REQ-3a: a port of 1..511, 512..1023 or above stays in its class (as netfilter; the RFC has two classes)', () => {
  for (const [port, low, high] of [
    [100, 1, 511],
    [700, 600, 1023],
    [5000, 1024, 65535],
  ] as const) {
    const n = natNode().service('udp 10.96.0.10:53', { endpoints: [`${B}:53`], nodePort: 31418 });
    n.receive('host', `udp ${SERVER}:${port} > ${NODE}:31418 len 5`);
    assert.is(portsOf(onlySent(n, 'b'))[0], port, 'kept while it is free');
    n.receive('host', `udp ${OTHER}:${port} > ${NODE}:31418 len 5`);
    const [other] = portsOf(onlySent(n, 'b'));
    assert.ok(other !== port && other >= low && other <= high, `${port} became ${other}`);
  }
});

test('RFC 4787 REQ-3, REQ-4: to the outside a port keeps its parity, and stays below 1024 if it was', () => {
  const n = natNode();
  for (const port of [1, 53, 512, 599, 1024, 5000, 5001, 32767, 49152, 65535]) {
    const got = ask(n, 'a', port);
    const [low, high] = port < 1024 ? [600, 1023] : [32768, 49151];
    assert.ok(got >= low && got <= high, `${port} became ${got}`);
    assert.is(got & 1, port & 1, `${port} became ${got}`);
  }
  for (const port of [600, 700, 999, 1023, 32768, 49151]) assert.is(ask(n, 'a', port), port);
  for (const port of [700, 1001]) {
    ask(n, 'a', port);
    const got = ask(n, 'b', port);
    assert.ok(got !== port && got >= 600 && got <= 1023, `${port} became ${got}`);
  }
});

test('RFC 4787 REQ-4: when all ports of one parity are in use, a port of the other parity is used', () => {
  const n = natNode({ masqueradePorts: [40000, 40003] });
  const clients = [5000, 5002, 5004, 5006].map((port) => {
    const got = ask(n, 'a', port);
    answerAndGoOn(n, port, got);
    return got;
  });
  assert.ok(clients.slice(0, 2).every((port) => (port & 1) === 0));
  assert.equal(clients.sort(), [40000, 40001, 40002, 40003]);
});

test('RFC 6335: port 0 is replaced by an unprivileged port', () => {
  const n = natNode();
  const got = ask(n, 'a', 0);
  assert.ok(got >= 32768 && got <= 49151, `0 became ${got}`);
});

test('RFC 4787 REQ-5 (differs, as netfilter): 30 s until a datagram is answered, two minutes once it is a stream', () => {
  const n = natNode();
  ask(n, 'a', 40000);
  assert.is(secondsLeft(n), 30);
  n.receive('host', `udp ${SERVER}:53 > ${NODE}:40000 len 9`);
  assert.is(secondsLeft(n), 30, 'a question and its answer are no stream');
  n.advance(3000);
  ask(n, 'a', 40000);
  assert.is(secondsLeft(n), 120);
  n.advance(119_900);
  assert.is(n.receive('host', `udp ${SERVER}:53 > ${NODE}:40000 len 9`), 'forwarded');
  n.advance(120_000);
  assert.is(n.receive('host', `udp ${SERVER}:53 > ${NODE}:40000 len 9`), 'to-host', 'no mapping: left to the kernel');
  n.sent('a');
});

test('RFC 4787 REQ-5: the operator can configure the RFC’s five minutes', () => {
  const n = natNode();
  n.conntrack.settings.set(timeoutsWith({ udp: 300, 'udp-stream': 300 }));
  ask(n, 'a', 40000);
  assert.is(secondsLeft(n), 300);
});

test('RFC 4787 REQ-6: packets from inside refresh a mapping; so do those from outside (as netfilter)', () => {
  const n = natNode();
  ask(n, 'a', 40000);
  for (const send of [
    () => ask(n, 'a', 40000),
    () => assert.is(n.receive('host', `udp ${SERVER}:53 > ${NODE}:40000 len 9`), 'forwarded'),
  ]) {
    n.advance(25_000);
    assert.is(secondsLeft(n), 5);
    send();
    assert.ok(secondsLeft(n) >= 30);
  }
});

test('RFC 4787 REQ-8: address- and port-dependent filtering: an unsolicited sender does not reach the pod', () => {
  const n = natNode();
  ask(n, 'a', 40000);
  for (const stranger of [`${OTHER}:53`, `${SERVER}:54`, `${OTHER}:9999`]) {
    assert.is(n.receive('host', `udp ${stranger} > ${NODE}:40000 len 9`), 'to-host', 'the node’s own to refuse');
  }
  assert.is(n.sentFrames('a').length, 0);
  assert.is(n.receive('host', `udp ${SERVER}:53 > ${NODE}:40000 len 9`), 'forwarded');
});

test('RFC 4787 REQ-9: hairpinning, and the other side sees the external address', () => {
  const n = natNode().service('udp 10.96.0.10:53', { endpoints: [`${A}:5353`], nodePort: 31418 });
  // A pod to itself, and another pod to it, both through the node's address; replies come from the address they used.
  for (const [pod, address] of [
    ['a', A],
    ['b', B],
  ] as const) {
    assert.is(n.receive(pod, `udp ${address}:4000 > ${NODE}:31418 len 20`), 'forwarded');
    const asked = onlySent(n, 'a');
    const [port] = portsOf(asked);
    isPacket(asked, `udp ${GATEWAY}:${port} > ${A}:5353 len 20`, { ttl: 63 });
    assert.is(n.receive('a', `udp ${A}:5353 > ${GATEWAY}:${port} len 30`), 'forwarded');
    isPacket(onlySent(n, pod), `udp ${NODE}:31418 > ${address}:4000 len 30`, { ttl: 63 });
  }
});

for (const [id, what, over, from, to, payload] of [
  [
    'RFC 4787 REQ-10',
    'SIP',
    'udp',
    5060,
    5060,
    `INVITE sip:b SIP/2.0\r\nContact: <sip:a@${A}:7070>\r\nm=audio 7072 RTP/AVP 0\r\n`,
  ],
  ['OVS 7c31be6d6, RFC 5382 REQ-6 (differs)', 'FTP', 'tcp', 5021, 21, 'PORT 10,244,1,2,27,158\r\n'],
  ['CVE-2020-28041', 'H.323', 'tcp', 1720, 1720, 'setup 10.244.1.2:7070'],
] as const) {
  test(`${id}: there is no application gateway: ${what} is forwarded unchanged and opens no port`, () => {
    const n = natNode();
    // An established connection, where there is one.
    const rest = over === 'tcp' ? ' PA' : '';
    n.receive('a', `${over} ${A}:${from} > ${SERVER}:${to}${rest}`, { payload });
    const sent = onlySent(n, 'host');
    const [port] = portsOf(sent);
    isPacket(sent, `${over} ${NODE}:${port} > ${SERVER}:${to}${rest}`, { payload });
    assert.is(n.flows, 1);
    for (const opened of [7070, 7072, 27 * 256 + 158]) {
      assert.is(n.receive('host', `udp ${SERVER}:${to} > ${NODE}:${opened} len 4`), 'to-host');
      assert.is(n.receive('host', `tcp ${SERVER}:20 > ${NODE}:${opened} S`), 'to-host');
    }
    assert.is(n.sentFrames('a').length, 0);
  });
}

test('RFC 4787 REQ-11: a pod’s mapping is deterministic while its port is free', () => {
  for (const seed of [1, 2, 3]) {
    const n = natNode({ seed });
    for (let port = 41000; port < 41100; port++) ask(n, 'b', port);
    assert.is(ask(n, 'a', 40000), 40000);
  }
});

test('RFC 4787 REQ-13: too big with DF: the sender gets the MTU; without DF: fragments, in order', () => {
  const n = natNode().service('udp 10.96.0.10:53', { endpoints: [`${B}:5353`] });
  assert.is(n.receive('a', `udp ${A}:4000 > 10.96.0.10:53 len 2000`, { df: true }), 'fragmentation-needed');
  const errors = n.sentFully('a');
  assert.is(errors.length, 1);
  assert.match(
    errors[0]!,
    `icmp ${GATEWAY} > ${A} unreachable fragmentation-needed mtu 1450 (udp ${A}:4000 > 10.96.0.10:53`,
  );
  assert.is(n.receive('a', `udp ${A}:4000 > 10.96.0.10:53 len 4000`, { df: false, id: 5 }), 'forwarded');
  const pieces = n.sentFrames('b').map(({ bytes }) => bytes);
  const whole = frame(`udp ${A}:4000 > ${B}:5353 len 4000`, { df: false, id: 5, ttl: 63 });
  assert.equal(
    pieces.map((piece) => Buffer.from(piece.subarray(14)).toString('hex')),
    fragments(whole, 1450).map((piece) => Buffer.from(piece.subarray(14)).toString('hex')),
  );
});

test('RFC 4787 REQ-14: fragments of a translated datagram, in every order', () => {
  const whole = frame(`udp ${SERVER}:5000 > ${NODE}:31418 len 4000`, { id: 7, df: false, ...HOST_MACS });
  const pieces = fragments(whole, 1450) as [Uint8Array, Uint8Array, Uint8Array];
  assert.is(pieces.length, 3);
  const wanted = fragments(frame(`udp ${GATEWAY}:5000 > ${B}:53 len 4000`, { id: 7, df: false }), 1450)
    .map((piece) => Buffer.from(piece.subarray(14)).toString('hex'))
    .sort();
  for (const order of [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
  ]) {
    const n = natNode().service('udp 10.96.0.10:53', { endpoints: [`${B}:53`], nodePort: 31418 });
    for (const which of order) n.receiveBytes('host', pieces[which]!);
    const got = n.sentFrames('b').map(({ bytes }) => Buffer.from(bytes.subarray(14)).toString('hex'));
    assert.equal(got.sort(), wanted, order.join(' '));
    assert.is(n.flows, 1);
  }
});

test('RFC 768 through a translation: an absent checksum stays absent, a computed zero is written as all ones', () => {
  const n = natNode();
  const build = (address: string, payload: Uint8Array): Uint8Array =>
    packet(`udp ${address}:40000 > ${SERVER}:53`, { payload });
  const sum = (bytes: Uint8Array): number => new DataView(bytes.buffer).getUint16(26);
  const plain = sum(build(NODE, new Uint8Array(2)));
  const payload = Uint8Array.of(plain >> 8, plain & 0xff);
  assert.is(sum(build(NODE, payload)), 0xffff, 'computed as zero');
  for (const udpChecksum of [true, false]) {
    n.receive('a', `udp ${A}:40000 > ${SERVER}:53`, { payload, udpChecksum });
    isPacket(onlySent(n, 'host'), `udp ${NODE}:40000 > ${SERVER}:53`, { payload, udpChecksum });
  }
  n.receive('a', `udp ${A}:40000 > ${SERVER}:53`, { payload, partial: true });
  const pending = onlySent(n, 'host');
  assert.is(pending.needsChecksum, 1);
  isPacket(pending, `udp ${NODE}:40000 > ${SERVER}:53`, { payload, partial: true });
});

test('RFC 3022 §4.1: translation is correct for every checksum value from 0 to ffff', () => {
  const n = natNode();
  for (let word = 0; word <= 0xffff; word += 0x111) {
    const payload = Uint8Array.of(word >> 8, word & 0xff, 0xab);
    n.receive('a', `udp ${A}:40000 > ${SERVER}:53`, { payload });
    isPacket(onlySent(n, 'host'), `udp ${NODE}:40000 > ${SERVER}:53`, { payload });
    n.receive('host', `udp ${SERVER}:53 > ${NODE}:40000`, { payload });
    isPacket(onlySent(n, 'a'), `udp ${SERVER}:53 > ${A}:40000`, { payload });
  }
});

test.run();
