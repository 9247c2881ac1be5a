/** Which nodes receive traffic from outside for a service's external and load-balancer addresses. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { NodeObject } from '../../../../src/api/types/objects.ts';
import { nodesFor, outsideAddresses } from '../../../../src/controllers/services/outside-routes.ts';
import { service, slice } from '../../../lib/services/objects.ts';

const node = (name: string, ip: string, ready = true): NodeObject => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name, uid: name, resourceVersion: '1', creationTimestamp: '2026-01-01T00:00:00Z' },
  status: {
    addresses: [{ type: 'InternalIP', address: ip }],
    conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }],
  },
});
const NODES = [node('n3', '172.18.0.13', false), node('n2', '172.18.0.12'), node('n1', '172.18.0.11')];
const N1 = '172.18.0.11';
const N2 = '172.18.0.12';
const LOCAL = { type: 'LoadBalancer', externalTrafficPolicy: 'Local' } as const;

for (const [name, spec, endpoints, expected] of [
  ['Cluster: every node that is Ready', { type: 'LoadBalancer' }, ['10.244.1.2@n1'], [N1, N2]],
  ['Local: nodes with a ready endpoint', LOCAL, ['10.244.1.2@n1', '10.244.2.2@n2 terminating serving'], [N1]],
  [
    'Local: only terminating endpoints are left',
    LOCAL,
    ['10.244.2.2@n2 terminating serving', '10.244.1.2@n1 not-ready'],
    [N2],
  ],
  ['Local: without any endpoint all nodes, so that clients are refused', LOCAL, [], [N1, N2]],
  ['Local: on a node that is not Ready', LOCAL, ['10.244.3.2@n3', '10.244.1.2@n1'], [N1]],
] as const) {
  test(name, () => {
    assert.equal(nodesFor(service('a', '10.96.0.1', spec), [slice('a', endpoints)], NODES), expected);
  });
}

test('if no node is Ready, all nodes are used', () => {
  const silent = NODES.map(({ metadata, status }) => node(metadata.name, status?.addresses?.[0]?.address ?? '', false));
  assert.is(nodesFor(service('a', '10.96.0.1'), [], silent).length, 3);
});

test('session affinity: one node, always the same while it exists', () => {
  const sticky = service('a', '10.96.0.1', { type: 'LoadBalancer', sessionAffinity: 'ClientIP' });
  const [chosen] = nodesFor(sticky, [], NODES);
  assert.ok(chosen === N1 || chosen === N2);
  const others = Array.from({ length: 20 }, (_, i) => node(`m${i}`, `172.18.0.${20 + i}`));
  const among = nodesFor(sticky, [], [...NODES, ...others])[0];
  const without = nodesFor(sticky, [], [...NODES, ...others.slice(1)])[0];
  assert.ok(among === without || among === '172.18.0.20');
});

test('outside addresses: external IPs and load-balancer addresses, except with ipMode Proxy; IPv4 only', () => {
  const ingress = [{ ip: '198.51.100.1' }, { ip: '198.51.100.2', ipMode: 'Proxy' as const }, { ip: '2001:db8::1' }];
  const spec = { externalIPs: ['203.0.113.1'] };
  const balanced = service('a', '10.96.0.1', { type: 'LoadBalancer', ...spec }, { ingress });
  assert.equal(outsideAddresses(balanced), ['203.0.113.1', '198.51.100.1']);
  assert.equal(outsideAddresses(service('a', '10.96.0.1', spec, { ingress })), ['203.0.113.1']);
  assert.equal(outsideAddresses(service('a', 'None', spec)), []);
  assert.equal(outsideAddresses(service('a', '', { type: 'ExternalName', ...spec })), []);
});

test.run();
