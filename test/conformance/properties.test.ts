/**
 * What holds for every packet: translated and translated back it is what it was, byte for byte; the counters account
 * for every frame; the connection table loses no record. Seeds are fixed.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { StateWord } from '../../native-free-dataplane/tables/conntrack.ts';
import { portTotals, verdictTotal } from '../../native-free-dataplane/tables/counters.ts';
import { MAX_VERDICTS, VERDICT_TEXTS } from '../../native-free-dataplane/verdicts.ts';
import { macOf } from '../../src/agent/node-sync.ts';
import { conntrackFaults } from '../lib/conntrack-check.ts';
import { concat, ethernetFrame, type FrameOptions, fragments, viewOf } from '../lib/frame-builder.ts';
import { ipv4HeaderIsRight, repairChecksums, residueOf } from '../lib/frame-residue.ts';
import { packet } from '../lib/frame-text.ts';
import { type Random, seededRandom } from '../lib/seeded-random.ts';
import { TestNode } from '../lib/test-node.ts';
import { crc32c, finishSctp, transportAt, turnRound, withTtl } from '../lib/turn-round.ts';

const A = '10.244.1.2';
const B = '10.244.1.3';
const OUTSIDE = '198.51.100.7';
const GATEWAY_MAC = macOf('10.244.1.1');

/** A way through the node: who asks what, where it comes out, and what was translated on the way. */
interface Way {
  name: string;
  from: string;
  to: string;
  src: string;
  srcPort: number;
  dst: string;
  dstPort: number;
}

const WAYS: readonly Way[] = [
  { name: 'not at all', from: 'a', to: 'b', src: A, srcPort: 4000, dst: B, dstPort: 8080 },
  { name: 'destination (ClusterIP)', from: 'a', to: 'b', src: A, srcPort: 4000, dst: '10.96.0.10', dstPort: 80 },
  { name: 'both (NodePort)', from: 'host', to: 'b', src: OUTSIDE, srcPort: 5000, dst: '172.18.0.11', dstPort: 31418 },
  { name: 'both (hairpin)', from: 'a', to: 'a', src: A, srcPort: 4000, dst: '10.96.0.20', dstPort: 80 },
  { name: 'source, port kept', from: 'a', to: 'host', src: A, srcPort: 40000, dst: OUTSIDE, dstPort: 53 },
  { name: 'source and port', from: 'a', to: 'host', src: A, srcPort: 60000, dst: OUTSIDE, dstPort: 53 },
];

function nodeFor(): TestNode {
  const node = new TestNode().pod('a', A).pod('b', B);
  for (const protocol of ['tcp', 'udp', 'sctp']) {
    const endpoints = [`${B}:8080`];
    node.service(`${protocol} 10.96.0.10:80`, { endpoints, nodePort: 31418, name: `${protocol}-web` });
    node.service(`${protocol} 10.96.0.20:80`, { endpoints: [`${A}:80`], name: `${protocol}-self` });
  }
  return node;
}

const ETHERNET: Readonly<Record<string, Uint8Array>> = {
  a: ethernetFrame(macOf(A), GATEWAY_MAC, 0x0800, new Uint8Array(0)),
  b: ethernetFrame(macOf(B), GATEWAY_MAC, 0x0800, new Uint8Array(0)),
  host: ethernetFrame('02:00:00:00:00:09', GATEWAY_MAC, 0x0800, new Uint8Array(0)),
};

/** Hand the node an IPv4 packet at a port, and take what comes out at another. */
function pass(node: TestNode, from: string, bytes: Uint8Array, to: string): Uint8Array {
  const verdict = node.receiveBytes(from, concat(ETHERNET[from]!, bytes));
  const out = node.sentFrames(to);
  if (out.length !== 1) throw new Error(`${verdict}: ${out.length} frames out at ${to}`);
  const sent = out[0]!.bytes.subarray(14);
  if (!ipv4HeaderIsRight(viewOf(sent), 0)) throw new Error('a wrong IPv4 checksum');
  return sent;
}

