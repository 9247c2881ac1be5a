/** Trains: super-packets between nodes whose kernels accept UDP super-packets, but not those of tunnels. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { OVERLAYS } from '../../native-free-dataplane/overlay/modes.ts';
import { GSO_NONE, GSO_TCPV4, GSO_UDP_L4 } from '../../native-free-dataplane/packet.ts';
import { segmentsOfTrain } from '../../native-free-dataplane/train.ts';
import { writeIpv4Checksum } from '../../native-free-dataplane/wire/ipv4.ts';
import { writeTcpFlags } from '../../native-free-dataplane/wire/tcp.ts';
import { transportChecksum } from '../../native-free-dataplane/wire/transport-checksum.ts';
import { macOf } from '../../src/net/pod-network.ts';
import { frame } from '../lib/frames/frame-text.ts';
import { seededRandom } from '../lib/seeded-random.ts';
import { exchange, type Sent, TestNode } from '../lib/test-node.ts';

const A = '10.244.1.2';
const B = '10.244.2.2';
const OLD_KERNEL = { tunnelOffload: false, udpSegmentation: true };
/** Ethernet, IPv4 and UDP in front of a train's parts; VXLAN and inner Ethernet in front of each inner packet. */
const OUTER = 42;
const TUNNEL = 22;
/** Inner IPv4 and TCP headers without options. */
const HEADERS = 40;

interface Pair {
  n1: TestNode;
  n2: TestNode;
}

/** Two nodes with a connection from a on n1 to b on n2. */
function connected(features = OLD_KERNEL): Pair {
  const n1 = new TestNode({ features }).pod('a', A).peer(2);
  const n2 = new TestNode({ number: 2, features }).pod('b', B).peer(1);
  n1.receive('a', `tcp ${A}:4000 > ${B}:80 S seq 0`);
  exchange(n1, n2);
  n2.receive('b', `tcp ${B}:80 > ${A}:4000 SA seq 0 ack 1`);
  exchange(n1, n2);
  n1.receive('a', `tcp ${A}:4000 > ${B}:80 A seq 1 ack 1`);
  exchange(n1, n2);
  n2.receive('b', `tcp ${B}:80 > ${A}:4000 PA seq 1 ack 1 len 10`);
  exchange(n1, n2);
  for (const [node, pod] of [
    [n1, 'a'],
    [n2, 'b'],
  ] as const) {
    node.sentFrames(pod);
    node.countersMoved();
  }
  return { n1, n2 };
}

/** Pod a sends `bytes` in a super-packet; what n1 gives its kernel. */
function sendBulk(n1: TestNode, bytes: number, gsoSize: number, seq = 1): Sent[] {
  n1.receive('a', `tcp ${A}:4000 > ${B}:80 PA seq ${seq} ack 1 len ${bytes}`, { gsoSize });
  return n1.sentFrames('host');
}

/** The frame arrives at the other node's dp0. */
function arrive(node: TestNode, { bytes, gsoType, gsoSize }: Pick<Sent, 'bytes' | 'gsoType' | 'gsoSize'>): string {
  const mac = macOf(node.gateway).split(':');
  bytes.set(
    mac.map((byte) => Number.parseInt(byte, 16)),
    0,
  );
  return node.receiveBytes('host', bytes, gsoType === GSO_UDP_L4 ? { gsoSize } : {});
}

const viewOf = ({ bytes }: Pick<Sent, 'bytes'>) => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);

/** The UDP payload of each part. */
function partsOf({ bytes, gsoSize }: Sent): Uint8Array[] {
  const parts = [];
  for (let at = OUTER; at < bytes.length; at += gsoSize) parts.push(bytes.subarray(at, at + gsoSize));
  return parts;
}

/** Change part `index` of a train, and make its inner checksums right again. */
function changePart(train: Sent, index: number, change: (view: DataView, l3: number, l4: number) => void): void {
  const view = viewOf(train);
  const part = OUTER + index * train.gsoSize;
  const l3 = part + TUNNEL;
  const l4 = l3 + 20;
  change(view, l3, l4);
  writeIpv4Checksum(view, l3, 20);
  view.setUint16(l4 + 16, 0);
  view.setUint16(l4 + 16, transportChecksum(view, l3, l4, Math.min(part + train.gsoSize, train.bytes.length), 6));
}

