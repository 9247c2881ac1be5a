import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { maglevHash, maglevSize, writeMaglev } from '../../../native-free-dataplane/services/maglev.ts';
import { chiSquare, withinChance } from '../../lib/services/chi-square.ts';

const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `10.244.${i & 7}.${i >> 3}:8080`);

function build(of: readonly string[], size = maglevSize(of.length)): Int32Array {
  const words = new Int32Array(size + 2).fill(-7);
  writeMaglev(words, 1, size, of);
  assert.equal([words[0], words[size + 1]], [-7, -7], 'writes its own words only');
  return words.subarray(1, size + 1);
}

function shares(table: Int32Array, endpoints: number): number[] {
  const counts = new Array<number>(endpoints).fill(0);
  for (const endpoint of table) counts[endpoint]!++;
  return counts;
}

for (const count of [1, 2, 3, 10, 81, 100, 500, 1310]) {
  test(`${count} endpoints have shares within 2 % of each other`, () => {
    const counts = shares(build(names(count)), count);
    const fair = maglevSize(count) / count;
    for (const share of counts) assert.ok(Math.abs(share - fair) <= Math.max(1, fair * 0.02), `${share} of ${fair}`);
  });
}

test('the table does not depend on the order of the endpoints', () => {
  const one = names(20);
  const other = [...one].reverse();
  const a = build(one);
  const b = build(other);
  for (let i = 0; i < a.length; i++) assert.is(one[a[i]!], other[b[i]!]);
});

for (const count of [3, 10, 50]) {
  test(`one of ${count} endpoints is removed: its clients move, of the others hardly any`, () => {
    const before = names(count);
    const gone = before[1]!;
    const after = before.filter((name) => name !== gone);
    const a = build(before);
    const b = build(after);
    let moved = 0;
    let stayed = 0;
    for (let i = 0; i < a.length; i++) {
      const from = before[a[i]!];
      if (from === gone) continue;
      if (from === after[b[i]!]) stayed++;
      else moved++;
    }
    // The paper's figure 12 has about as many for tables of 65,537; a modulo would move (n - 1) / n of them.
    assert.ok(moved / (moved + stayed) < 0.05, `${((100 * moved) / (moved + stayed)).toFixed(1)} % moved`);
  });
}

test('clients are spread evenly, by source port and by address', () => {
  const count = 10;
  const table = build(names(count));
  const byPort = new Array<number>(count).fill(0);
  const byAddress = new Array<number>(count).fill(0);
  const client = Int32Array.of(0, 0, 0xffff, 0x0af40102);
  for (let port = 1024; port < 65024; port++) byPort[table[maglevHash(client, port, 6, 0) % table.length]!]!++;
  for (let i = 0; i < 64_000; i++) {
    client[3] = 0x0af40000 + i;
    byAddress[table[maglevHash(client, 0, 6, 0) % table.length]!]!++;
  }
  // Shares of the table differ by a fraction of a percent themselves, which this many draws cannot see.
  assert.ok(withinChance(chiSquare(byPort), count - 1), `by port: ${chiSquare(byPort)}`);
  assert.ok(withinChance(chiSquare(byAddress), count - 1), `by address: ${chiSquare(byAddress)}`);
});

test('the hash depends on the seed, and is a uint32', () => {
  const client = Int32Array.of(-1, -2, -3, -4);
  const one = maglevHash(client, 65535, 17, 1);
  assert.ok(one >= 0 && one <= 0xffffffff && Number.isInteger(one));
  assert.is.not(one, maglevHash(client, 65535, 17, 2));
  assert.is.not(one, maglevHash(client, 65535, 6, 1));
});

test.run();
