/**
 * A dropped packet leaves no trace: it creates, changes, shortens or prolongs no connection, and changes no counter of
 * one, no affinity, no fragmented datagram. Every cause of a drop is tried with a first packet and with a later one.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Rec, recordAt, StateWord, Status } from '../../native-free-dataplane/conntrack/record.ts';
import { FragmentWord } from '../../native-free-dataplane/fragments/slots.ts';
import { HopWord, NodeWord, PortPolicy } from '../../native-free-dataplane/node/config.ts';
import { firstNodeHop, HopKind, hopAt } from '../../native-free-dataplane/node/hops.ts';
import { policyPod, setPolicies } from '../lib/policies/policy-node.ts';
import { TestNode } from '../lib/test-node.ts';

const A = '10.244.1.2';
const B = '10.244.1.3';
const REMOTE = '10.244.2.2';
const OUTSIDE = '203.0.113.9';
const TO_A = { dstMac: '0a:58:0a:f4:01:02' };
const TO_B = { dstMac: '0a:58:0a:f4:01:03' };

function node(): TestNode {
  return new TestNode().pod('a', A).pod('b', B).peer(2);
}

const hexBytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'));

/** A node with an established connection between its two pods. */
function connected(): TestNode {
  const n = node();
  n.receive('a', `tcp ${A}:2000 > ${B}:80 S seq 1000`, TO_B);
  n.receive('b', `tcp ${B}:80 > ${A}:2000 SA seq 5000 ack 1001`, TO_A);
  n.receive('a', `tcp ${A}:2000 > ${B}:80 A seq 1001 ack 5001`, TO_B);
  return n;
}

/** Everything in the tables that packets change, in brief: equal if and only if nothing has changed. */
function state(n: TestNode): string {
  const { conntrack, services } = n;
  const flows: string[] = [];
  for (let record = 0; record < conntrack.state[StateWord.WATERMARK]!; record++) {
    const at = recordAt(conntrack, record);
    const live = (conntrack.words[at + Rec.META]! & (Status.CONFIRMED | Status.DEAD)) === Status.CONFIRMED;
    if (live) flows.push([...conntrack.words.subarray(at, recordAt(conntrack, record + 1))].join(' '));
  }
  const affinity = services.affinity.filter((word) => word !== 0).join(' ');
  const connections = services.connections.filter((count) => count !== 0).join(' ');
  const fragments = n.dataplane.fragments.words[FragmentWord.COUNT];
  return [...flows, `affinity ${affinity}`, `connections ${connections}`, `fragments ${fragments}`].join('\n');
}

test('an inexact in-window reset leaves the connection alive: it continues after 11 idle seconds', () => {
  const n = node();
  const frames: [string, string][] = [
    [
      'a',
      '0a580af401030a580af4010208004500002800004000400622e40af401020af4010307d00050000003e8000000005002ffff8bee0000',
    ],
    [
      'b',
      '0a580af401020a580af4010308004500002800004000400622e40af401030af40102005007d000001388000003e95012ffff78550000',
    ],
    [
      'a',
      '0a580af401030a580af4010208004500002800004000400622e40af401020af4010307d00050000003e9000013895010ffff78560000',
    ],
    [
      'b',
      '0a580af401020a580af4010308004500002800004000400622e40af401030af40102005007d0000014b500000000500400007b1f0000',
    ],
  ];
  for (const [from, hex] of frames) assert.is(n.receiveBytes(from, hexBytes(hex)), 'forwarded');
  const at = recordAt(n.conntrack, 0);
  assert.is((n.conntrack.words[at + Rec.EXPIRES]! - n.nowMs) / 1000, 300);
  n.advance(11_000);
  assert.is(n.flows, 1);
  assert.is(n.receive('a', `tcp ${A}:2000 > ${B}:80 PA seq 1001 ack 5001 len 5`, TO_B), 'forwarded');
  assert.is(n.flows, 1);
  assert.ok((n.conntrack.words[at + Rec.META]! & Status.ASSURED) !== 0);
});

