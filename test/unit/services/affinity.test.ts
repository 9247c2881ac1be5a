import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  adoptAffinity,
  affinityEndpoint,
  affinityHash,
  rememberAffinity,
} from '../../../native-free-dataplane/services/affinity.ts';
import {
  AFFINITY_WORDS,
  createServices,
  type ServiceTable,
  servicesBytes,
} from '../../../native-free-dataplane/services/table.ts';
import { chiSquare, withinChance } from '../../lib/services/chi-square.ts';

function table(affinitySlots = 64, secret = Int32Array.of(1, 2, 3, 4)): ServiceTable {
  const sizes = { slots: 8, poolWords: 64, endpoints: 8, affinitySlots };
  return createServices(new ArrayBuffer(servicesBytes(sizes)), { ...sizes, secret });
}

const client = (n: number): Int32Array => Int32Array.of(0, 0, 0xffff, 0x0a000000 + n);
const A = client(1);
const B = client(2);

test('S9: affinity per client and service port, until the timeout after the last connection', () => {
  const t = table();
  rememberAffinity(t, A, 5, 77, 1000, 10);
  assert.is(affinityEndpoint(t, A, 5, 10_999), 77);
  assert.is(affinityEndpoint(t, A, 5, 11_000), 0);
  assert.is(affinityEndpoint(t, B, 5, 1000), 0);
  assert.is(affinityEndpoint(t, A, 6, 1000), 0, 'another port of the service is another matter');
  rememberAffinity(t, A, 5, 77, 9000, 10);
  assert.is(affinityEndpoint(t, A, 5, 18_999), 77, 'a new connection starts the time anew');
  rememberAffinity(t, A, 5, 78, 9000, 10);
  assert.is(affinityEndpoint(t, A, 5, 9001), 78, 'the last one counts');
});

test('the clock may wrap', () => {
  const t = table();
  const now = 2 ** 31 - 500;
  rememberAffinity(t, A, 5, 77, now, 1);
  assert.is(affinityEndpoint(t, A, 5, now + 999), 77);
  assert.is(affinityEndpoint(t, A, 5, now + 1001), 0);
});

test('full: the entry that expires first is replaced, and the newest is always stored', () => {
  const t = table(64);
  for (let n = 0; n < 1000; n++) {
    rememberAffinity(t, client(n), 1, n + 1, n, 1000);
    assert.is(affinityEndpoint(t, client(n), 1, n), n + 1);
  }
  let known = 0;
  for (let n = 0; n < 1000; n++) if (affinityEndpoint(t, client(n), 1, 1000) === n + 1) known++;
  assert.ok(known > 48 && known <= 64, `${known} of 64 slots are in use`);
});

test('a slot with words of two writers counts as empty, whichever words they are', () => {
  const t = table();
  rememberAffinity(t, A, 5, 77, 1000, 10);
  const one = t.affinity.slice();
  t.affinity.fill(0);
  rememberAffinity(t, A, 5, 78, 1500, 20);
  const other = t.affinity.slice();
  const at = one.findIndex((word) => word !== 0) & ~(AFFINITY_WORDS - 1);
  for (let mask = 0; mask < 1 << AFFINITY_WORDS; mask++) {
    for (let i = 0; i < AFFINITY_WORDS; i++) t.affinity[at + i] = ((mask >> i) & 1 ? one : other)[at + i]!;
    const tail = (mask >> 5) & 7;
    const seen = affinityEndpoint(t, A, 5, 2000);
    assert.is(seen, tail === 7 ? 77 : tail === 0 ? 78 : 0, `words ${mask.toString(2)}`);
  }
});

test('the first choice: constant for one timeout, different after it, even over clients', () => {
  const counts = new Array<number>(7).fill(0);
  let moved = 0;
  for (let n = 0; n < 7000; n++) {
    const first = affinityHash(client(n), 9, 20_000, 10);
    assert.is(affinityHash(client(n), 9, 29_999, 10), first);
    counts[first % 7]!++;
    if (affinityHash(client(n), 9, 30_000, 10) % 7 !== first % 7) moved++;
  }
  assert.ok(withinChance(chiSquare(counts), 6), `${counts}`);
  assert.ok(Math.abs(moved / 7000 - 6 / 7) < 0.03, `${moved} of 7000 moved`);
});

test('an agent that restarts takes over the affinity entries', () => {
  const old = table(64, Int32Array.of(9, 9, 9, 9));
  rememberAffinity(old, A, 5, 77, 1000, 10);
  rememberAffinity(old, B, 5, 78, 1000, 1);
  const t = table();
  assert.is(adoptAffinity(t, old, 5000), 1);
  assert.is(affinityEndpoint(t, A, 5, 10_999), 77);
  assert.is(affinityEndpoint(t, A, 5, 11_000), 0);
  assert.is(affinityEndpoint(t, B, 5, 5000), 0);
});

test.run();