/** There and back: what comes back is what went in, turned round. Returns what was seen on the far side. */
function thereAndBack(node: TestNode, way: Way, bytes: Uint8Array): Uint8Array {
  const out = pass(node, way.from, bytes, way.to);
  const back = pass(node, way.to, withTtl(turnRound(out), 64), way.from);
  const expected = withTtl(bytes, 64);
  const got = withTtl(turnRound(back), 64);
  if (!Buffer.from(got).equals(expected)) {
    const hex = (data: Uint8Array): string => Buffer.from(data).toString('hex');
    throw new Error(`${way.name}: not what it was\n in   ${hex(expected)}\n there ${hex(out)}\n back ${hex(got)}`);
  }
  return out;
}

const ODD_OPTIONS = Uint8Array.of(7, 7, 4, 0, 0, 0, 0, 0);

function textOf(protocol: string, way: Way, bytes: number): string {
  const { src, srcPort, dst, dstPort } = way;
  if (protocol === 'tcp') return `tcp ${src}:${srcPort} > ${dst}:${dstPort} PA seq 7 ack 9 len ${bytes}`;
  return `${protocol} ${src}:${srcPort} > ${dst}:${dstPort} len ${bytes}`;
}

for (const way of WAYS) {
  test(`translated ${way.name} and back: TCP, UDP and SCTP, any length, any id, IP options, no UDP checksum`, () => {
    const node = nodeFor();
    const random = seededRandom(20240701);
    for (let i = 0; i < 1200; i++) {
      const protocol = ['tcp', 'udp', 'sctp'][i % 3]!;
      const options: FrameOptions = {
        id: random.below(65536),
        df: random.below(2) === 0,
        ttl: 2 + random.below(254),
        udpChecksum: random.below(4) !== 0,
        ...(random.below(3) === 0 ? { ipOptions: ODD_OPTIONS } : {}),
      };
      const bytes = packet(textOf(protocol, way, 4 * random.below(300) + random.below(4)), options);
      const l4 = transportAt(bytes);
      const payloadAt = l4 + (protocol === 'tcp' ? 20 : protocol === 'udp' ? 8 : 12);
      for (let at = payloadAt; at < bytes.length; at++) bytes[at] = random.word();
      repairChecksums(viewOf(bytes), 0, bytes.length, true, false);
      if (protocol === 'sctp') {
        finishSctp(bytes, l4, bytes.length);
        const out = pass(node, way.from, bytes, way.to);
        const sum = viewOf(out).getUint32(l4 + 8, true);
        viewOf(out).setUint32(l4 + 8, 0);
        assert.is(sum, crc32c(out, l4, out.length), `CRC32c after translation of ${way.name}`);
        continue;
      }
      const out = thereAndBack(node, way, bytes);
      const { kind, value } = residueOf(viewOf(out), 0, false);
      const none = protocol === 'udp' && viewOf(bytes).getUint16(l4 + 6) === 0;
      assert.equal({ kind, value }, { kind: none ? 'none' : 'full', value: 0 });
    }
    assert.equal(conntrackFaults(node.conntrack), []);
  });
}

for (const protocol of ['tcp', 'udp']) {
  test(`${protocol}: translated and back with every checksum there is, the zeroes too`, () => {
    for (const way of WAYS.filter(({ name }) => name === 'both (NodePort)' || name === 'source and port')) {
      const node = nodeFor();
      const bytes = packet(textOf(protocol, way, 8), { id: 1 });
      const view = viewOf(bytes);
      const field = transportAt(bytes) + (protocol === 'tcp' ? 16 : 6);
      const seen = new Set<number>();
      for (let word = 0; word < 65536; word++) {
        view.setUint16(bytes.length - 2, word);
        view.setUint16(field, 1);
        repairChecksums(view, 0, bytes.length, true, false);
        // A sum of ones is a checksum of zero; only UDP writes it the other way.
        if (protocol === 'tcp' && view.getUint16(field) === 0xffff) view.setUint16(field, 0);
        const out = thereAndBack(node, way, bytes);
        seen.add(viewOf(out).getUint16(field));
        if (residueOf(viewOf(out), 0, false).value !== 0) throw new Error(`${protocol} ${word}: a wrong checksum`);
      }
      // Each once, but that zero has two names, of which UDP uses the other.
      assert.is(seen.size, 65535);
      assert.is(seen.has(0), protocol === 'tcp');
    }
  });
}

