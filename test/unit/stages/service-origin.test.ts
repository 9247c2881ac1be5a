/** Services with a host-network endpoint, Local policies without a local endpoint, counters of endpoints. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { viewService } from '../../../native-free-dataplane/services/inspect.ts';
import { addressWords } from '../../../native-free-dataplane/wire/address.ts';
import { TestNode } from '../../lib/test-node.ts';

const A = '10.244.1.2';
const NODE = '172.18.0.11';
const GATEWAY = '10.244.1.1';
const OUTSIDE = '172.18.0.1';
/** First address of the service network: routed to dp0, and assigned to no service. */
const NOBODY = '10.96.0.0';

const node = (endpoint: string, more: object = {}) =>
  new TestNode()
    .pod('a', A)
    .peer(2)
    .service('tcp 10.96.0.10:80', { endpoints: [endpoint], nodePort: 30080, ...more });

for (const [who, from, asked] of [
  ['the node itself by the ClusterIP', `${GATEWAY}:4000`, '10.96.0.10:80'],
  ['the node itself by the NodePort', `${NODE}:4000`, `${NODE}:30080`],
  ['a client outside', `${OUTSIDE}:4000`, `${NODE}:30080`],
] as const) {
  test(`replies of an endpoint in the node's own namespace come back to the pipeline for every client: ${who}`, () => {
    const n = node(`${NODE}:8080`);
    assert.is(n.receive('host', `tcp ${from} > ${asked} S`), 'to-host');
    const [sent = ''] = n.sent('host');
    const source = /^tcp (\S+):(\d+) > 172\.18\.0\.11:8080 S$/.exec(sent);
    assert.is(source?.[1], NOBODY, sent);
    n.receive('host', `tcp ${NODE}:8080 > ${NOBODY}:${source?.[2]} SA seq 9 ack 1`);
    assert.equal(n.sent('host'), [`tcp ${asked} > ${from} SA`]);
  });
}

test("a pod keeps its address toward its own node, and has its node's address outside the pod network", () => {
  const own = node(`${NODE}:8080`);
  own.receive('a', `tcp ${A}:4000 > 10.96.0.10:80 S`);
  assert.equal(own.sent('host'), [`tcp ${A}:4000 > ${NODE}:8080 S`]);
  const other = node('172.18.0.12:8080');
  other.receive('a', `tcp ${A}:4000 > 10.96.0.10:80 S`);
  assert.match(other.sent('host')[0] ?? '', /^tcp 172\.18\.0\.11:\d+ > 172\.18\.0\.12:8080 S$/);
});

test("a connection from the node to an endpoint outside has its underlay address as source, not the gateway's", () => {
  const n = node('172.18.0.12:8080');
  n.receive('host', `tcp ${GATEWAY}:4000 > 10.96.0.10:80 S`);
  assert.match(n.sent('host')[0] ?? '', /^tcp 172\.18\.0\.11:\d+ > 172\.18\.0\.12:8080 S$/);
});

for (const [drops, verdict] of [
  [false, 'rejected-tcp-reset'],
  [true, 'local-policy-drop'],
] as const) {
  test(`a Local policy, endpoints elsewhere only: ${verdict}`, () => {
    const n = new TestNode({ localPolicyDrops: drops }).pod('a', A).peer(2);
    const policies = { endpoints: ['10.244.2.2:80'], nodePort: 30080, internalLocal: true, externalLocal: true };
    n.service('tcp 10.96.0.10:80', policies);
    assert.is(n.receive('a', `tcp ${A}:4000 > 10.96.0.10:80 S`), verdict);
    assert.is(n.receive('host', `tcp ${OUTSIDE}:4000 > ${NODE}:30080 S`), verdict);
    assert.is(n.receive('a', `tcp ${A}:4000 > ${NODE}:30080 S`), 'encapsulated', 'the short circuit');
    n.service('tcp 10.96.0.10:80', { ...policies, endpoints: [] });
    assert.is(n.receive('a', `tcp ${A}:4001 > 10.96.0.10:80 S`), 'rejected-tcp-reset', 'no endpoint anywhere');
    // The option may change at any time.
    n.sync.reconfigure({ ...n.identity, localPolicyDrops: !drops });
    n.service('tcp 10.96.0.10:80', policies);
    const now = n.receive('a', `tcp ${A}:4002 > 10.96.0.10:80 S`);
    assert.is(now, drops ? 'rejected-tcp-reset' : 'local-policy-drop');
  });
}

test('connections and packets are counted by endpoint, both directions', () => {
  const n = new TestNode().pod('a', A).pod('b', '10.244.1.3');
  n.service('tcp 10.96.0.10:80', { endpoints: ['10.244.1.3:80'] });
  const counts = () => {
    const [endpoint] = viewService(n.services, 6, 80, addressWords('10.96.0.10'))?.cluster ?? [];
    return [endpoint?.connections, endpoint?.packets];
  };
  assert.equal(counts(), [0, 0]);
  n.receive('a', `tcp ${A}:4000 > 10.96.0.10:80 S seq 1`);
  n.receive('b', `tcp 10.244.1.3:80 > ${A}:4000 SA seq 9 ack 2`);
  n.receive('a', `tcp ${A}:4000 > 10.96.0.10:80 A seq 2 ack 10`);
  assert.equal(counts(), [1, 3]);
  n.receive('a', `tcp ${A}:4001 > 10.96.0.10:80 S seq 1`);
  n.receive('a', `tcp ${A}:4002 > 10.244.1.3:80 S seq 1`);
  assert.equal(counts(), [2, 4], 'past the service nothing is counted');
});

test.run();
