/** The layout of the node's own table: no two fields share a word. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  attachNodeTable,
  CONFIG_WORDS,
  createNodeTable,
  DECLARED_WORDS,
  DeclaredWord,
  HOP_WORDS,
  HopWord,
  MAX_PREFIX_LENGTHS,
  NodeWord,
  nodeTableBytes,
  ROUTE_WORDS,
  RouteWord,
} from '../../../native-free-dataplane/node/config.ts';

const SIZES = { maxHops: 8, routeSlots: 16, hostRouteSlots: 16, declaredSlots: 4 };

/** Fields of more than one word. */
const WIDTHS: Record<string, number> = {
  NODE_IP: 4,
  GATEWAY_IP: 4,
  POD_CIDR: 4,
  CLUSTER_CIDR: 4,
  SERVICE_CIDR: 4,
  PREFIX_LENGTHS: MAX_PREFIX_LENGTHS,
  HOST_PREFIX_LENGTHS: MAX_PREFIX_LENGTHS,
  ADDRESS: 4,
  ADDRESS_2: 4,
  NETWORK: 4,
};

for (const [name, fields, words] of [
  ['the configuration', NodeWord, CONFIG_WORDS],
  ['a hop', HopWord, HOP_WORDS],
  ['a route', RouteWord, ROUTE_WORDS],
  ['a declared port', DeclaredWord, DECLARED_WORDS],
] as const) {
  test(`${name}: every field has words of its own, within its ${words}`, () => {
    const owner = new Map<number, string>();
    for (const [field, at] of Object.entries(fields)) {
      for (let word = at; word < at + (WIDTHS[field] ?? 1); word++) {
        assert.is(owner.get(word), undefined, `${field} and ${owner.get(word)} share word ${word}`);
        assert.ok(word < words, `${field} ends beyond word ${words - 1}`);
        owner.set(word, field);
      }
    }
  });
}

test('configuration, hops, routes, sources, declared ports and limits are contiguous and fill the memory', () => {
  const buffer = new ArrayBuffer(nodeTableBytes(SIZES));
  const table = createNodeTable(buffer, { ...SIZES, secret: Int32Array.of(1, 2, 3, 4) });
  let end = table.config.byteOffset;
  for (const part of [
    table.config,
    table.hops,
    table.routes.slots,
    table.hostRoutes.slots,
    table.sources,
    table.declared,
    table.limits,
  ]) {
    assert.is(part.byteOffset, end);
    end += part.byteLength;
  }
  assert.is(end, buffer.byteLength);
  assert.is(attachNodeTable(buffer)?.routes.slotMask, SIZES.routeSlots - 1);
  assert.is(attachNodeTable(buffer.slice(0, buffer.byteLength - 4)), undefined);
});

test.run();
