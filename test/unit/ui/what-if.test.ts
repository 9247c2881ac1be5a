/** Which tracked connections a manifest would change, before it is applied. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { FlowText } from '../../../native-free-dataplane/print/flow.ts';
import type { EndpointSlice, KubeObject, Pod, Service } from '../../../src/api/types/objects.ts';
import { addressedPod } from '../../../src/compile/policies/policy-objects.ts';
import { slicesOf } from '../../../src/ui/service-slices.ts';
import { type WhatIfCluster, whatIf } from '../../../src/ui/what-if.ts';

const test = suite('what if');

const pod = (name: string, ip: string, app: string): Pod =>
  ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', labels: { app } },
    spec: { nodeName: 'n1', containers: [{ name: 'c' }] },
    status: { podIP: ip, phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] },
  }) as unknown as Pod;
const service = (more: object = {}): Service =>
  ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'default' },
    spec: { clusterIP: '10.96.1.0', selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }], ...more },
  }) as unknown as Service;
const policy = (name: string, spec: object): KubeObject =>
  ({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name, namespace: 'default' },
    spec,
  }) as unknown as KubeObject;

const PODS = [
  pod('client', '10.244.1.2', 'client'),
  pod('web-1', '10.244.1.3', 'web'),
  pod('web-2', '10.244.1.4', 'web'),
];
/** The client is connected to the first endpoint, through the Service. */
const FLOW = {
  protocol: 6,
  original: { src: '10.244.1.2', srcPort: 40000, dst: '10.96.1.0', dstPort: 80 },
  reply: { src: '10.244.1.3', srcPort: 8080, dst: '10.244.1.2', dstPort: 40000 },
  status: ['DST_NAT'],
} as unknown as FlowText;

const endsOf = (pods: readonly Pod[]) => (ip: string) => {
  const found = pods.find(({ status }) => status?.podIP === ip);
  return { text: found ? `pod default/${found.metadata.name}` : ip, ip, pod: found && addressedPod(found) };
};

function cluster(more: Partial<WhatIfCluster> = {}): WhatIfCluster {
  return {
    policies: [],
    namespaces: new Map([['default', {}]]),
    nodes: [],
    pods: PODS,
    services: [service()],
    slices: slicesOf(service(), PODS) as EndpointSlice[],
    nodeAddresses: new Set(['172.18.0.11']),
    seen: [{ from: '10.244.1.2', to: '10.244.1.3', protocol: 6, port: 8080, throughService: true }],
    flows: [FLOW],
    endsOf,
    ...more,
  };
}

const changes = (objects: readonly KubeObject[], remove = false, now = cluster()) =>
  whatIf(now, { objects, remove }).changes.map(({ from, to, port, effect }) => `${from} > ${to}:${port} ${effect}`);

test('what changes nothing for a connection is no change', () => {
  assert.equal(changes([service()]), []);
  assert.equal(changes([policy('p', { podSelector: { matchLabels: { app: 'other' } } })]), []);
  const second = { ...FLOW, original: { ...FLOW.original, srcPort: 40_001 } };
  const { checked } = whatIf(cluster({ flows: [FLOW, second] }), { objects: [service()], remove: false });
  assert.is(checked, 1, 'connections of one client to one port are one, as in what changes');
});

test('a policy that isolates the endpoint denies the connection, and deleting it allows it', () => {
  const deny = policy('deny', { podSelector: { matchLabels: { app: 'web' } }, policyTypes: ['Ingress'] });
  assert.equal(changes([deny]), ['pod default/client > pod default/web-1:8080 denied']);
  const now = cluster({ policies: [deny] as unknown as WhatIfCluster['policies'] });
  assert.equal(changes([deny], true, now), ['pod default/client > pod default/web-1:8080 allowed']);
});

test('labels of a pod decide: for policies, and for Services', () => {
  const allow = policy('allow', {
    podSelector: { matchLabels: { app: 'web' } },
    policyTypes: ['Ingress'],
    ingress: [{ from: [{ podSelector: { matchLabels: { app: 'client' } } }] }],
  });
  const now = cluster({ policies: [allow] as unknown as WhatIfCluster['policies'] });
  assert.equal(changes([pod('client', '', 'stranger')], false, now), [
    'pod default/client > pod default/web-1:8080 denied',
  ]);
  assert.equal(changes([pod('web-1', '', 'other')]), ['pod default/client > pod default/web-1:8080 other-endpoint']);
});

test('labels of a namespace decide; its name stays one of them, whatever a manifest has', () => {
  const allowFrom = (matchLabels: object) =>
    policy('allow', {
      podSelector: { matchLabels: { app: 'web' } },
      ingress: [{ from: [{ namespaceSelector: { matchLabels } }] }],
    });
  const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'default', labels: { team: 'a' } } };
  const labels = { 'kubernetes.io/metadata.name': 'default', team: 'b' };
  const changed = (matchLabels: object) => {
    const policies = [allowFrom(matchLabels)] as unknown as WhatIfCluster['policies'];
    const now = cluster({ policies, namespaces: new Map([['default', labels]]) });
    return changes([namespace as unknown as KubeObject], false, now);
  };
  assert.equal(changed({ 'kubernetes.io/metadata.name': 'default' }), []);
  assert.equal(changed({ team: 'b' }), ['pod default/client > pod default/web-1:8080 denied']);
});

test('a Service without its endpoint, without any, and no Service at all', () => {
  const to = 'pod default/client > pod default/web-1:8080';
  assert.equal(changes([service({ selector: { app: 'wbe' } })]), [`${to} no-endpoint`]);
  assert.equal(changes([service({ ports: [{ port: 8080, targetPort: 8080 }] })]), [`${to} unreachable`]);
  assert.equal(changes([service()], true), [`${to} unreachable`]);
  assert.equal(changes([service({ ports: [{ port: 80, targetPort: 9090 }] })]), [`${to} other-endpoint`]);
});

test('a Service keeps the address that it has, which a manifest leaves out', () => {
  const { clusterIP: _, ...spec } = service().spec;
  assert.equal(changes([{ ...service(), spec } as unknown as KubeObject]), []);
});

test('connections to a NodePort belong to its Service', () => {
  const nodePort = service({ type: 'NodePort', ports: [{ port: 80, targetPort: 8080, nodePort: 30080 }] });
  const original = { src: '172.18.0.1', srcPort: 1, dst: '172.18.0.11', dstPort: 30080 };
  const now = cluster({ services: [nodePort], flows: [{ ...FLOW, original }], seen: [] });
  assert.equal(changes([nodePort], false, now), []);
  assert.equal(changes([service()], false, now), ['172.18.0.1 > pod default/web-1:8080 unreachable']);
});

test.run();
