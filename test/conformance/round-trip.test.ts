/** Property of every packet: translated and translated back, it is unchanged, byte for byte. Seeds are fixed. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { conntrackFaults } from '../lib/conntrack-check.ts';
import { concat, type FrameOptions, fragments, viewOf } from '../lib/frames/frame-builder.ts';
import { repairChecksums, residueOf } from '../lib/frames/frame-residue.ts';
import { packet } from '../lib/frames/frame-text.ts';
import { crc32c, finishSctp, reversePacket, transportAt, withTtl } from '../lib/frames/reverse-packet.ts';
import { times } from '../lib/long-form.ts';
import { A, B, ETHERNET } from '../lib/nat-node.ts';
import {
  nodeFor,
  ODD_OPTIONS,
  OUTSIDE,
  pass,
  type Side,
  textOf,
  thereAndBack,
  WAYS,
  type Way,
} from '../lib/round-trip.ts';
import { type Random, seededRandom } from '../lib/seeded-random.ts';
import type { TestNode } from '../lib/test-node.ts';

for (const way of WAYS) {
  test(`translated ${way.name} and back: TCP, UDP and SCTP, any length, any id, IP options, no UDP checksum`, () => {
    const node = nodeFor();
    const random = seededRandom(20240701);
    for (let i = 0; i < times(400, 1200); i++) {
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
  test(`${protocol}: translated and back with every possible checksum, including zeros`, () => {
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
        // A sum of all ones is a checksum of zero; only UDP writes it as ones.
        if (protocol === 'tcp' && view.getUint16(field) === 0xffff) view.setUint16(field, 0);
        const out = thereAndBack(node, way, bytes);
        seen.add(viewOf(out).getUint16(field));
        if (residueOf(viewOf(out), 0, false).value !== 0) throw new Error(`${protocol} ${word}: a wrong checksum`);
      }
      // Each value once; zero has two representations, and UDP uses the other one.
      assert.is(seen.size, 65535);
      assert.is(seen.has(0), protocol === 'tcp');
    }
  });
}

test('a wrong checksum stays wrong by the same difference: damage is never hidden', () => {
  const random = seededRandom(7);
  for (const way of WAYS) {
    for (const protocol of ['tcp', 'udp']) {
      const node = nodeFor();
      for (let i = 0; i < times(100, 300); i++) {
        const bytes = packet(textOf(protocol, way, 33), { id: i });
        const field = transportAt(bytes) + (protocol === 'tcp' ? 16 : 6);
        viewOf(bytes).setUint16(field, 1 + random.below(65534));
        const before = residueOf(viewOf(bytes), 0, false);
        assert.equal(residueOf(viewOf(pass(node, way.from, bytes, way.to)), 0, false), before);
      }
    }
  }
});

test('ICMP queries masqueraded and back, with the identifier changed or kept', () => {
  const random = seededRandom(9);
  for (const type of [8, 13, 17]) {
    const node = nodeFor();
    const [way] = WAYS.filter(({ name }) => name === 'source, port kept') as [Way];
    let moved = 0;
    for (let i = 0; i < times(700, 2000); i++) {
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

test('a protocol without ports masqueraded and back', () => {
  const [way] = WAYS.filter(({ name }) => name === 'source, port kept') as [Way];
  for (const protocol of [2, 50, 89, 103, 253]) {
    const node = nodeFor();
    const bytes = packet(`udp ${A}:1 > ${OUTSIDE}:2 len 70`);
    bytes[9] = protocol;
    thereAndBack(node, way, withTtl(bytes, 64));
  }
});

test('fragmented UDP, translated and back: reassembled it equals the datagram that was sent', () => {
  for (const way of WAYS) {
    const node = nodeFor();
    const random = seededRandom(13);
    for (let i = 0; i < times(60, 200); i++) {
      const whole = packet(textOf('udp', way, 1400 + random.below(5000)), { id: i, df: false });
      const there = through(node, way.from, fragmentsOf(whole, random), way.to);
      assert.is(residueOf(viewOf(there), 0, false).value, 0);
      const back = through(node, way.to, fragmentsOf(withTtl(reversePacket(there), 64), random), way.from);
      assert.ok(Buffer.from(withTtl(reversePacket(back), 64)).equals(whole), `${way.name}, datagram ${i}`);
    }
  }
});

/** The fragments of a packet in random order. */
function fragmentsOf(whole: Uint8Array, random: Random): Uint8Array[] {
  const frame = concat(new Uint8Array(14), whole);
  const pieces = fragments(frame, 200 + 8 * random.below(100)).map((piece) => piece.subarray(14));
  for (let i = pieces.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [pieces[i], pieces[j]] = [pieces[j]!, pieces[i]!];
  }
  return pieces;
}

/** Pass fragments through the node and reassemble the output. */
function through(node: TestNode, from: Side, pieces: readonly Uint8Array[], to: Side): Uint8Array {
  for (const piece of pieces) node.receiveBytes(from, concat(ETHERNET[from], withTtl(piece, 64)));
  const out = node.sentFrames(to).map(({ bytes }) => bytes.subarray(14));
  assert.is(out.length, pieces.length);
  const offset = (piece: Uint8Array): number => (viewOf(piece).getUint16(6) & 0x1fff) << 3;
  out.sort((one, two) => offset(one) - offset(two));
  const whole = concat(out[0]!.subarray(0, 20), ...out.map((piece) => piece.subarray(20)));
  viewOf(whole).setUint16(2, whole.length);
  viewOf(whole).setUint16(6, 0);
  return withTtl(whole, 64);
}

test.run();