test('a super-packet leaves as one UDP super-packet, and arrives at the pod as it was sent', () => {
  const { n1, n2 } = connected();
  const [train, ...more] = sendBulk(n1, 10_000, 1400);
  assert.equal(more, []);
  assert.is(train!.gsoType, GSO_UDP_L4);
  assert.is(train!.gsoSize, TUNNEL + HEADERS + 1400);
  assert.is(partsOf(train!).length, 8);
  assert.is(arrive(n2, train!), 'forwarded');
  const [received, ...others] = n2.sentFrames('b');
  assert.equal(others, []);
  assert.is(received!.gsoType, GSO_TCPV4);
  assert.is(received!.gsoSize, 1400);
  const sent = frame(`tcp ${A}:4000 > ${B}:80 PA seq 1 ack 1 len 10000`);
  assert.equal(received!.bytes.subarray(14 + HEADERS), sent.subarray(14 + HEADERS), 'the payload');
  const [before, after] = [sent, received!.bytes].map((bytes) => new DataView(bytes.buffer, bytes.byteOffset + 34, 16));
  for (let at = 0; at < 16; at++) assert.is(after!.getUint8(at), before!.getUint8(at), `byte ${at} of the TCP header`);
  assert.equal(n2.countersMoved(), { forwarded: 1 });
});

test('its parts are the very packets that are sent one by one to a kernel without UDP segmentation', () => {
  const [train] = sendBulk(connected().n1, 7001, 1400);
  const single = sendBulk(connected({ tunnelOffload: false, udpSegmentation: false }).n1, 7001, 1400);
  assert.equal(
    partsOf(train!),
    single.map(({ bytes }) => bytes.subarray(OUTER)),
  );
});

test('a full super-packet needs two trains, because an IPv4 packet has at most 65,535 bytes', () => {
  const { n1, n2 } = connected();
  const trains = sendBulk(n1, 64_400, 1400);
  assert.equal(
    trains.map((train) => partsOf(train).length),
    [44, 2],
  );
  for (const train of trains) {
    assert.ok(train.bytes.length - 14 <= 65_535);
    arrive(n2, train);
  }
  const received = n2.sentFrames('b').map(({ bytes }) => bytes.length - 14 - HEADERS);
  assert.equal(received, [44 * 1400, 2 * 1400]);
});

test("the limit of pods' devices: so many segments leave in one train, one more in two", () => {
  for (const mtu of [576, 1000, 1450]) {
    const most = segmentsOfTrain(mtu, OVERLAYS.vxlan.overheadBytes);
    const payload = mtu - HEADERS;
    const { n1 } = connected();
    const parts = (segments: number, seq: number): number[] =>
      sendBulk(n1, segments * payload, payload, seq).map((train) => partsOf(train).length);
    assert.equal(parts(most, 1), [most], `MTU ${mtu}`);
    assert.equal(parts(most + 1, 1 + most * payload), [most, 1], `MTU ${mtu}`);
  }
  assert.is(segmentsOfTrain(1450, 50), 44);
  assert.is(segmentsOfTrain(8950, 50), 7);
});

test('a train has at most 64 parts, more are refused by kernels before 6.9', () => {
  const trains = sendBulk(connected().n1, 20_000, 200);
  assert.equal(
    trains.map((train) => partsOf(train).length),
    [64, 36],
  );
});

test('a single segment is not a train', () => {
  const [only] = sendBulk(connected().n1, 900, 1400);
  assert.is(only!.gsoType, GSO_NONE);
  assert.is(only!.needsChecksum, 0);
});

test('datagrams of a UDP super-packet arrive one by one', () => {
  const { n1, n2 } = connected();
  n1.receive('a', `udp ${A}:5000 > ${B}:53 len 3000`, { gsoSize: 1200 });
  const [train] = n1.sentFrames('host');
  assert.is(partsOf(train!).length, 3);
  arrive(n2, train!);
  assert.equal(
    n2.sentFrames('b').map(({ bytes }) => bytes.length - OUTER),
    [1200, 1200, 600],
  );
});

