/** A pod is deleted: which of its connections end, and what that leaves to others. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { endConnectionsOf } from '../../../../src/agent/connections/of-pod.ts';
import { conntrackFaults } from '../../../lib/conntrack-check.ts';
import { A, B, entries, NODE, natNode, portsOf, SERVER } from '../../../lib/nat-node.ts';
import type { TestNode } from '../../../lib/test-node.ts';

function establish(n: TestNode, from: 'a' | 'b', source: string, to: 'a' | 'b', target: string, port: number): void {
  n.receive(from, `tcp ${source}:${port} > ${target}:80 S seq 1`);
  n.receive(to, `tcp ${target}:80 > ${source}:${port} SA seq 5 ack 2`);
  n.receive(from, `tcp ${source}:${port} > ${target}:80 A seq 2 ack 6`);
  n.out.length = 0;
}

test('connections that the pod opened end at once, and their source ports are free', () => {
  const n = natNode({ masqueradePorts: [40000, 40009] });
  establish(n, 'a', A, 'b', B, 4000);
  for (let i = 0; i < 10; i++) {
    n.receive('a', `tcp ${A}:${5000 + i} > ${SERVER}:80 S seq 1`);
    const [port] = portsOf(n.sentFrames('host')[0]!);
    n.receive('host', `tcp ${SERVER}:80 > ${NODE}:${port} SA seq 5 ack 2`);
    n.receive('a', `tcp ${A}:${5000 + i} > ${SERVER}:80 A seq 2 ack 6`);
    n.out.length = 0;
  }
  assert.is(n.receive('b', `tcp ${B}:5000 > ${SERVER}:80 S seq 1`), 'rejected-prohibited');
  n.out.length = 0;
  assert.is(endConnectionsOf(n.conntrack, A, n.nowMs), 11);
  assert.is(n.flows, 0);
  assert.is(n.receive('b', `tcp ${B}:5000 > ${SERVER}:80 S seq 1`), 'to-host');
  assert.equal(conntrackFaults(n.conntrack), []);
});

test('answered connections to the pod stay for two minutes, unanswered ones do not stay', () => {
  const n = natNode();
  establish(n, 'b', B, 'a', A, 4000);
  n.receive('b', `tcp ${B}:4001 > ${A}:80 S seq 1`);
  establish(n, 'b', B, 'a', A, 4002);
  assert.is(endConnectionsOf(n.conntrack, A, n.nowMs), 1);
  assert.is(n.flows, 2);
  assert.ok(entries(n).every(({ life }) => life <= 120_000));
  n.advance(121_000);
  n.advance(20_000);
  assert.is(n.flows, 0);
});

test('connections of other pods are left alone', () => {
  const n = natNode().pod('c', '10.244.1.4');
  establish(n, 'a', A, 'b', B, 4000);
  assert.is(endConnectionsOf(n.conntrack, '10.244.1.4', n.nowMs), 0);
  assert.is(n.flows, 1);
  assert.ok(entries(n).every(({ life }) => life > 120_000));
});

test.run();
