/** Events on pods whose traffic does not arrive: which pods get them, their text, and how many there are. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DroppedTraffic } from '../../../../src/agent/connections/dropped-traffic.ts';
import type { Pod, Service } from '../../../../src/api/types/objects.ts';
import { A, B, natNode } from '../../../lib/nat-node.ts';
import { policyPod, setPolicies } from '../../../lib/policies/policy-node.ts';
import type { TestNode } from '../../../lib/test-node.ts';

const test = suite('events of dropped traffic');

const pod = (name: string, podIP: string): Pod =>
  ({ kind: 'Pod', metadata: { namespace: 'default', name, uid: name }, status: { podIP } }) as unknown as Pod;
const PODS = [pod('a', A), pod('b', B)];
const EMPTY = '10.96.0.10';
const SERVICES = [
  { metadata: { namespace: 'default', name: 'empty' }, spec: { clusterIP: EMPTY, ports: [{ port: 80 }] } },
] as Service[];

function watch(n: TestNode) {
  const events: string[] = [];
  const clock = { ms: 0 };
  const part = new DroppedTraffic({
    tables: n,
    nodeName: 'n1',
    pods: () => PODS,
    services: () => SERVICES,
    policies: { podAt: (ip) => PODS.find(({ status }) => status?.podIP === ip) },
    recordEvent: ({ metadata }, type, reason, message) => events.push(`${metadata.name} ${type} ${reason} ${message}`),
    now: () => clock.ms,
  });
  return { part, events, clock };
}

test('a Service without endpoints: the pod that connects gets the event, once a minute for the same Service', () => {
  const n = natNode().service(`tcp ${EMPTY}:80`, { endpoints: [] });
  const { part, events, clock } = watch(n);
  const expected =
    'a Warning NoEndpoint TCP to service default/empty:80 (10.96.0.10): the Service has no ready endpoint (rejected-tcp-reset)';
  for (let port = 4000; port < 4010; port++) n.receive('a', `tcp ${A}:${port} > ${EMPTY}:80 S`);
  part.check();
  assert.equal(events, [expected]);
  n.receive('a', `tcp ${A}:5000 > ${EMPTY}:80 S`);
  clock.ms = 59_000;
  part.check();
  assert.is(events.length, 1);
  n.receive('a', `tcp ${A}:5001 > ${EMPTY}:80 S`);
  clock.ms = 61_000;
  part.check();
  assert.equal(events, [expected, expected]);
});

test('a policy that denies: both pods get an event that names it', () => {
  const n = natNode();
  const { part, events } = watch(n);
  setPolicies(n, [policyPod(A), policyPod(B, { app: 'b' })], [{ podSelector: { matchLabels: { app: 'b' } } }]);
  n.receive('a', `tcp ${A}:4000 > ${B}:80 S`);
  part.check();
  const why = 'ingress is denied by default/p0 (no rule allows it) (policy-ingress)';
  assert.equal(events, [
    `a Warning PolicyDenied TCP to pod default/b (${B}):80: ${why}`,
    `b Warning PolicyDenied TCP port 80 from pod default/a (${A}): ${why}`,
  ]);
});

test('a pod that holds its share of the connections', () => {
  const n = natNode({ maxConntrack: 16 });
  const { part, events } = watch(n);
  const filled = (verdict: string): boolean => verdict === 'conntrack-share';
  for (let port = 1000; port < 4000 && !filled(n.receive('a', `tcp ${A}:${port} > ${B}:80 S`)); port++) {
    // Established connections are not evicted.
    n.receive('b', `tcp ${B}:80 > ${A}:${port} SA`);
    n.receive('a', `tcp ${A}:${port} > ${B}:80 A`);
  }
  part.check();
  assert.equal(events, [
    `a Warning ConnectionShareUsed TCP to pod default/b (${B}):80: this pod holds its share of the connection table of node n1 (conntrack-share)`,
  ]);
});

test('a flood to ever new destinations is reported a bounded number of times', () => {
  const n = natNode();
  const { part, events } = watch(n);
  setPolicies(n, [policyPod(A, { app: 'a' })], [{ podSelector: {}, policyTypes: ['Egress'] }]);
  for (let i = 0; i < 5000; i++) n.receive('a', `udp ${A}:4000 > 203.0.${i >> 8}.${i & 0xff}:80`);
  part.check();
  assert.ok(events.length > 0 && events.length <= 16, `${events.length} events`);
});

test('a spoofed packet, and one that is forwarded, make no events', () => {
  const n = natNode();
  const { part, events } = watch(n);
  n.receive('a', `tcp 10.244.1.9:4000 > ${B}:80 S`);
  n.receive('a', `tcp ${A}:4000 > ${B}:80 A`);
  part.check();
  assert.equal(events, []);
});

test.run();