test('only segments that continue each other are merged', () => {
  const cases: Record<string, [(train: Sent) => void, number[]]> = {
    'as sent': [() => {}, [5600]],
    'a gap in the sequence': [
      (train) => changePart(train, 2, (view, _, l4) => view.setUint32(l4 + 4, 99_999)),
      [2800, 1400, 1400],
    ],
    'a segment with PSH is the last': [
      (train) => changePart(train, 1, (view, _, l4) => writeTcpFlags(view, l4, 0x18)),
      [2800, 2800],
    ],
    'another acknowledgment': [
      (train) => changePart(train, 3, (view, _, l4) => view.setUint32(l4 + 8, 2)),
      [4200, 1400],
    ],
    'another window': [(train) => changePart(train, 3, (view, _, l4) => view.setUint16(l4 + 14, 77)), [4200, 1400]],
    'another type of service': [
      (train) => changePart(train, 1, (view, l3) => view.setUint8(l3 + 1, 8)),
      [1400, 1400, 2800],
    ],
    'another TTL': [(train) => changePart(train, 1, (view, l3) => view.setUint8(l3 + 8, 9)), [1400, 1400, 2800]],
  };
  for (const [what, [change, sizes]] of Object.entries(cases)) {
    const { n1, n2 } = connected();
    const [train] = sendBulk(n1, 5600, 1400);
    change(train!);
    arrive(n2, train!);
    const received = n2.sentFrames('b').map(({ bytes }) => bytes.length - 14 - HEADERS);
    assert.equal(received, sizes, what);
  }
});

test('a segment with a wrong checksum gets no right one', () => {
  const { n1, n2 } = connected();
  const [train] = sendBulk(n1, 4200, 1400);
  const view = viewOf(train!);
  const at = OUTER + train!.gsoSize + TUNNEL + HEADERS + 7;
  view.setUint8(at, view.getUint8(at) ^ 1);
  arrive(n2, train!);
  const received = n2.sentFrames('b');
  const wrong = received.filter((sent) => {
    const l3 = 14;
    return sent.needsChecksum === 0 && transportChecksum(viewOf(sent), l3, l3 + 20, sent.bytes.length, 6) !== 0;
  });
  assert.equal(
    received.map(({ bytes }) => bytes.length - 14 - HEADERS),
    [1400, 1400, 1400],
  );
  assert.is(wrong.length, 1);
});

test('each part is checked as a packet that arrives alone', () => {
  const { n1, n2 } = connected();
  const [train] = sendBulk(n1, 5600, 1400);
  const view = viewOf(train!);
  // VXLAN flags, the network identifier, and an inner source that is not a pod of n1.
  view.setUint8(OUTER, 0);
  view.setUint8(OUTER + train!.gsoSize + 6, 9);
  changePart(train!, 2, (bytes, l3) => bytes.setUint8(l3 + 14, 3));
  arrive(n2, train!);
  assert.equal(n2.countersMoved(), { 'vxlan-flags': 1, 'vxlan-vni': 1, 'vxlan-inner-source': 1, forwarded: 1 });
  assert.is(n2.sentFrames('b').length, 1);
});

test('a train of too many parts, or of none, is dropped as a whole', () => {
  const { n1, n2 } = connected();
  const [train] = sendBulk(n1, 5600, 1400);
  assert.is(arrive(n2, { ...train!, gsoSize: 1 }), 'offload-invalid');
  assert.is(arrive(n2, { ...train!, bytes: train!.bytes.slice(0, OUTER), gsoSize: 100 }), 'ipv4-total-length');
  assert.equal(n2.countersMoved(), { 'offload-invalid': 1, 'ipv4-total-length': 1 });
  assert.equal(n2.out, []);
});

test('UDP super-packets for others than the overlay are no trains', () => {
  const { n2 } = connected();
  n2.receive('host', 'udp 172.18.0.1:4789 > 172.18.0.12:5000 len 3000', { gsoSize: 1000 });
  assert.equal(n2.countersMoved(), { 'to-host': 1 });
});

test('whatever a train holds, every part is counted once and nothing outside of it is sent', () => {
  const random = seededRandom(20);
  const { n1, n2 } = connected();
  for (let round = 0; round < 300; round++) {
    const [train] = sendBulk(n1, 3000 + random.below(6000), 600 + random.below(800));
    const bytes = train!.bytes;
    for (let k = 0; k < 4; k++) bytes[OUTER + random.below(bytes.length - OUTER)] = random.word();
    const gsoSize = random.below(2) === 0 ? train!.gsoSize : 60 + random.below(2000);
    n2.countersMoved();
    arrive(n2, { ...train!, gsoSize });
    const counted = Object.values(n2.countersMoved()).reduce((sum, n) => sum + n, 0);
    const parts = Math.ceil((bytes.length - OUTER) / gsoSize);
    assert.ok(counted >= 1 && counted <= parts, `round ${round}: ${counted} of ${parts}`);
    const out = n2.out.reduce((sum, sent) => sum + sent.bytes.length, 0);
    assert.ok(out <= bytes.length + parts * 100, `round ${round}: ${out} bytes sent`);
    n2.out.length = 0;
  }
});

test.run();
