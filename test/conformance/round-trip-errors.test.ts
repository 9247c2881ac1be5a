/** Property of every ICMP error: the packet it quotes is translated back to what its sender sent, byte for byte. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { concat, type FrameOptions, viewOf } from '../lib/frames/frame-builder.ts';
import { repairChecksums, residueOf } from '../lib/frames/frame-residue.ts';
import { packet } from '../lib/frames/frame-text.ts';
import { reversePacket, transportAt, withTtl } from '../lib/frames/reverse-packet.ts';
import { nodeFor, ODD_OPTIONS, pass, type Side, textOf, WAYS } from '../lib/round-trip.ts';
import { seededRandom } from '../lib/seeded-random.ts';

/** An ICMP error about `about` from `src` with a quote of this many bytes; its checksums are right. */
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

/** Every type that quotes a packet, except redirects, which are dropped. */
const ERRORS: readonly (readonly [type: number, code: number, rest: number])[] = [
  ...Array.from({ length: 16 }, (_, code) => [3, code, code === 4 ? 20 : 0] as const),
  [4, 0, 0],
  [11, 0, 0],
  [11, 1, 0],
  [12, 0, 0x14000000],
];

test('ICMP errors of every type: the quote equals what its sender sent, byte for byte, whatever its length', () => {
  const random = seededRandom(11);
  let checked = 0;
  for (const way of WAYS) {
    for (const protocol of ['tcp', 'udp', 'sctp']) {
      const node = nodeFor();
      for (const options of [{}, { ipOptions: ODD_OPTIONS }, { udpChecksum: false }] as FrameOptions[]) {
        const sent = packet(textOf(protocol, way, 61), { id: 5, ...options });
        const l4 = transportAt(sent);
        const there = pass(node, way.from, sent, way.to);
        const answer = withTtl(reversePacket(there), 64);
        const back = pass(node, way.to, answer, way.from);
        for (const [type, code, rest] of ERRORS) {
          // Not a quote that ends within a checksum: half of one cannot be corrected.
          const quotes = [l4 + 8, l4 + 18, sent.length, l4 + (protocol === 'tcp' ? 18 : 12) + random.below(50)];
          for (const quoted of quotes) {
            // About the original packet, from its destination; then about the reply, from the host that sent the query.
            const about: [Side, Uint8Array, Uint8Array, Side][] = [
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
              // SCTP's checksum covers the whole packet, which is seldom quoted completely (linux nf_nat_proto.c also
              // leaves it).
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

test.run();
