/** Budgets of a pod: connections that it opens, and replies that its packets cause. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  Budget,
  overShareOf,
  refusedOf,
  setBudget,
  withoutSourcePortOf,
} from '../../native-free-dataplane/node/budgets.ts';
import { BudgetUse } from '../../src/agent/connections/budget-use.ts';
import type { Pod } from '../../src/api/types/objects.ts';
import { podBudgets } from '../../src/compile/budgets.ts';
import { A, B, NODE, natNode, portsOf, SERVER } from '../lib/nat-node.ts';
import type { TestNode } from '../lib/test-node.ts';

const MAC_B = '0a:58:0a:f4:01:03';
const CLOSED = '10.96.0.10';

/** Pod a opens ten connections every ten milliseconds, all different. @returns how many were made */
function open(n: TestNode, seconds: number, first = 1024): number {
  let made = 0;
  let port = first;
  for (let ms = 0; ms < seconds * 1000; ms += 10) {
    n.nowMs += 10;
    for (let i = 0; i < 10; i++) {
      if (n.receive('a', `udp ${A}:${port++} > ${B}:53 len 8`, { dstMac: MAC_B }) === 'forwarded') made++;
    }
    n.out.length = 0;
  }
  return made;
}

test('a pod opens as many connections a second as its budget allows, after a burst of one second', () => {
  const n = natNode();
  setBudget(n.node, n.portOf('a'), Budget.CONNECTIONS, 100);
  open(n, 2);
  n.countersMoved();
  assert.is(open(n, 10, 10_000), 1000);
  assert.is(n.countersMoved()['connection-rate'], 9000);
  n.nowMs += 60_000;
  assert.ok(Math.abs(open(n, 1, 30_000) - 200) <= 1, 'the burst, and the rate');
});

test('what is refused makes no connection and is counted for the pod; packets of its connections pass', () => {
  const n = natNode();
  const port = n.portOf('a');
  assert.is(n.receive('a', `udp ${A}:5000 > ${B}:53 len 8`, { dstMac: MAC_B }), 'forwarded');
  setBudget(n.node, port, Budget.CONNECTIONS, 1);
  assert.is(n.receive('a', `udp ${A}:5001 > ${SERVER}:53 len 8`), 'to-host');
  const { flows } = n;
  for (let i = 0; i < 5; i++) assert.is(n.receive('a', `udp ${A}:${6000 + i} > ${SERVER}:53 len 8`), 'connection-rate');
  assert.is(n.flows, flows);
  assert.is(refusedOf(n.node, port, Budget.CONNECTIONS), 5);
  assert.is(n.receive('a', `udp ${A}:5000 > ${B}:53 len 8`, { dstMac: MAC_B }), 'forwarded');
  assert.is(n.receive('b', `udp ${B}:53 > ${A}:5000 len 8`), 'forwarded');
  assert.is(n.receive('b', `udp ${B}:7000 > ${SERVER}:53 len 8`), 'to-host', 'another pod');
  assert.is(n.receive('b', `udp ${B}:7001 > ${A}:53 len 8`), 'forwarded', 'a connection to the pod');
});

test('connections that are refused for another reason use up nothing of a budget', () => {
  const n = natNode();
  setBudget(n.node, n.portOf('a'), Budget.CONNECTIONS, 1);
  for (let i = 0; i < 10; i++) n.receive('a', `udp ${A}:${6000 + i} > 10.244.1.99:53 len 8`);
  assert.is(n.receive('a', `udp ${A}:5001 > ${SERVER}:53 len 8`), 'to-host');
});

/** Pod a sends so many TCP segments, each to be answered with a reset. @returns resets sent */
function resets(n: TestNode, count: number): number {
  n.out.length = 0;
  for (let i = 0; i < count; i++) n.receive('a', `tcp ${A}:${1024 + i} > ${CLOSED}:80 S`);
  return n.out.length;
}

test('replies that the packets of a pod cause keep to its budget; what is not sent is counted for it', () => {
  const n = natNode().service(`tcp ${CLOSED}:80`, { endpoints: [] });
  n.advance(1000);
  const port = n.portOf('a');
  setBudget(n.node, port, Budget.REPLIES, 10);
  assert.is(resets(n, 50), 10);
  assert.is(refusedOf(n.node, port, Budget.REPLIES), 40);
  n.nowMs += 100;
  assert.is(resets(n, 5), 1);
  setBudget(n.node, port, Budget.REPLIES, 0);
  n.nowMs += 10_000;
  assert.is(resets(n, 300), 200, 'the burst of every sender');
  assert.is(refusedOf(n.node, port, Budget.REPLIES), 40 + 4 + 100);
});

