import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ipv6Chain, walkIpv6Extensions } from '../../../native-free-dataplane/wire/ipv6-extensions.ts';
import { viewOf } from '../../lib/frames/frame-builder.ts';
import { pick, seededRandom } from '../../lib/seeded-random.ts';

const SEED = 0x666;

/** Walk a packet with this first next-header value, and these bytes after the IPv6 header. */
function walk(first: number, ...rest: number[]): boolean {
  const bytes = new Uint8Array(40 + rest.length);
  bytes[0] = 0x60;
  bytes[6] = first;
  bytes.set(rest, 40);
  return walkIpv6Extensions(viewOf(bytes), 0, bytes.length);
}

const eight = (next: number, second = 0): number[] => [next, second, 0, 0, 0, 0, 0, 0];

test('no extension headers', () => {
  assert.ok(walk(6));
  assert.equal([ipv6Chain.protocol, ipv6Chain.l4, ipv6Chain.fragmentAt], [6, 40, 0]);
});

test('hop-by-hop, destination and routing headers are skipped, each by its own length', () => {
  assert.ok(walk(0, ...eight(60), ...eight(43, 1), ...eight(0), ...eight(17)));
  assert.equal([ipv6Chain.protocol, ipv6Chain.l4], [17, 72]);
});

test('the authentication header counts in words of four bytes', () => {
  assert.ok(walk(51, ...eight(6, 4), ...eight(0), ...eight(0)));
  assert.equal([ipv6Chain.protocol, ipv6Chain.l4], [6, 64]);
});

test('a first fragment, and a later one whose payload is not parsed as a header', () => {
  assert.ok(walk(44, 17, 0, 0x00, 0x01, 0, 0, 0, 9, 1, 2, 3, 4));
  assert.equal(
    [ipv6Chain.fragmentAt, ipv6Chain.fragmentOffset, ipv6Chain.moreFragments, ipv6Chain.identification],
    [40, 0, 1, 9],
  );
  assert.ok(walk(44, 60, 0, 0x05, 0xc8, 0xff, 0xff, 0xff, 0xff, 9, 9));
  assert.equal(
    [ipv6Chain.protocol, ipv6Chain.l4, ipv6Chain.fragmentOffset, ipv6Chain.moreFragments],
    [60, 48, 1480, 0],
  );
  assert.is(ipv6Chain.identification, -1);
  assert.ok(walk(6));
  assert.equal([ipv6Chain.fragmentAt, ipv6Chain.fragmentOffset], [0, 0], 'the next walk knows nothing of it');
});

test('ESP and "no next header" end the chain', () => {
  assert.ok(walk(50, 1, 2, 3));
  assert.is(ipv6Chain.protocol, 50);
  assert.ok(walk(59));
  assert.is(ipv6Chain.protocol, 59);
});

test('rejected: truncated, beyond the packet, hop-by-hop not first, too many', () => {
  assert.not(walk(0, 6, 0, 0), 'cut short');
  assert.not(walk(0, ...eight(6, 1)), 'longer than the packet');
  assert.not(walk(60, ...eight(0), ...eight(6)), 'hop-by-hop not first');
  assert.not(walk(60, ...Array.from({ length: 9 }, () => eight(60)).flat()), 'too many');
});

test('random chains: parsing ends inside the packet or rejects it', () => {
  const random = seededRandom(SEED);
  const kinds = [0, 43, 44, 51, 60, 135, 6, 17];
  for (let i = 0; i < 50_000; i++) {
    const bytes = random.bytes(40 + random.below(120));
    bytes[6] = pick(random, kinds);
    for (let at = 40; at + 1 < bytes.length; at += 8) {
      bytes[at] = pick(random, kinds);
      bytes[at + 1] = random.below(3);
    }
    if (!walkIpv6Extensions(viewOf(bytes), 0, bytes.length)) continue;
    assert.ok(ipv6Chain.l4 >= 40 && ipv6Chain.l4 <= bytes.length, `step ${i}, seed ${SEED}`);
  }
});

test.run();