test('a wrong checksum stays as wrong as it was: damage is never hidden', () => {
  const random = seededRandom(7);
  for (const way of WAYS) {
    for (const protocol of ['tcp', 'udp']) {
      const node = nodeFor();
      for (let i = 0; i < 300; i++) {
        const bytes = packet(textOf(protocol, way, 33), { id: i });
        const field = transportAt(bytes) + (protocol === 'tcp' ? 16 : 6);
        viewOf(bytes).setUint16(field, 1 + random.below(65534));
        const before = residueOf(viewOf(bytes), 0, false);
        assert.equal(residueOf(viewOf(pass(node, way.from, bytes, way.to)), 0, false), before);
      }
    }
  }
});

test('ICMP queries hidden behind the node and back, the identifier changed or kept', () => {
  const random = seededRandom(9);
  for (const type of [8, 13, 17]) {
    const node = nodeFor();
    const [way] = WAYS.filter(({ name }) => name === 'source, port kept') as [Way];
    let moved = 0;
    for (let i = 0; i < 2000; i++) {
      const id = random.below(200);
      const bytes = packet(`icmp ${A} > ${OUTSIDE} echo-request id ${id} seq ${i} len ${random.below(900)}`, { id: i });
      viewOf(bytes).setUint8(20, type);
      repairChecksums(viewOf(bytes), 0, bytes.length, true, false);
      if (i % 2 === 0) {
        // The other pod pings the same host with the same identifier, and may have been first.
        const other = packet(`icmp ${B} > ${OUTSIDE} echo-request id ${id} seq ${i} len 3`);
        viewOf(other).setUint8(20, type);
        repairChecksums(viewOf(other), 0, other.length, true, false);
        pass(node, 'b', other, 'host');
      }
      const out = thereAndBack(node, way, bytes);
      if (viewOf(out).getUint16(24) !== id) moved++;
      assert.equal(residueOf(viewOf(out), 0, false), { kind: 'full', value: 0 });
    }
    assert.ok(moved > 100, `${moved} identifiers changed`);
  }
});

test('a protocol without ports hidden behind the node and back', () => {
  const [way] = WAYS.filter(({ name }) => name === 'source, port kept') as [Way];
  for (const protocol of [2, 50, 89, 103, 253]) {
    const node = nodeFor();
    const bytes = packet(`udp ${A}:1 > ${OUTSIDE}:2 len 70`);
    bytes[9] = protocol;
    thereAndBack(node, way, withTtl(bytes, 64));
  }
});

/** An ICMP error about `about` from `src`, quoting so many bytes of it; its checksums are right. */
function icmpError(src: Uint8Array, about: Uint8Array, type: number, code: number, rest: number, quoted: number) {
  const header = new Uint8Array(28);
  const view = viewOf(header);
  view.setUint16(0, 0x4500);
  view.setUint16(8, (64 << 8) | 1);
  header.set(src, 12);
  header.set(about.subarray(12, 16), 16);
  view.setUint16(20, (type << 8) | code);
  view.setUint32(24, rest);
  const error = concat(header, about.subarray(0, quoted));
  viewOf(error).setUint16(2, error.length);
  repairChecksums(viewOf(error), 0, error.length, true, false);
  return error;
}

/** Every type that quotes a packet, but redirects, which are dropped. */
const ERRORS: readonly (readonly [type: number, code: number, rest: number])[] = [
  ...Array.from({ length: 16 }, (_, code) => [3, code, code === 4 ? 1300 : 0] as const),
  [4, 0, 0],
  [11, 0, 0],
  [11, 1, 0],
  [12, 0, 0x14000000],
];