test('annotations are whole numbers; others are named and ignored', () => {
  const pod = (connections: string, replies: string) =>
    ({
      metadata: {
        annotations: {
          'dataplane.dev/new-connections-per-second': connections,
          'dataplane.dev/replies-per-second': replies,
        },
      },
    }) as unknown as Pod;
  assert.equal(podBudgets(pod('100', '1000000')), { connections: 100, replies: 1_000_000, problems: [] });
  assert.equal(podBudgets(undefined), { connections: 0, replies: 0, problems: [] });
  for (const text of ['0', '-1', '1.5', '1k', '', '1000001', '99999999']) {
    const { connections, problems } = podBudgets(pod(text, '5'));
    assert.is(connections, 0);
    assert.equal(problems, [
      `annotation dataplane.dev/new-connections-per-second: "${text}" is ignored: expected a whole number from 1 to 1000000, such as 100`,
    ]);
  }
});

test('a pod that has used up a budget gets an event at once, and then at most one a minute', () => {
  const n = natNode();
  const port = n.portOf('a');
  const pod = { metadata: { name: 'a' }, status: { podIP: A } } as Pod;
  const events: string[] = [];
  const recordEvent = (object: { metadata: { name: string } }, type: string, reason: string, message: string) =>
    void events.push(`${object.metadata.name} ${type} ${reason}: ${message}`);
  const watch = new BudgetUse({ table: n.node, pods: () => [pod], recordEvent: recordEvent as never });
  setBudget(n.node, port, Budget.CONNECTIONS, 1);
  watch.check();
  assert.equal(events, []);
  const refuse = (count: number): void => {
    for (let i = 0; i < count; i++) n.receive('a', `udp ${A}:${6000 + i} > ${SERVER}:53 len 8`);
  };
  n.receive('a', `udp ${A}:5001 > ${SERVER}:53 len 8`);
  refuse(3);
  watch.check();
  const text = 'new connections dropped: more a second than its budget (connection-rate)';
  assert.equal(events.splice(0), [`a Warning ConnectionRateExceeded: 3 ${text}`]);
  refuse(4);
  for (let round = 0; round < 59; round++) watch.check();
  assert.equal(events, []);
  watch.check();
  assert.equal(events, [`a Warning ConnectionRateExceeded: 4 ${text}`]);
});

test('a pod over its share of the connection table, or without a source port, is counted and named in an event', () => {
  const n = natNode({ maxConntrack: 256, masqueradePorts: [40000, 40015] });
  const port = n.portOf('a');
  // Established connections of pod a to pod b, which may not be evicted.
  let verdict = '';
  for (let i = 0; verdict !== 'conntrack-share'; i++) {
    verdict = n.receive('a', `tcp ${A}:${10_000 + i} > ${B}:80 S seq 100`);
    n.receive('b', `tcp ${B}:80 > ${A}:${10_000 + i} SA seq 500 ack 101`);
    n.receive('a', `tcp ${A}:${10_000 + i} > ${B}:80 A seq 101 ack 501`);
  }
  const refused = overShareOf(n.node, port);
  assert.ok(refused > 0);
  assert.is(overShareOf(n.node, n.portOf('b')), 0, 'who opens it is charged');
  const events: string[] = [];
  const pods = () => [{ metadata: { name: 'a' }, status: { podIP: A } } as Pod];
  const recordEvent = (_: object, __: string, reason: string, message: string) =>
    void events.push(`${reason}: ${message}`);
  const watch = new BudgetUse({ table: n.node, pods, recordEvent: recordEvent as never });
  watch.check();
  const text =
    'new connections dropped: it holds its share of the connection table, and uses all of it (conntrack-share)';
  assert.equal(events, [`ConnectionShareExceeded: ${refused} ${text}`]);

  const m = natNode({ masqueradePorts: [40000, 40003] });
  for (let i = 0; i < 8; i++) {
    m.receive('a', `tcp ${A}:${20_000 + i} > ${SERVER}:443 S seq 100`);
    const sent = m.sentFrames('host').at(-1);
    if (sent === undefined) continue;
    m.receive('host', `tcp ${SERVER}:443 > ${NODE}:${portsOf(sent)[0]} SA seq 500 ack 101`);
    m.receive('a', `tcp ${A}:${20_000 + i} > ${SERVER}:443 A seq 101 ack 501`);
    m.out.length = 0;
  }
  assert.is(withoutSourcePortOf(m.node, m.portOf('a')), 4);
});

test('the next pod of a port has no budget and no count of the one before', () => {
  const n = natNode();
  const port = n.portOf('a');
  const budgets = { connections: 1, replies: 1 };
  n.sync.setPod(port, { key: 'a', ip: A, declared: [], budgets });
  for (let i = 0; i < 5; i++) n.receive('a', `udp ${A}:${6000 + i} > ${SERVER}:53 len 8`);
  assert.is(refusedOf(n.node, port, Budget.CONNECTIONS), 4);
  n.sync.removePod('a');
  n.sync.setPod(port, { key: 'next', ip: A, declared: [] });
  assert.is(refusedOf(n.node, port, Budget.CONNECTIONS), 0);
  for (let i = 0; i < 5; i++) assert.is(n.receive('a', `udp ${A}:${7000 + i} > ${SERVER}:53 len 8`), 'to-host');
});

test.run();
