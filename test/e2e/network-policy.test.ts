/**
 * NetworkPolicy between real pods on two nodes: the cases of Kubernetes' own suite (test/e2e/network/netpol), with its
 * namespaces x, y, z and its pods a, b, c that listen on ports 80 and 81, and what it expects of each pair.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { NetworkPolicy } from '../../src/api/types/network-policy.ts';
import { connectInNamespace } from '../../src/linux/connect.ts';
import { type Cluster, dataplane, output, run } from '../lib/cluster.ts';
import {
  type Expected,
  nameOf,
  namespaceOf,
  type PolicyCluster,
  setPolicies,
  startPolicyCluster,
} from '../lib/policies/policy-cluster.ts';

const test = suite('network policy');
let started: PolicyCluster;
let cluster: Cluster;
/** Address of each pod, by its name such as `x/a`. */
let ip: ReadonlyMap<string, string>;

type Spec = NonNullable<NetworkPolicy['spec']>;

test.before(async () => {
  started = await startPolicyCluster();
  ({ cluster, ip } = started);
});
test.after(async () => {
  await cluster?.down();
});

const policy = (namespace: string, name: string, spec: Spec) => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { namespace, name },
  spec,
});

const expectReachable = (expected: Expected, ports?: readonly number[]) => started.expectReachable(expected, ports);

const pods = (...names: string[]) => ({
  podSelector: { matchExpressions: [{ key: 'pod', operator: 'In' as const, values: names }] },
});
const ns = (...names: string[]) => ({
  namespaceSelector: { matchExpressions: [{ key: 'ns', operator: 'In' as const, values: names }] },
});
const A: Spec = { podSelector: { matchLabels: { pod: 'a' } } };
const toXA = (to: string) => to === 'x/a';

