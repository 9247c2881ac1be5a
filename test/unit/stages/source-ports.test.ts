/** Source ports of translated connections are unpredictable without the node's secret (RFC 6056). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { seededRandom } from '../../lib/seeded-random.ts';
import { TestNode } from '../../lib/test-node.ts';

const POD = '10.244.1.2';

/** Source ports of this many connections whose own port cannot be kept. */
function ports(count: number, secret?: number): number[] {
  const node = new TestNode({ seed: 99 }).pod('a', POD);
  if (secret !== undefined) {
    const random = seededRandom(secret);
    const { hash } = node.conntrack;
    for (let i = 0; i < hash.length; i++) hash[i] = random.word();
    node.dataplane.conntrack.hash.set(hash);
  }
  return Array.from({ length: count }, (_, i) => {
    node.receive('a', `udp ${POD}:${50_000 + i} > 198.51.100.7:53 len 20`);
    const [line = ''] = node.sent('host');
    return Number(/172\.18\.0\.11:(\d+)/.exec(line)?.[1]);
  });
}

test("the choice of ports depends on the node's secret", () => {
  assert.equal(ports(50), ports(50));
  const [one, two] = [ports(50, 1), ports(50, 2)];
  assert.ok(one.filter((port, i) => port === two[i]).length <= 2);
});

test('the whole range is used, evenly', () => {
  const chosen = ports(4000);
  assert.ok(chosen.every((port) => port >= 32768 && port <= 49151));
  const quarters = [0, 0, 0, 0];
  for (const port of chosen) quarters[(port - 32768) >> 12]!++;
  assert.ok(
    quarters.every((count) => count > 900 && count < 1100),
    `${quarters}`,
  );
  assert.ok(new Set(chosen).size > 3500, 'few ports are chosen twice');
});

test.run();
