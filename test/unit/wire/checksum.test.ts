import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  applyDifference,
  applyPartialDifference,
  difference16,
  difference32,
  finishChecksum,
  fold16,
  ipv4HeaderChecksum,
  pseudoHeaderSum,
  sumBytes,
  transportChecksum,
  updateChecksum16,
  updateChecksum32,
} from '../../../native-free-dataplane/wire/checksum.ts';
import { viewOf } from '../../lib/frames/frame-builder.ts';
import { frame, packet } from '../../lib/frames/frame-text.ts';
import { seededRandom } from '../../lib/seeded-random.ts';

const SEED = 0x1071;

/** The slow twin: byte pairs, folded at every step. */
function naiveSum(bytes: Uint8Array, from: number, to: number, sum: number): number {
  let folded = sum % 0xffff || (sum === 0 ? 0 : 0xffff);
  for (let at = from; at < to; at += 2) {
    folded += ((bytes[at] ?? 0) << 8) | (at + 1 < to ? (bytes[at + 1] ?? 0) : 0);
    if (folded > 0xffff) folded -= 0xffff;
  }
  return folded;
}

test('a full sum equals the naive one for every length to 2100, at even and odd offsets', () => {
  const random = seededRandom(SEED);
  const bytes = random.bytes(2200);
  const view = viewOf(bytes);
  for (let length = 0; length <= 2100; length++) {
    for (const from of [0, 1, 2, 3, 7, 34]) {
      const start = random.below(3) === 0 ? random.below(0x20000) : 0;
      const expected = naiveSum(bytes, from, from + length, start);
      if (fold16(sumBytes(view, from, from + length, start)) !== expected) {
        assert.unreachable(`length ${length} from ${from} start ${start}, seed ${SEED}`);
      }
    }
  }
});

test('a full sum neither overflows nor wraps on 64 KiB of ones, and ranges chain', () => {
  const bytes = new Uint8Array(65536).fill(0xff);
  const view = viewOf(bytes);
  assert.is(fold16(sumBytes(view, 0, 65536, 0)), 0xffff);
  const random = seededRandom(SEED).bytes(3000);
  const whole = fold16(sumBytes(viewOf(random), 0, 2999, 5));
  assert.is(fold16(sumBytes(viewOf(random), 1000, 2999, sumBytes(viewOf(random), 0, 1000, 5))), whole);
});

test('nothing outside the range counts, also through a window on a larger buffer', () => {
  const around = new Uint8Array(64).fill(0xee);
  const bytes = around.subarray(11, 40);
  bytes.fill(0);
  assert.is(sumBytes(viewOf(bytes), 0, bytes.length, 0), 0);
});

test('RFC 1071 §3: the worked example', () => {
  const bytes = Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7);
  assert.is(fold16(sumBytes(viewOf(bytes), 0, 8, 0)), 0xddf2);
  assert.is(finishChecksum(sumBytes(viewOf(bytes), 0, 8, 0)), 0x220d);
});

test('RFC 1624 §4: equation 3 gives 0x0000 where equation 2 gave 0xffff', () => {
  assert.is(updateChecksum16(0xdd2f, 0x5555, 0x3285), 0x0000);
});

test('an IPv4 header of any length: the stored checksum makes it 0', () => {
  const random = seededRandom(SEED);
  for (let i = 0; i < 2000; i++) {
    const headerBytes = 20 + 4 * random.below(11);
    const bytes = random.bytes(headerBytes + 3);
    const view = viewOf(bytes);
    const at = random.below(4);
    view.setUint16(at + 10, 0);
    const checksum = ipv4HeaderChecksum(view, at, headerBytes);
    assert.is(checksum, ~naiveSum(bytes, at, at + headerBytes, 0) & 0xffff);
    view.setUint16(at + 10, checksum);
    assert.is(ipv4HeaderChecksum(view, at, headerBytes), 0);
  }
});

test('a known IPv4 header', () => {
  const hex = '45000073000040004011b861c0a80001c0a800c7';
  const bytes = Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
  assert.is(ipv4HeaderChecksum(viewOf(bytes), 0, 20), 0);
});

