/** Full tables: an entry that does not fit is refused as a whole, and existing entries stay. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createNodeTable, type NodeTable, nodeTableBytes } from '../../../native-free-dataplane/node/config.ts';
import { portDeclared } from '../../../native-free-dataplane/node/declared-ports.ts';
import { NO_HOP } from '../../../native-free-dataplane/node/hops.ts';
import { findRoute } from '../../../native-free-dataplane/node/routes.ts';
import { PROTOCOL_TCP } from '../../../native-free-dataplane/protocols.ts';
import { addressWords } from '../../../native-free-dataplane/wire/address.ts';
import { NodeSync } from '../../../src/agent/node-sync.ts';
import { nodeIdentity } from '../../lib/node-identity.ts';

function node(sizes: { maxHops: number; routeSlots: number; hostRouteSlots: number; declaredSlots: number }): {
  table: NodeTable;
  sync: NodeSync;
} {
  const buffer = new ArrayBuffer(nodeTableBytes(sizes));
  const table = createNodeTable(buffer, { ...sizes, secret: Int32Array.of(1, 2, 3, 4) });
  return { table, sync: new NodeSync(table, nodeIdentity()) };
}

const hopOf = (table: NodeTable, ip: string): number => findRoute(table, addressWords(ip), 0);
const remote = (n: number) => ({
  name: `node-${n}`,
  ip: `172.18.0.${20 + n}`,
  podCIDRs: [`10.244.${n}.0/24`],
  vtepMac: '0a:58:00:00:00:01',
});
const pod = (n: number, ports: number[] = []) => ({
  key: `default/pod-${n}`,
  ip: `10.244.1.${n}`,
  declared: ports.map((port) => ({ protocol: 'TCP', port })),
});

test('a node whose routes do not fit is refused, and leaves neither a hop nor half of its routes', () => {
  const { table, sync } = node({ maxHops: 16, routeSlots: 4, hostRouteSlots: 16, declaredSlots: 4 });
  sync.setNode(remote(2));
  sync.setPod(1, pod(5));
  assert.throws(() => sync.setNode(remote(3)), /node node-3: the table of routes is full \(4\)/);
  assert.equal(sync.nodeNames(), ['node-2']);
  assert.is(hopOf(table, '172.18.0.23'), NO_HOP);
  assert.is(hopOf(table, '10.244.2.7'), 8);
  sync.removePod('default/pod-5');
  sync.setNode(remote(3));
  assert.is(hopOf(table, '10.244.3.7'), 9, 'the hop of the refused node is free again');
});

test('a node is refused if no hop is left', () => {
  const { sync } = node({ maxHops: 6, routeSlots: 64, hostRouteSlots: 16, declaredSlots: 4 });
  sync.setNode(remote(2));
  sync.setNode(remote(3));
  assert.throws(() => sync.setNode(remote(4)), /node node-4: no hop is left for it \(2 nodes at most\)/);
  assert.equal(sync.nodeNames(), ['node-2', 'node-3']);
});

test('a pod whose route does not fit is refused, and its port is free again', () => {
  const { table, sync } = node({ maxHops: 16, routeSlots: 2, hostRouteSlots: 16, declaredSlots: 4 });
  sync.setPod(1, pod(5));
  sync.setPod(2, pod(6));
  assert.throws(() => sync.setPod(3, pod(7)), /pod default\/pod-7: the node's table of routes is full \(2\)/);
  assert.is(sync.freePort(), 3);
  assert.is(hopOf(table, '10.244.1.7'), NO_HOP);
  assert.is(hopOf(table, '10.244.1.6'), 2);
});

test('a declared port that does not fit is named; the ports of other pods stay open', () => {
  const { table, sync } = node({ maxHops: 16, routeSlots: 8, hostRouteSlots: 16, declaredSlots: 2 });
  sync.setPod(1, pod(5, [80]));
  assert.throws(
    () => sync.setPod(2, pod(6, [81, 82])),
    /pod default\/pod-6: port 82 stays closed: the table of declared ports is full \(2\)/,
  );
  assert.ok(portDeclared(table, 1, PROTOCOL_TCP, 80));
  assert.ok(portDeclared(table, 2, PROTOCOL_TCP, 81));
  assert.is(hopOf(table, '10.244.1.6'), 2, 'the pod keeps its route');
});

test.run();