const CASES: readonly [
  name: string,
  policies: readonly ReturnType<typeof policy>[],
  expected: Expected,
  ports?: number[],
][] = [
  [
    "should support a 'default-deny-ingress' policy",
    [policy('x', 'deny-ingress', { podSelector: {}, policyTypes: ['Ingress'] })],
    (_, to) => namespaceOf(to) !== 'x',
  ],
  [
    "should support a 'default-deny-all' policy",
    [policy('x', 'deny-all', { podSelector: {}, policyTypes: ['Ingress', 'Egress'] })],
    (from, to) => namespaceOf(from) !== 'x' && namespaceOf(to) !== 'x',
  ],
  [
    'should enforce policy to allow traffic from pods within server namespace based on PodSelector',
    [policy('x', 'allow', { ...A, ingress: [{ from: [pods('b')] }] })],
    (from, to) => !toXA(to) || from === 'x/b',
  ],
  [
    'should enforce policy to allow ingress traffic for a target',
    [policy('x', 'deny', { podSelector: {}, policyTypes: ['Ingress'] }), policy('x', 'allow', { ...A, ingress: [{}] })],
    (_, to) => namespaceOf(to) !== 'x' || toXA(to),
  ],
  [
    'should enforce policy to allow ingress traffic from pods in all namespaces',
    [policy('x', 'allow', { ...A, ingress: [{ from: [{ namespaceSelector: {} }] }] })],
    () => true,
  ],
  [
    'should enforce policy to allow traffic only from a different namespace, based on NamespaceSelector',
    [policy('x', 'allow', { ...A, ingress: [{ from: [ns('y')] }] })],
    (from, to) => !toXA(to) || namespaceOf(from) === 'y',
  ],
  [
    'should enforce policy based on PodSelector with MatchExpressions',
    [policy('x', 'allow', { ...A, ingress: [{ from: [pods('b')] }] })],
    (from, to) => !toXA(to) || from === 'x/b',
  ],
  [
    'should enforce policy based on PodSelector or NamespaceSelector',
    [policy('x', 'allow', { ...A, ingress: [{ from: [pods('b'), ns('y')] }] })],
    (from, to) => !toXA(to) || from === 'x/b' || namespaceOf(from) === 'y',
  ],
  [
    'should enforce policy based on PodSelector and NamespaceSelector',
    [policy('x', 'allow', { ...A, ingress: [{ from: [{ ...pods('b'), ...ns('y') }] }] })],
    (from, to) => !toXA(to) || from === 'y/b',
  ],
  [
    'should enforce policy based on Multiple PodSelectors and NamespaceSelectors',
    [policy('x', 'allow', { ...A, ingress: [{ from: [{ ...pods('b', 'c'), ...ns('y', 'z') }] }] })],
    (from, to) => !toXA(to) || (namespaceOf(from) !== 'x' && nameOf(from) !== 'a'),
  ],
  [
    'should enforce policy based on Ports',
    [policy('x', 'allow', { ...A, ingress: [{ from: [ns('y')], ports: [{ port: 81 }] }] })],
    (from, to, port) => !toXA(to) || (namespaceOf(from) === 'y' && port === 81),
    [80, 81],
  ],
  [
    'should enforce multiple, stacked policies with overlapping podSelectors',
    [
      policy('x', 'allow-81', { ...A, ingress: [{ from: [ns('y')], ports: [{ port: 81 }] }] }),
      policy('x', 'allow-80', { ...A, ingress: [{ from: [ns('y')], ports: [{ port: 80 }] }] }),
    ],
    (from, to) => !toXA(to) || namespaceOf(from) === 'y',
    [80, 81],
  ],
  [
    'should support allow-all policy',
    [
      policy('x', 'deny', { podSelector: {}, policyTypes: ['Ingress'] }),
      policy('x', 'all', { podSelector: {}, ingress: [{}] }),
    ],
    () => true,
  ],
  [
    'should allow ingress access on one named port',
    [policy('x', 'allow', { ...A, ingress: [{ ports: [{ port: 'serve-81-tcp' }] }] })],
    (_, to, port) => !toXA(to) || port === 81,
    [80, 81],
  ],
  [
    'should allow ingress access from namespace on one named port',
    [policy('x', 'allow', { ...A, ingress: [{ from: [ns('y')], ports: [{ port: 'serve-80-tcp' }] }] })],
    (from, to, port) => !toXA(to) || (namespaceOf(from) === 'y' && port === 80),
    [80, 81],
  ],
  [
    'should allow egress access on one named port',
    [policy('x', 'allow', { ...A, policyTypes: ['Egress'], egress: [{ ports: [{ port: 'serve-80-tcp' }] }] })],
    (from, _, port) => from !== 'x/a' || port === 80,
    [80, 81],
  ],
  [
    'should enforce egress policy allowing traffic to a server in a different namespace based on PodSelector and NamespaceSelector',
    [policy('x', 'allow', { ...A, policyTypes: ['Egress'], egress: [{ to: [{ ...pods('b'), ...ns('y') }] }] })],
    (from, to) => from !== 'x/a' || to === 'y/b',
  ],
  [
    'should enforce multiple ingress policies with ingress allow-all policy taking precedence',
    [
      policy('x', 'b', { ...A, ingress: [{ from: [pods('b')] }] }),
      policy('x', 'all', { podSelector: {}, ingress: [{}] }),
    ],
    () => true,
  ],
  [
    'should enforce egress and ingress policies of both ends of a connection',
    [
      policy('x', 'egress', { ...A, policyTypes: ['Egress'], egress: [{ to: [ns('y')] }] }),
      policy('y', 'ingress', { ...A, ingress: [{ from: [ns('z')] }] }),
    ],
    (from, to) => (from !== 'x/a' || namespaceOf(to) === 'y') && (to !== 'y/a' || namespaceOf(from) === 'z'),
  ],
  [
    'should support denying of egress traffic on the client side',
    [policy('x', 'deny-egress', { ...A, policyTypes: ['Egress'], egress: [] })],
    (from) => from !== 'x/a',
  ],
  [
    'should enforce policies with ranges of ports (endPort)',
    [policy('x', 'range', { ...A, policyTypes: ['Egress'], egress: [{ ports: [{ port: 79, endPort: 80 }] }] })],
    (from, _, port) => from !== 'x/a' || port === 80,
    [80, 81],
  ],
];

for (const [name, policies, expected, ports] of CASES) {
  test(name, async () => {
    await setPolicies(...policies);
    await expectReachable(expected, ports);
  });
}

test('should enforce policy to allow traffic to a pod by CIDR, and except', async () => {
  const block = { cidr: '10.244.0.0/16', except: [`${ip.get('x/b')}/32`] };
  await setPolicies(policy('x', 'cidr', { ...A, ingress: [{ from: [{ ipBlock: block }] }] }));
  await expectReachable((from, to) => !toXA(to) || from !== 'x/b');
});

test('should enforce updated policy, and stop enforcing a deleted one', async () => {
  await setPolicies(policy('x', 'changing', { ...A, policyTypes: ['Ingress'] }));
  await expectReachable((_, to) => !toXA(to));
  await cluster.apply(policy('x', 'changing', { ...A, ingress: [{ from: [ns('z')] }] }));
  await expectReachable((from, to) => !toXA(to) || namespaceOf(from) === 'z');
  await setPolicies();
  await expectReachable(() => true);
});