test('a connection to a service keeps its endpoint after an inexact reset and 11 idle seconds', () => {
  for (let seed = 1; seed <= 40; seed++) {
    const n = new TestNode({ seed })
      .pod('a', A)
      .pod('b', B)
      .pod('c', '10.244.1.4')
      .service('tcp 10.96.0.10:80', {
        endpoints: [`${B}:80`, '10.244.1.4:80'],
      });
    n.receive('a', `tcp ${A}:2000 > 10.96.0.10:80 S seq 1000`);
    const chosen = n.sent('b').length === 1 ? 'b' : 'c';
    const endpoint = chosen === 'b' ? B : '10.244.1.4';
    n.receive(chosen, `tcp ${endpoint}:80 > ${A}:2000 SA seq 5000 ack 1001`, TO_A);
    n.receive('a', `tcp ${A}:2000 > 10.96.0.10:80 A seq 1001 ack 5001`);
    n.receive(chosen, `tcp ${endpoint}:80 > ${A}:2000 R seq 5301`, TO_A);
    n.advance(11_000);
    n.sent(chosen);
    assert.is(n.receive('a', `tcp ${A}:2000 > 10.96.0.10:80 PA seq 1001 ack 5001 len 5`), 'forwarded');
    assert.is(n.sent(chosen).length, 1, `seed ${seed}`);
  }
});

/** Ways to have a packet of an established connection dropped, with the verdict. */
const LATER: [string, string, (n: TestNode) => string][] = [
  [
    'its TTL ends here, a reset',
    'ttl-exceeded',
    (n) => n.receive('b', `tcp ${B}:80 > ${A}:2000 R seq 5001`, { ttl: 1 }),
  ],
  [
    'its TTL ends here, an inexact reset',
    'ttl-exceeded',
    (n) => n.receive('b', `tcp ${B}:80 > ${A}:2000 R seq 5301`, { ttl: 1 }),
  ],
  [
    'its TTL ends here, a FIN',
    'ttl-exceeded',
    (n) => n.receive('b', `tcp ${B}:80 > ${A}:2000 FA seq 5001 ack 1001`, { ttl: 1 }),
  ],
  [
    'its TTL ends here, data',
    'ttl-exceeded',
    (n) => n.receive('b', `tcp ${B}:80 > ${A}:2000 PA seq 5001 ack 1001 len 9`, { ttl: 1 }),
  ],
  [
    'too large, with DF',
    'fragmentation-needed',
    (n) => n.receive('b', `tcp ${B}:80 > ${A}:2000 A seq 5001 ack 1001 len 1460`, TO_A),
  ],
  [
    'its first fragment comes a second time',
    'fragment-duplicate',
    (n) => {
      const first = () =>
        n.receive('b', `tcp ${B}:80 > ${A}:2000 PA seq 5001 ack 1001 len 20`, { ...TO_A, id: 7, moreFragments: true });
      return first() === 'forwarded' ? first() : 'the first was not forwarded';
    },
  ],
];

for (const [how, verdict, drop] of LATER) {
  test(`a later packet: ${how}`, () => {
    const n = connected();
    if (verdict === 'fragmentation-needed') n.node.hops[hopAt(n.portOf('a')) + HopWord.MTU] = 1400;
    if (verdict === 'fragment-duplicate') {
      // The first one updates the window; its repetition must not.
      const once = connected();
      once.receive('b', `tcp ${B}:80 > ${A}:2000 PA seq 5001 ack 1001 len 20`, { ...TO_A, id: 7, moreFragments: true });
      n.advance(0);
      assert.is(drop(n), verdict);
      assert.is(state(n), state(once));
      return;
    }
    n.advance(5000);
    const before = state(n);
    const name = drop(n);
    assert.ok(name === verdict || name === `${verdict}-silent`, name);
    assert.is(state(n), before);
  });
}

