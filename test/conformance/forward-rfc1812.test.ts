/**
 * RFC 1812, requirements for IPv4 routers, as far as they apply: what is forwarded, what is dropped, who gets an error.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { repairChecksums, repairHeaderChecksum } from '../lib/frames/frame-residue.ts';
import { frame } from '../lib/frames/frame-text.ts';
import { A, B, GATEWAY, isPacket, NODE, natNode, onlySent, SERVER } from '../lib/nat-node.ts';

const FROM_A = { srcMac: '0a:58:0a:f4:01:02', dstMac: '0a:58:0a:f4:01:01' };
const text = `udp ${A}:4000 > ${B}:53 len 20`;

/** A frame of pod a with its IPv4 header changed; the header checksum is right unless specified otherwise. */
function spoilt(change: (view: DataView) => void, checksum = true): Uint8Array {
  const bytes = frame(text, FROM_A);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  change(view);
  if (checksum) repairHeaderChecksum(view, 14);
  return bytes;
}

for (const [rule, bytes, verdict] of [
  ['(1) fewer than 20 bytes by the link layer', spoilt(() => {}).subarray(0, 14 + 19), 'ipv4-truncated'],
  ['(2) the header checksum', spoilt((view) => view.setUint16(24, view.getUint16(24) ^ 1), false), 'ipv4-checksum'],
  ['(3) the version is not 4', spoilt((view) => view.setUint8(14, 0x55)), 'ipv4-version'],
  ['(4) the header length is below 5', spoilt((view) => view.setUint8(14, 0x44)), 'ipv4-header-length'],
  ['(4) the header is longer than the frame', spoilt((view) => view.setUint8(14, 0x4f)), 'ipv4-header-length'],
  ['(5) the total length is below the header’s', spoilt((view) => view.setUint16(16, 19)), 'ipv4-total-length'],
  ['(5) the total length is beyond the frame', spoilt((view) => view.setUint16(16, 49)), 'ipv4-total-length'],
] as const) {
  test(`RFC 1812 §5.2.2 ${rule}: dropped, silently`, () => {
    const n = natNode();
    assert.is(n.receiveBytes('a', bytes), verdict);
    assert.equal(n.out, []);
    assert.equal(n.countersMoved(), { [verdict]: 1 });
  });
}

test('RFC 1812 §5.2.2, CVE-2020-35498, OVS 79349cbab: bytes after the packet are not part of it, however many', () => {
  const bytes = frame(text, FROM_A);
  for (const more of [1, 12, 1200]) {
    const n = natNode();
    const padded = new Uint8Array(bytes.length + more).fill(0xee);
    padded.set(bytes);
    assert.is(n.receiveBytes('a', padded), 'forwarded');
    isPacket(onlySent(n, 'b'), text, { ttl: 63 });
  }
});

test('RFC 1812 §5.3.1: a packet with TTL 0 or 1 is not forwarded and its sender gets an error; other TTLs are decremented', () => {
  for (const ttl of [0, 1]) {
    const n = natNode();
    assert.is(n.receive('a', text, { ttl }), 'ttl-exceeded');
    isPacket(onlySent(n, 'a'), `icmp ${GATEWAY} > ${A} time-exceeded (${text})`, { quoted: { ttl }, id: 7 });
    assert.equal(n.out, []);
    assert.is(n.flows, 0);
  }
  for (const ttl of [2, 64, 128, 255]) {
    const n = natNode();
    assert.is(n.receive('a', text, { ttl }), 'forwarded');
    isPacket(onlySent(n, 'b'), text, { ttl: ttl - 1 });
  }
});

test('RFC 1812 §5.3.1: a packet for the node itself is delivered, whatever its TTL', () => {
  const n = natNode();
  for (const ttl of [1, 64]) {
    assert.is(n.receive('a', `tcp ${A}:4000 > ${NODE}:22 S`, { ttl }), 'to-host');
    isPacket(onlySent(n, 'host'), `tcp ${A}:4000 > ${NODE}:22 S`, { ttl });
    assert.is(n.receive('a', `icmp ${A} > ${GATEWAY} echo-request id 7 seq 1`, { ttl }), 'ping-answered');
    isPacket(onlySent(n, 'a'), `icmp ${GATEWAY} > ${A} echo-reply id 7 seq 1`);
  }
});

test('RFC 1812 §5.3.4: a packet received as a link-layer broadcast or multicast is not forwarded', () => {
  const n = natNode();
  for (const dstMac of ['ff:ff:ff:ff:ff:ff', '01:00:5e:00:00:01', '33:33:00:00:00:01']) {
    assert.is(n.receive('a', text, { dstMac }), 'multicast');
    assert.is(n.receive('host', `udp ${SERVER}:4000 > ${B}:53 len 20`, { dstMac }), 'multicast');
  }
  assert.equal(n.out, []);
});

