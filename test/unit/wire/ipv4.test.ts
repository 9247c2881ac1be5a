import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as ipv4 from '../../../native-free-dataplane/wire/ipv4.ts';
import { viewOf } from '../../lib/frames/frame-builder.ts';
import { AT, hex, memory, untouchedAround } from '../../lib/frames/header-memory.ts';
import { naiveSum } from '../../lib/frames/naive-checksum.ts';
import { seededRandom } from '../../lib/seeded-random.ts';

const SEED = 0x1071;
const [SRC, DST] = [0xc0a80001 | 0, 0xc0a800c7 | 0];

/** A 20-byte header from SRC to DST around 95 bytes of UDP. */
function header(): DataView {
  const view = memory();
  ipv4.writeIpv4Addresses(view, AT, SRC, DST);
  ipv4.emitIpv4(view, AT, AT + 115, 17);
  return view;
}

const isIntact = (view: DataView, bytes = 20): boolean => ipv4.ipv4HeaderChecksum(view, AT, bytes) === 0;

test('an IPv4 header of any length: the stored checksum makes it 0', () => {
  const random = seededRandom(SEED);
  for (let i = 0; i < 2000; i++) {
    const headerBytes = 20 + 4 * random.below(11);
    const bytes = random.bytes(headerBytes + 3);
    const view = viewOf(bytes);
    const at = random.below(4);
    view.setUint16(at + 10, 0);
    const checksum = ipv4.ipv4HeaderChecksum(view, at, headerBytes);
    assert.is(checksum, ~naiveSum(bytes, at, at + headerBytes, 0) & 0xffff);
    view.setUint16(at + 10, checksum);
    assert.is(ipv4.ipv4HeaderChecksum(view, at, headerBytes), 0);
  }
});

test('a known IPv4 header', () => {
  const hex = '45000073000040004011b861c0a80001c0a800c7';
  const bytes = Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
  assert.is(ipv4.ipv4HeaderChecksum(viewOf(bytes), 0, 20), 0);
});

test('a header created here: DF, TTL 64, identification 0, a correct checksum, no other field set', () => {
  const view = header();
  assert.is(hex(view, 20), '45000073000040004011b861c0a80001c0a800c7');
  untouchedAround(view, 20);
  assert.equal([ipv4.ipv4HeaderBytes(view, AT), ipv4.ipv4TotalLength(view, AT)], [20, 115]);
  assert.equal([ipv4.ipv4Source(view, AT), ipv4.ipv4Destination(view, AT)], [SRC, DST]);
  assert.equal([ipv4.ipv4Ttl(view, AT), ipv4.ipv4Protocol(view, AT), ipv4.ipv4Identification(view, AT)], [64, 17, 0]);
});

test('a tunnel header: the checksum computed from the constant part equals a full sum', () => {
  const random = seededRandom(SEED);
  for (let i = 0; i < 10_000; i++) {
    const view = memory();
    const [src, dst] = [random.word() | 0, random.word() | 0];
    const [bytes, identification] = [20 + random.below(65000), random.below(0x10000)];
    ipv4.writeIpv4Addresses(view, AT, src, dst);
    ipv4.emitTunnelIpv4(view, AT, AT + bytes, 4, identification, ipv4.ipv4ConstantSum(src, dst));
    assert.ok(isIntact(view), `step ${i}, seed ${SEED}`);
    assert.equal(
      [ipv4.ipv4TotalLength(view, AT), ipv4.ipv4Identification(view, AT), ipv4.ipv4Protocol(view, AT)],
      [bytes, identification, 4],
    );
    untouchedAround(view, 20);
  }
});

test('fragment words: offset in bytes, and what is a fragment', () => {
  const view = header();
  ipv4.writeIpv4Fragment(view, AT, 20, AT + 60, ipv4.IPV4_MORE_FRAGMENTS | 185);
  assert.ok(isIntact(view));
  assert.is(ipv4.ipv4TotalLength(view, AT), 60);
  const word = ipv4.ipv4FragmentWord(view, AT);
  assert.is(word, 0x20b9);
  assert.is(ipv4.ipv4FragmentOffset(word), 1480);
  assert.ok(ipv4.isIpv4Fragment(word) && ipv4.isIpv4Fragment(1) && ipv4.isIpv4Fragment(ipv4.IPV4_MORE_FRAGMENTS));
  assert.not(ipv4.isIpv4Fragment(ipv4.IPV4_DONT_FRAGMENT));
});

test('a segment gets its own length and identification', () => {
  const view = header();
  ipv4.writeIpv4Segment(view, AT, 20, AT + 1400, 77);
  assert.ok(isIntact(view));
  assert.equal([ipv4.ipv4TotalLength(view, AT), ipv4.ipv4Identification(view, AT)], [1400, 77]);
});

test('a header stays valid after its identification is set', () => {
  const view = header();
  for (const identification of [0, 1, 0xffff, 0x1234]) {
    ipv4.writeIpv4Identification(view, AT, identification);
    assert.is(ipv4.ipv4Identification(view, AT), identification);
    assert.ok(isIntact(view));
  }
});

test('replaced addresses: the header stays valid, and the difference updates any checksum that covers them', () => {
  const random = seededRandom(SEED);
  for (let i = 0; i < 10_000; i++) {
    const view = header();
    const [src, dst] = [random.word() | 0, random.word() | 0];
    const before = naiveSum(new Uint8Array(view.buffer, AT + 12, 8), 0, 8, 1);
    const difference = ipv4.rewriteIpv4Addresses(view, AT, src, dst);
    assert.ok(isIntact(view), `step ${i}, seed ${SEED}`);
    assert.equal([ipv4.ipv4Source(view, AT), ipv4.ipv4Destination(view, AT)], [src, dst]);
    const after = naiveSum(new Uint8Array(view.buffer, AT + 12, 8), 0, 8, 1);
    assert.is((before + difference) % 0xffff, after % 0xffff, `step ${i}, seed ${SEED}`);
  }
});

test('TTL: lowered by one and reset, with a right checksum for every value', () => {
  for (let ttl = 1; ttl < 256; ttl++) {
    const view = header();
    view.setUint8(AT + 8, ttl);
    ipv4.writeIpv4Checksum(view, AT, 20);
    ipv4.lowerIpv4Ttl(view, AT);
    assert.is(ipv4.ipv4Ttl(view, AT), ttl - 1);
    assert.ok(isIntact(view), `TTL ${ttl}`);
    ipv4.resetIpv4Ttl(view, AT);
    assert.is(ipv4.ipv4Ttl(view, AT), 64);
    assert.ok(isIntact(view), `TTL ${ttl}`);
  }
});

test('source routes are found among options; malformed options end the search', () => {
  const find = (...options: number[]): boolean => {
    const bytes = new Uint8Array(20 + options.length);
    bytes.set(options, 20);
    return ipv4.hasSourceRoute(viewOf(bytes), 0, bytes.length);
  };
  assert.ok(find(131, 3, 4, 0));
  assert.ok(find(137, 3, 4, 0));
  assert.ok(find(1, 1, 7, 3, 4, 131, 3, 4));
  assert.not(find(7, 7, 4, 0, 0, 0, 0, 0), 'record route alone');
  assert.not(find(0, 131, 3, 4), 'behind the end of the list');
  assert.not(find(7, 0, 131, 3), 'an option of length 0');
  assert.not(find(1, 1, 1, 7), 'the kind is the last byte');
  assert.not(find(7, 40, 131, 3), 'an option longer than the header');
});

test.run();