test('finished: updates by 16 and 32 bits equal a full recompute on 100,000 random headers', () => {
  const random = seededRandom(SEED);
  const bytes = random.bytes(40);
  const view = viewOf(bytes);
  for (let i = 0; i < 100_000; i++) {
    for (let word = 0; word < 40; word += 4)
      view.setUint32(word, random.below(8) === 0 ? -random.below(2) : random.word());
    // Protocol and lengths are never all zero in a real packet; a sum of 0 is the one case that is not unique.
    view.setUint16(38, 1 + random.below(0xffff));
    const before = finishChecksum(sumBytes(view, 0, 40, 0));
    const at = 2 * random.below(18);
    const old16 = view.getUint16(at);
    const new16 = random.below(16) === 0 ? 0xffff * random.below(2) : random.word() & 0xffff;
    view.setUint16(at, new16);
    const between = updateChecksum16(before, old16, new16);
    assert.is(between, finishChecksum(sumBytes(view, 0, 40, 0)), `step ${i}, seed ${SEED}`);
    const old32 = view.getInt32(at);
    const new32 = random.below(16) === 0 ? -random.below(2) : random.word();
    view.setUint32(at, new32);
    const after = finishChecksum(sumBytes(view, 0, 40, 0));
    assert.is(updateChecksum32(between, old32, new32), after, `step ${i}, seed ${SEED}`);
    assert.is(updateChecksum32(between, old32 >>> 0, new32 | 0), after, 'signed or unsigned words alike');
    const undone = applyDifference(after, difference32(new32, old32) + difference16(new16, old16));
    assert.is(undone, before, `both undone at once, step ${i}, seed ${SEED}`);
  }
});

test('partial: updates equal the folded sum of the new pseudo-header on 100,000 random headers', () => {
  const random = seededRandom(SEED);
  const view = new DataView(new ArrayBuffer(40));
  for (let i = 0; i < 100_000; i++) {
    const bytes = 20 + random.below(65000);
    view.setUint8(0, 0x45);
    view.setUint32(12, random.below(8) === 0 ? -random.below(2) : random.word());
    view.setUint32(16, random.word());
    const before = fold16(pseudoHeaderSum(view, 0, 6, bytes));
    const [oldSrc, oldDst] = [view.getInt32(12), view.getInt32(16)];
    view.setUint32(12, random.word());
    view.setUint32(16, random.below(8) === 0 ? -random.below(2) : random.word());
    const both = difference32(oldSrc, view.getInt32(12)) + difference32(oldDst, view.getUint32(16));
    const field = applyPartialDifference(before, both);
    assert.is(field, fold16(pseudoHeaderSum(view, 0, 6, bytes)), `step ${i}, seed ${SEED}`);
    const shorter = 20 + random.below(65000);
    const length = difference16(bytes, shorter);
    assert.is(applyPartialDifference(field, length), fold16(pseudoHeaderSum(view, 0, 6, shorter)));
  }
});

test('partial: NAT of the addresses, then finishing, gives what a recompute after NAT gives', () => {
  const before = packet('tcp 10.244.1.2:4000 > 10.96.0.10:80 SA seq 7 len 33', { partial: true });
  const view = viewOf(before);
  const to = 0x0af40205;
  view.setUint16(36, applyPartialDifference(view.getUint16(36), difference32(view.getInt32(16), to)));
  view.setInt32(16, to);
  view.setUint16(22, 8080);
  view.setUint16(36, finishChecksum(sumBytes(view, 20, before.length, 0)));
  const after = packet('tcp 10.244.1.2:4000 > 10.244.2.5:8080 SA seq 7 len 33');
  assert.equal(before.subarray(20), after.subarray(20));
});

test('pseudo-headers of both families: built segments check to 0, a flipped bit does not', () => {
  for (const text of [
    'tcp 10.244.1.2:4000 > 10.96.0.10:80 PA len 5',
    'udp 10.244.1.2:4000 > 10.96.0.10:53 len 1',
    'tcp [fd00::2]:4000 > [fd00::3]:80 S',
    'udp [fd00::2]:4000 > [fd00::3]:53 len 8',
    'icmp6 fd00::2 > fd00::3 echo-request id 1 seq 2 len 3',
    'icmp 10.0.0.1 > 10.0.0.2 echo-request id 1 seq 2 len 3',
  ]) {
    const bytes = frame(text);
    const view = viewOf(bytes);
    const v6 = bytes[14] === 0x60;
    const protocol = bytes[v6 ? 20 : 23] ?? 0;
    const l4 = v6 ? 54 : 34;
    assert.is(transportChecksum(view, 14, l4, bytes.length, protocol), 0, text);
    view.setUint8(l4 + 4, view.getUint8(l4 + 4) ^ 0x10);
    assert.is.not(transportChecksum(view, 14, l4, bytes.length, protocol), 0, text);
  }
});

test.run();