test('RFC 1812 §5.3.7: martians are dropped, silently, from either side', () => {
  const n = natNode();
  for (const [source, verdict] of [
    ['0.0.0.0', 'ipv4-martian-source'],
    ['0.1.2.3', 'ipv4-martian-source'],
    ['127.0.0.1', 'loopback-from-network'],
    ['224.0.0.1', 'ipv4-martian-source'],
    ['240.0.0.1', 'ipv4-martian-source'],
    ['255.255.255.255', 'ipv4-martian-source'],
  ] as const) {
    assert.is(n.receive('host', `udp ${source}:4000 > ${B}:53 len 20`), verdict, source);
    const inner = `udp ${source}:4000 > ${B}:53 len 20`;
    const tunnelled = n.receive('host', `vxlan 172.18.0.12:50000 > ${NODE}:4789 vni 1 (${inner})`);
    assert.ok(['vxlan-inner-source', verdict].includes(tunnelled), `${source}: ${tunnelled}`);
    const fromPod = n.receive('a', inner, FROM_A);
    assert.ok(['spoofed-source-ip', verdict].includes(fromPod), `${source}: ${fromPod}`);
  }
  for (const [destination, verdict] of [
    ['0.0.0.0', 'ipv4-martian-destination'],
    ['127.0.0.1', 'loopback-from-network'],
    ['224.0.0.251', 'multicast'],
    ['240.0.0.1', 'ipv4-martian-destination'],
    ['255.255.255.255', 'multicast'],
  ] as const) {
    assert.is(n.receive('a', `udp ${A}:4000 > ${destination}:53 len 20`), verdict, destination);
    assert.is(n.receive('host', `udp ${SERVER}:4000 > ${destination}:53 len 20`), verdict, destination);
  }
  assert.equal(n.out, []);
  assert.is(n.flows, 0);
});

test('RFC 1812 §5.2.7.2, RFC 7126 §4.3: redirects and source routes are ignored', () => {
  const n = natNode();
  for (const kind of [131, 137]) {
    const ipOptions = Uint8Array.of(kind, 7, 4, 10, 244, 1, 3, 0);
    assert.is(n.receive('a', text, { ipOptions }), 'ipv4-source-route');
  }
  assert.equal(n.out, []);
  // Other options are forwarded unchanged.
  const ipOptions = Uint8Array.of(7, 7, 4, 0, 0, 0, 0, 0);
  assert.is(n.receive('a', text, { ipOptions }), 'forwarded');
  isPacket(onlySent(n, 'b'), text, { ttl: 63, ipOptions });
});

test('RFC 1812 §4.3.2.7: no error about an error, a later fragment, a reset of a reset, or a group', () => {
  const n = natNode();
  n.receive('a', text);
  n.sent('b');
  for (const [pod, packet] of [
    ['b', `icmp ${B} > ${A} unreachable port (${text})`],
    ['a', `icmp ${A} > 10.244.2.9 echo-reply id 1 seq 1`],
    ['a', `udp ${A} > 10.244.2.9 len 64 frag id 9 offset 64`],
    ['a', `udp ${A}:4000 > 224.0.0.9:53 len 20`],
  ] as const) {
    n.receive(pod, packet, { ttl: 1 });
    assert.equal(n.out, [], packet);
  }
  // Later fragments whose first was seen: only the first causes an error.
  assert.is(n.receive('a', `udp ${A}:4000 > ${B}:53 len 64 frag id 8 offset 0 more`), 'forwarded');
  n.sent('b');
  assert.is(n.receive('a', `udp ${A} > ${B} len 64 frag id 8 offset 72`, { ttl: 1 }), 'ttl-exceeded-silent');
  assert.equal(n.out, []);
  // A reset to a service that refuses connections.
  n.service('tcp 10.96.0.10:80', { endpoints: [] });
  assert.is(n.receive('a', `tcp ${A}:4000 > 10.96.0.10:80 R`), 'no-endpoint-silent');
  assert.equal(n.out, []);
});

test('RFC 1812 §4.3.2.8: errors are rate-limited: a burst of 200, a thousand per second; the rest is not sent but counted', () => {
  const n = natNode();
  n.advance(1000);
  for (let i = 0; i < 1000; i++) n.receive('a', text, { ttl: 1 });
  assert.equal(n.countersMoved(), { 'ttl-exceeded': 200, 'ttl-exceeded-silent': 800 });
  assert.is(n.sentFrames('a').length, 200);
  for (let ms = 0; ms < 1000; ms++) {
    n.nowMs++;
    for (let i = 0; i < 3; i++) n.receive('a', text, { ttl: 1 });
  }
  assert.equal(n.countersMoved(), { 'ttl-exceeded': 1000, 'ttl-exceeded-silent': 2000 });
});

test('RFC 1812 §4.3.2.3: an error quotes as much as fits into 576 bytes', () => {
  const n = natNode();
  for (const [length, quoted] of [
    [0, 28],
    [20, 48],
    [520, 548],
    [521, 548],
    [1400, 548],
  ] as const) {
    n.receive('a', `udp ${A}:4000 > ${B}:53 len ${length}`, { ttl: 1 });
    const { bytes } = onlySent(n, 'a');
    assert.is(bytes.length, 14 + 28 + quoted);
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const before = [view.getUint16(24), view.getUint16(36)];
    repairChecksums(view, 14, bytes.length, true, false);
    assert.equal([view.getUint16(24), view.getUint16(36)], before, 'both checksums were right');
  }
});

test('RFC 1812 §5.3.9, RFC 1812 §4.3.2.4: an error’s source is the address of the side it is sent to', () => {
  const n = natNode().service('udp 10.96.0.10:53', { endpoints: [], nodePort: 31418 });
  n.receive('a', text, { ttl: 1 });
  assert.match(n.sent('a')[0] ?? '', `icmp ${GATEWAY} > ${A} time-exceeded`);
  n.receive('host', `udp ${SERVER}:4000 > ${NODE}:31418 len 20`);
  assert.match(n.sent('host')[0] ?? '', `icmp ${NODE} > ${SERVER} unreachable port`);
});

test('RFC 1812 §4.3.3.1: a packet without a route is answered with host unreachable', () => {
  const n = natNode();
  assert.is(n.receive('a', `udp ${A}:4000 > 10.244.9.9:53 len 20`), 'no-route-answered');
  assert.equal(n.sent('a'), [`icmp ${GATEWAY} > ${A} unreachable host (udp ${A}:4000 > 10.244.9.9:53)`]);
});

test.run();