test('ICMP errors of every type: the quote is what its sender sent, byte for byte, however much is quoted', () => {
  const random = seededRandom(11);
  let checked = 0;
  for (const way of WAYS) {
    for (const protocol of ['tcp', 'udp', 'sctp']) {
      const node = nodeFor();
      for (const options of [{}, { ipOptions: ODD_OPTIONS }, { udpChecksum: false }] as FrameOptions[]) {
        const sent = packet(textOf(protocol, way, 61), { id: 5, ...options });
        const l4 = transportAt(sent);
        const there = pass(node, way.from, sent, way.to);
        const answer = withTtl(turnRound(there), 64);
        const back = pass(node, way.to, answer, way.from);
        for (const [type, code, rest] of ERRORS) {
          // Not so many that the quote ends within a checksum: half of one cannot be made right.
          const quotes = [l4 + 8, l4 + 18, sent.length, l4 + (protocol === 'tcp' ? 18 : 12) + random.below(50)];
          for (const quoted of quotes) {
            // About the original packet, by the host it went to; then about the answer, by the host that had asked.
            const about: [string, Uint8Array, Uint8Array, string][] = [
              [way.to, there, sent, way.from],
              [way.from, back, answer, way.to],
            ];
            for (const [from, told, was, to] of about) {
              const error = icmpError(told.subarray(16, 20), told, type, code, rest, quoted);
              const got = pass(node, from, error, to);
              const view = viewOf(got);
              assert.equal(residueOf(view, 0, false), { kind: 'full', value: 0 });
              assert.is(view.getUint32(20) >>> 16, (type << 8) | code);
              assert.is(view.getUint32(24), rest);
              const quote = got.subarray(28);
              const expected = withTtl(was, told[8]!).subarray(0, quoted);
              // SCTP's sum is of the whole packet, which a quote seldom is (linux nf_nat_proto.c leaves it too).
              if (protocol === 'sctp') quote.set(expected.subarray(l4 + 8, l4 + 12), l4 + 8);
              assert.equal(Buffer.from(quote).toString('hex'), Buffer.from(expected).toString('hex'));
              assert.equal(got.subarray(12, 16), was.subarray(16, 20), 'as if from the host that was asked');
              assert.equal(got.subarray(16, 20), was.subarray(12, 16), 'to the host that had sent it');
              checked++;
            }
          }
        }
      }
    }
  }
  assert.is(checked, WAYS.length * 3 * 3 * ERRORS.length * 4 * 2);
});

test('UDP in fragments, translated and back: put together it is the datagram that was sent', () => {
  for (const way of WAYS) {
    const node = nodeFor();
    const random = seededRandom(13);
    for (let i = 0; i < 200; i++) {
      const whole = packet(textOf('udp', way, 1400 + random.below(5000)), { id: i, df: false });
      const there = through(node, way.from, fragmentsOf(whole, random), way.to);
      assert.is(residueOf(viewOf(there), 0, false).value, 0);
      const back = through(node, way.to, fragmentsOf(withTtl(turnRound(there), 64), random), way.from);
      assert.ok(Buffer.from(withTtl(turnRound(back), 64)).equals(whole), `${way.name}, datagram ${i}`);
    }
  }
});

/** The fragments of a packet in random order, some of them twice. */
function fragmentsOf(whole: Uint8Array, random: Random): Uint8Array[] {
  const frame = concat(new Uint8Array(14), whole);
  const pieces = fragments(frame, 200 + 8 * random.below(100)).map((piece) => piece.subarray(14));
  for (let i = pieces.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [pieces[i], pieces[j]] = [pieces[j]!, pieces[i]!];
  }
  return pieces;
}

/** Pass fragments through the node and put together what comes out. */
function through(node: TestNode, from: string, pieces: readonly Uint8Array[], to: string): Uint8Array {
  for (const piece of pieces) node.receiveBytes(from, concat(ETHERNET[from]!, withTtl(piece, 64)));
  const out = node.sentFrames(to).map(({ bytes }) => bytes.subarray(14));
  assert.is(out.length, pieces.length);
  const offset = (piece: Uint8Array): number => (viewOf(piece).getUint16(6) & 0x1fff) << 3;
  out.sort((one, two) => offset(one) - offset(two));
  const whole = concat(out[0]!.subarray(0, 20), ...out.map((piece) => piece.subarray(20)));
  viewOf(whole).setUint16(2, whole.length);
  viewOf(whole).setUint16(6, 0);
  return withTtl(whole, 64);
}