test('should allow ingress access from an updated pod, and from an updated namespace', async () => {
  await setPolicies(
    policy('x', 'labels', {
      ...A,
      ingress: [
        {
          from: [
            { namespaceSelector: { matchLabels: { team: 'red' } }, podSelector: { matchLabels: { role: 'dev' } } },
          ],
        },
      ],
    }),
  );
  await expectReachable((_, to) => !toXA(to));
  const label = (kind: string, name: string, namespace: string | undefined, labels: object) =>
    cluster.apply({ apiVersion: 'v1', kind, metadata: { name, ...(namespace && { namespace }), labels } });
  await label('Namespace', 'y', undefined, { ns: 'y', team: 'red' });
  await expectReachable((_, to) => !toXA(to));
  const { items } = await cluster.get<{ items: { metadata: { name: string; labels: object } }[] }>('pods', '-n', 'y');
  const b = items.find(({ metadata }) => metadata.name === 'b')!;
  await output(
    dataplane(['apply', '-f', '-'], {
      input: JSON.stringify({
        ...b,
        metadata: { name: 'b', namespace: 'y', labels: { pod: 'b', role: 'dev' } },
        status: undefined,
      }),
    }),
  );
  await expectReachable((from, to) => !toXA(to) || from === 'y/b');
});

test('a connection that was established before a policy ends with it, and goes on when it is removed', async () => {
  await setPolicies();
  const socket = connectInNamespace('/run/netns/dp-pod-y-b', ip.get('x/b')!, 80);
  await new Promise((resolve) => socket.once('data', resolve));
  socket.destroy();
  const before = await dropsOf('policy-ingress');
  await setPolicies(policy('x', 'deny', { podSelector: {}, policyTypes: ['Ingress'] }));
  await expectReachable((_, to) => namespaceOf(to) !== 'x');
  assert.ok((await dropsOf('policy-ingress')) > before, 'nothing was counted');
});

async function dropsOf(verdict: string): Promise<number> {
  const { nodes } = await cluster.status();
  return nodes.flatMap(({ workers }) => workers).reduce((sum, { drops }) => sum + (drops[verdict] ?? 0), 0);
}

test('policy explain names the rule that decides, and trace the verdict', async () => {
  await setPolicies(
    policy('x', 'deny', { podSelector: {}, policyTypes: ['Ingress'] }),
    policy('x', 'allow-b', { ...A, ingress: [{ from: [pods('b')], ports: [{ port: 80 }] }] }),
  );
  const explain = (...words: string[]) => dataplane(['policy', 'explain', ...words, '-n', 'x']);
  const allowed = await explain('pod/b', 'pod/a:80');
  assert.is(allowed.status, 0, allowed.stderr);
  assert.match(allowed.stdout, 'pod x/b -> pod x/a TCP 80: allowed');
  assert.match(allowed.stdout, 'rule 1: allows it');
  const denied = await explain('pod/c', 'pod/a:80');
  assert.is(denied.status, 1);
  assert.match(
    denied.stdout,
    /rule 1 of x\/allow-b would have to match pod x\/c with pod=c \(it has pods pod in \(b\) in x\)/,
  );
  const traced = await dataplane(['trace', 'pod/c', '--to', `${ip.get('x/a')}:80`, '-n', 'x', '-o', 'json']);
  const [at] = JSON.parse(traced.stdout) as {
    verdict: string;
    wouldDiffer: string[];
    steps: { stage: string; row?: { text: string[] } }[];
  }[];
  assert.is(at?.verdict, 'policy-ingress', traced.stderr);
  const decided = 'x/allow-b, x/deny (no rule allows it)';
  assert.equal(at?.steps.find(({ stage }) => stage === 'network policy')?.row?.text, [
    'egress: no policy decides',
    `ingress: denied by ${decided}`,
  ]);
  assert.match(
    at?.wouldDiffer[0] ?? '',
    /^a rule of x\/allow-b, x\/deny would have to allow ingress from pod x\/c to pod x\/a/,
  );
});

test('kubelet’s probes and the node itself reach isolated pods; the outside does not', async () => {
  await setPolicies(policy('x', 'deny', { podSelector: {}, policyTypes: ['Ingress', 'Egress'] }));
  const fetch = (place: string) =>
    run([
      'nsenter',
      `--net=/run/netns/${place}`,
      'curl',
      '-s',
      '--http0.9',
      '--max-time',
      '1',
      `http://${ip.get('x/a')}/`,
    ]);
  assert.is((await fetch('dp-node-n1')).stdout, 'open');
  assert.is((await fetch('dp-node-n2')).status, 28, 'another node is a peer like any address');
});

test.run();