test('a later packet: the receiving pod’s port was removed', () => {
  const n = connected();
  n.node.hops[hopAt(n.portOf('a')) + HopWord.KIND] = HopKind.NONE;
  const before = state(n);
  assert.is(n.receive('b', `tcp ${B}:80 > ${A}:2000 FA seq 5001 ack 1001`, TO_A), 'port-down');
  assert.is(state(n), before);
});

test('a first fragment that does not fit its connection is removed, so no later fragment is forwarded', () => {
  const n = connected();
  const before = state(n);
  assert.is(
    n.receive('b', `tcp ${B}:80 > ${A}:2000 PA seq 99999999 ack 1001 len 20`, { ...TO_A, id: 8, moreFragments: true }),
    'conntrack-invalid',
  );
  assert.is(state(n), before);
});

const LATER_FRAGMENT = { id: 9, fragmentOffset: 800, ttl: 64 };
const later = (n: TestNode, to: string, options: object): string =>
  n.receive('a', `udp ${A}:3000 > ${to}:53 len 800`, { ...LATER_FRAGMENT, ...options });
const first = (n: TestNode, to: string): string =>
  n.receive('a', `udp ${A}:3000 > ${to}:53 len 792`, { id: 9, moreFragments: true });

for (const to of [REMOTE, OUTSIDE]) {
  for (const [why, options, verdict] of [
    ['its TTL ends here', { ttl: 1 }, 'ttl-exceeded-silent'],
    ['too large, with DF', { df: true }, 'too-big-silent'],
  ] as const) {
    test(`a later fragment to ${to}, after its first: ${why}; sent again it is no duplicate`, () => {
      const n = node();
      first(n, to);
      if ('df' in options) for (const hop of [0, firstNodeHop(n.node)]) n.node.hops[hopAt(hop) + HopWord.MTU] = 700;
      const before = state(n);
      assert.is(later(n, to, options), verdict);
      assert.is(state(n), before);
      n.out.length = 0;
      later(n, to, {});
      assert.ok(n.out.length > 0);
    });
  }

  test(`a later fragment to ${to}, before its first: its TTL ends here; sent again it is held and released`, () => {
    const n = node();
    const before = state(n);
    assert.is(later(n, to, { ttl: 1 }), 'ttl-exceeded-silent');
    assert.is(state(n), before);
    assert.is(later(n, to, {}), 'fragment-held');
    first(n, to);
    assert.is(n.out.length, 2);
  });
}

test('a fragment for the node itself may wait for its first whatever its TTL', () => {
  const n = node();
  assert.is(later(n, '172.18.0.11', { ttl: 1 }), 'fragment-held');
  assert.is(first(n, '172.18.0.11'), 'to-host');
  assert.is(n.sent('host').length, 2);
});

/** Ways to have a first packet dropped. */
const FIRST: [string, string, (n: TestNode) => string][] = [
  ['its TTL ends here', 'ttl-exceeded', (n) => n.receive('a', `tcp ${A}:3000 > ${REMOTE}:80 S seq 1`, { ttl: 1 })],
  [
    'its TTL ends here on the way out',
    'ttl-exceeded',
    (n) => n.receive('a', `udp ${A}:3000 > ${OUTSIDE}:53 len 9`, { ttl: 1 }),
  ],
  [
    'too large for another node, with DF',
    'fragmentation-needed',
    (n) => n.receive('a', `udp ${A}:3000 > ${REMOTE}:53 len 1440`),
  ],
  [
    'too large for the way out, with DF',
    'fragmentation-needed',
    (n) => n.receive('a', `udp ${A}:3000 > ${OUTSIDE}:53 len 1480`),
  ],
  ['an address that no pod has', 'no-route', (n) => n.receive('a', `tcp ${A}:3000 > 10.244.1.99:80 S seq 1`)],
  [
    'a port that the pod does not declare',
    'port-not-declared',
    (n) => {
      n.node.config[NodeWord.PORT_POLICY] = PortPolicy.DECLARED;
      return n.receive('a', `tcp ${A}:3000 > ${B}:80 S seq 1`, TO_B);
    },
  ],
  [
    'a policy denies it',
    'policy-ingress',
    (n) => {
      setPolicies(n, [policyPod(A), policyPod(B)], [{ policyTypes: ['Ingress'] }]);
      return n.receive('a', `tcp ${A}:3000 > ${B}:80 S seq 1`, TO_B);
    },
  ],
  [
    "its endpoint's port is gone",
    'port-down',
    (n) => {
      n.node.hops[hopAt(n.portOf('b')) + HopWord.KIND] = HopKind.NONE;
      return n.receive('a', `tcp ${A}:3000 > 10.96.0.10:80 S seq 1`);
    },
  ],
  [
    'flags that begin no connection',
    'conntrack-invalid',
    (n) => n.receive('a', `tcp ${A}:3000 > 10.96.0.10:80 SA seq 1 ack 1`),
  ],
  [
    'a first fragment with them',
    'conntrack-invalid',
    (n) => n.receive('a', `tcp ${A}:3000 > 10.96.0.10:80 SA seq 1 ack 1 len 20`, { id: 9, moreFragments: true }),
  ],
];