/** Random traffic of every kind, most of it sound, at every port. */
function traffic(node: TestNode, random: Random): void {
  const sources: [string, string][] = [
    ['a', A],
    ['b', B],
    ['host', OUTSIDE],
    ['host', `203.0.113.${1 + random.below(200)}`],
  ];
  const [from, src] = sources[random.below(sources.length)]!;
  const targets = [A, B, OUTSIDE, '10.96.0.10', '10.96.0.20', '10.96.0.99', '172.18.0.11', '10.244.1.1', '10.244.9.9'];
  const dst = targets[random.below(targets.length)]!;
  const ports = `${src}:${1024 + random.below(40)} > ${dst}:${[80, 8080, 53, 31418][random.below(4)]}`;
  const flags = ['S', 'SA', 'A', 'PA', 'FA', 'R', 'RA', 'SF'][random.below(8)];
  const query = `id ${random.below(5)} seq 1 len 8`;
  const texts = [
    `tcp ${ports} ${flags} seq ${random.below(5)} ack ${random.below(5)} len ${random.below(3)}`,
    `udp ${ports} len ${random.below(1300)}`,
    `icmp ${src} > ${dst} ${random.below(2) === 0 ? 'echo-request' : 'echo-reply'} ${query}`,
    `icmp ${src} > ${dst} unreachable port (udp ${dst}:53 > ${src}:${1024 + random.below(40)} len 8)`,
    `icmp ${src} > ${dst} time-exceeded (tcp ${dst}:80 > ${src}:${1024 + random.below(40)} A)`,
  ];
  const options = { ttl: random.below(3) === 0 ? 1 : 64, id: random.below(65536) };
  node.receive(from, texts[random.below(texts.length)]!, options);
}

test('frames in = frames out + drops by reason, to the last one, by the counters alone', () => {
  const node = nodeFor().peer(2);
  const random = seededRandom(17);
  for (let i = 0; i < 60_000; i++) {
    traffic(node, random);
    if (i % 50 === 0) node.advance(200);
    if (i % 1000 === 0) node.out.length = 0;
  }
  let framesIn = 0;
  let framesOut = 0;
  for (let port = 0; port < 64; port++) {
    framesIn += portTotals(node.counters, port).framesIn;
    framesOut += portTotals(node.counters, port).framesOut;
  }
  const by = { continue: 0, sent: 0, answered: 0, held: 0, dropped: 0 };
  const reasons = new Set<string>();
  for (let verdict = 0; verdict < MAX_VERDICTS; verdict++) {
    const total = verdictTotal(node.counters, verdict);
    const text = VERDICT_TEXTS[verdict];
    if (total === 0 || text === undefined) continue;
    by[text.class] += total;
    if (text.class === 'dropped') reasons.add(text.name);
  }
  assert.is(by.continue, 0);
  assert.is(framesIn, 60_000);
  assert.is(by.sent + by.answered + by.held + by.dropped, framesIn);
  assert.is(by.sent + by.answered, framesOut);
  assert.ok(by.sent > 10_000 && by.answered > 1000 && by.dropped > 5000 && reasons.size >= 5, JSON.stringify(by));
});

for (const max of [16, 64, 1024]) {
  test(`churn in a table of ${max}: every record is live, on a wheel or free, and has exactly two index words`, () => {
    const node = new TestNode({ maxConntrack: max }).pod('a', A).pod('b', B).peer(2);
    for (const protocol of ['tcp', 'udp']) {
      node.service(`${protocol} 10.96.0.10:80`, {
        endpoints: [`${B}:8080`, `${A}:80`],
        nodePort: 31418,
        name: protocol,
      });
    }
    const random = seededRandom(max);
    let fullest = 0;
    for (let i = 0; i < 40_000; i++) {
      traffic(node, random);
      if (random.below(100) === 0) node.advance(random.below(3000));
      if (random.below(5000) === 0) node.sync.removePod('b');
      else if (random.below(2000) === 0) node.pod('b', B);
      fullest = Math.max(fullest, node.flows);
      if (i % 1000 === 0) assert.equal(conntrackFaults(node.conntrack), [], `after ${i} frames`);
      node.out.length = 0;
    }
    assert.ok(fullest > max / 4, `${fullest} at most`);
    node.advance(90_000_000 / 1000);
    node.nowMs += 90_000_000;
    node.advance(40_000);
    assert.is(node.conntrack.state[StateWord.ENTRIES], 0, 'nothing is left when all have ended');
    assert.equal(conntrackFaults(node.conntrack), []);
    assert.is(node.conntrack.state[StateWord.WATERMARK], node.conntrack.state[StateWord.FREE_COUNT]);
    assert.ok(node.conntrack.index.every((word) => word === 0));
  });
}

test.run();
