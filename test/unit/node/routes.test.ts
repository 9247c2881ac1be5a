/** Routes: the longest prefix wins, and a route that does not fit is refused as a whole. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  createNodeTable,
  MAX_PREFIX_LENGTHS,
  type NodeTable,
  nodeTableBytes,
  routeGeneration,
} from '../../../native-free-dataplane/node/config.ts';
import { NO_HOP } from '../../../native-free-dataplane/node/hops.ts';
import { findRoute, removeRoute, setRoute } from '../../../native-free-dataplane/node/routes.ts';

function table(routeSlots: number): NodeTable {
  const sizes = { maxHops: 8, routeSlots, hostRouteSlots: 16, declaredSlots: 4 };
  return createNodeTable(new ArrayBuffer(nodeTableBytes(sizes)), { ...sizes, secret: Int32Array.of(1, 2, 3, 4) });
}

const address = (word: number): Int32Array => Int32Array.of(0, 0, 0xffff, word);
const hopOf = (node: NodeTable, word: number): number => findRoute(node, address(word), 0);

test('the longest prefix that contains the address wins', () => {
  const node = table(16);
  assert.ok(setRoute(node, address(0x0af40000), 112, 1));
  assert.ok(setRoute(node, address(0x0af40100), 120, 2));
  assert.ok(setRoute(node, address(0x0af40107), 128, 3));
  assert.equal(
    [0x0af40107, 0x0af40108, 0x0af40208, 0x0b000001].map((word) => hopOf(node, word)),
    [3, 2, 1, NO_HOP],
  );
  removeRoute(node, address(0x0af40100), 120);
  assert.is(hopOf(node, 0x0af40108), 1);
});

test('a full table refuses another route and changes nothing; a known route can still be changed', () => {
  const node = table(8);
  for (let i = 0; i < 8; i++) assert.ok(setRoute(node, address(0x0a000000 + i), 128, i));
  const before = node.words.slice();
  assert.not.ok(setRoute(node, address(0x0a0000ff), 128, 1));
  assert.equal(node.words, before);
  assert.ok(setRoute(node, address(0x0a000003), 128, 7));
  assert.is(hopOf(node, 0x0a000003), 7);
  const generation = routeGeneration(node);
  removeRoute(node, address(0x0a000003), 128);
  assert.is.not(routeGeneration(node), generation, 'established flows look again');
  assert.ok(setRoute(node, address(0x0a0000ff), 128, 1), 'the slot of a route that was taken away is used again');
});

test('a route is refused if it would add one prefix length more than look-ups try', () => {
  const node = table(64);
  for (let i = 0; i < MAX_PREFIX_LENGTHS; i++) assert.ok(setRoute(node, address(0x0a000000), 128 - i, i));
  const before = node.words.slice();
  assert.not.ok(setRoute(node, address(0x0a000000), 128 - MAX_PREFIX_LENGTHS, 5));
  assert.equal(node.words, before);
  assert.ok(setRoute(node, address(0x0b000000), 120, 6), 'another route of a length in use');
  removeRoute(node, address(0x0a000000), 128);
  assert.ok(
    setRoute(node, address(0x0a000000), 128 - MAX_PREFIX_LENGTHS, 5),
    'a length that is no longer in use makes room',
  );
});

test.run();