for (const [how, verdict, drop] of FIRST) {
  test(`a first packet: ${how}`, () => {
    const n = node().service('tcp 10.96.0.10:80', { endpoints: [`${B}:80`], affinitySeconds: 60 });
    const before = state(n);
    const name = drop(n);
    assert.ok(name === verdict || name === `${verdict}-silent` || name === `${verdict}-answered`, name);
    assert.is(state(n), before);
  });
}

test('a dropped SYN does not end the closed connection that has its tuple', () => {
  const n = connected();
  n.receive('b', `tcp ${B}:80 > ${A}:2000 R seq 5001`, TO_A);
  const before = state(n);
  assert.is(n.receive('a', `tcp ${A}:2000 > ${B}:80 S seq 9000`, { ttl: 1 }), 'ttl-exceeded');
  assert.is(state(n), before);
  assert.is(n.receive('a', `tcp ${A}:2000 > ${B}:80 S seq 9000`, TO_B), 'forwarded');
  assert.not.equal(state(n), before);
  assert.is(n.flows, 1);
});

test('a SYN that opens a new connection goes to an existing endpoint, if the old one was removed', () => {
  const n = node().service('tcp 10.96.0.10:80', { endpoints: [`${B}:80`] });
  n.receive('a', `tcp ${A}:2000 > 10.96.0.10:80 S seq 1000`);
  n.receive('b', `tcp ${B}:80 > ${A}:2000 SA seq 5000 ack 1001`, TO_A);
  n.receive('a', `tcp ${A}:2000 > 10.96.0.10:80 A seq 1001 ack 5001`);
  n.receive('b', `tcp ${B}:80 > ${A}:2000 R seq 5001`, TO_A);
  n.node.hops[hopAt(n.portOf('b')) + HopWord.KIND] = HopKind.NONE;
  n.sent('b');
  n.pod('c', '10.244.1.4').service('tcp 10.96.0.10:80', { endpoints: ['10.244.1.4:80'] });
  assert.is(n.receive('a', `tcp ${A}:2000 > 10.96.0.10:80 S seq 9000`), 'forwarded');
  assert.is(n.sent('c').length, 1);
});

test('a retransmitted SYN refreshes SYN_SENT only after a reply such as a challenge ACK', () => {
  const n = node();
  const left = () => Math.round((n.conntrack.words[recordAt(n.conntrack, 0) + Rec.EXPIRES]! - n.nowMs) / 1000);
  n.receive('a', `tcp ${A}:2000 > ${B}:80 S seq 1000`, TO_B);
  n.advance(10_000);
  n.receive('a', `tcp ${A}:2000 > ${B}:80 S seq 1000`, TO_B);
  assert.is(left(), 110);
  n.receive('b', `tcp ${B}:80 > ${A}:2000 A seq 145824453 ack 643160523`, TO_A);
  assert.is(left(), 110);
  assert.is(n.receive('a', `tcp ${A}:2000 > ${B}:80 S seq 1000`, TO_B), 'forwarded');
  assert.is(left(), 120);
});

test.run();
