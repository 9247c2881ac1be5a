import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  applyDifference,
  difference16,
  difference32,
  finishChecksum,
  fold16,
  sumBytes,
  updateChecksum16,
} from '../../../native-free-dataplane/wire/checksum.ts';
import { viewOf } from '../../lib/frames/frame-builder.ts';
import { naiveSum } from '../../lib/frames/naive-checksum.ts';
import { seededRandom } from '../../lib/seeded-random.ts';

const SEED = 0x1071;

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

test('nothing outside the range counts, even in a view of a larger buffer', () => {
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
    assert.is(applyDifference(between, difference32(old32, new32)), after, `step ${i}, seed ${SEED}`);
    assert.is(applyDifference(between, difference32(old32 >>> 0, new32 | 0)), after, 'signed or unsigned words alike');
    const undone = applyDifference(after, difference32(new32, old32) + difference16(new16, old16));
    assert.is(undone, before, `both undone at once, step ${i}, seed ${SEED}`);
  }
});

test.run();
