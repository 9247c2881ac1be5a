/**
 * ClusterNetworkPolicy between real pods on two nodes: what the conformance suite of network-policy-api asks of the tiers,
 * and the kind as kubectl sees it.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ClusterNetworkPolicy } from '../../src/api/types/cluster-network-policy.ts';
import { whyNoRawSocket } from '../../src/linux/raw-socket.ts';
import { type Cluster, dataplane, eventually, output, run } from '../lib/cluster.ts';
import { kubectl, whyNoKubectl } from '../lib/kubectl.ts';
import { type PolicyCluster, setPolicies, startPolicyCluster } from '../lib/policies/policy-cluster.ts';
import { type Expected, namespaceOf } from '../lib/policies/upstream-cases.ts';
import { testUnless } from '../lib/test-unless.ts';

const test = suite('cluster network policy');
let started: PolicyCluster;
let cluster: Cluster;

test.before(async () => {
  started = await startPolicyCluster();
  ({ cluster } = started);
});
test.after(async () => {
  await started?.down();
});

type ClusterSpec = ClusterNetworkPolicy['spec'];
const expectReachable = (expected: Expected, ports?: readonly number[]) => started.expectReachable(expected, ports);
const ns = (...values: string[]) => ({ matchExpressions: [{ key: 'ns', operator: 'In' as const, values }] });
const cnp = (name: string, spec: ClusterSpec) => ({
  apiVersion: 'policy.networking.k8s.io/v1alpha2',
  kind: 'ClusterNetworkPolicy',
  metadata: { name },
  spec,
});
/** Between namespace x and namespace y. */
const between = (tier: ClusterSpec['tier'], action: 'Accept' | 'Deny' | 'Pass', priority = 10): ClusterSpec => ({
  tier,
  priority,
  subject: { namespaces: ns('x') },
  ingress: [{ name: 'from-y', action, from: [{ namespaces: ns('y') }] }],
  egress: [{ name: 'to-y', action, to: [{ namespaces: ns('y') }] }],
});
const isBetween = (from: string, to: string) => [from, to].map(namespaceOf).sort().join() === 'x,y';
const ALLOW_Y = {
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name: 'allow-y', namespace: 'x' },
  spec: {
    podSelector: {},
    policyTypes: ['Ingress', 'Egress'],
    ingress: [{ from: [{ namespaceSelector: ns('y') }] }],
    egress: [{ to: [{ namespaceSelector: ns('y') }] }],
  },
};

test('Admin denies whatever NetworkPolicies allow, and Pass leaves it to them, or else to Baseline', async () => {
  const baseline = cnp('base', between('Baseline', 'Deny'));
  const isOpen = (from: string, to: string) =>
    isBetween(from, to) || (namespaceOf(from) !== 'x' && namespaceOf(to) !== 'x');
  await setPolicies(cnp('admin', between('Admin', 'Deny')), ALLOW_Y, baseline);
  await expectReachable((from, to) => isOpen(from, to) && !isBetween(from, to));
  await setPolicies(cnp('admin', between('Admin', 'Pass')), ALLOW_Y, baseline);
  await expectReachable(isOpen);
  await setPolicies(cnp('admin', between('Admin', 'Pass')), baseline);
  await expectReachable((from, to) => !isBetween(from, to));
});

test('the policy with the lower priority decides, also after its priority was changed', async () => {
  const denying = cnp('deny-50', between('Admin', 'Deny', 50));
  await setPolicies(denying, cnp('pass', between('Admin', 'Pass', 60)), cnp('base', between('Baseline', 'Accept')));
  await expectReachable((from, to) => !isBetween(from, to));
  await cluster.apply(cnp('pass', between('Admin', 'Pass', 40)));
  await expectReachable(() => true);
});

test('egress to networks and to nodes, with exceptions before it', async () => {
  const ip = started.ip.get('y/a')!;
  await setPolicies(
    cnp('networks', {
      tier: 'Admin',
      priority: 1,
      subject: { namespaces: ns('x') },
      egress: [
        { action: 'Accept', to: [{ networks: [`${ip}/32`] }] },
        { action: 'Deny', to: [{ networks: ['0.0.0.0/0'] }] },
      ],
    }),
  );
  await expectReachable((from, to) => namespaceOf(from) !== 'x' || to === 'y/a');
});

test('ports by number, range and name', async () => {
  const denied = (protocols: NonNullable<NonNullable<ClusterSpec['ingress']>[0]['protocols']>) =>
    cnp('ports', {
      tier: 'Admin',
      priority: 1,
      subject: { pods: { namespaceSelector: ns('x'), podSelector: { matchLabels: { pod: 'a' } } } },
      ingress: [{ action: 'Deny', from: [{ namespaces: {} }], protocols }],
    });
  for (const protocol of [
    { tcp: { destinationPort: { number: 81 } } },
    { tcp: { destinationPort: { range: { start: 81, end: 90 } } } },
    { destinationNamedPort: 'serve-81-tcp' },
  ]) {
    await setPolicies(denied([protocol]));
    await expectReachable((_, to, port) => to !== 'x/a' || port !== 81, [80, 81]);
  }
});

const noSctp = whyNoRawSocket();
testUnless(noSctp && `SCTP: raw-socket: ${noSctp}`, test)(
  'SCTP: ingress and egress by port, before Accept for all',
  async () => {
    const port81 = { sctp: { destinationPort: { number: 81 } } };
    const all = [{ namespaces: {} }];
    await setPolicies(
      cnp('sctp', {
        tier: 'Admin',
        priority: 1,
        subject: { namespaces: ns('x') },
        ingress: [{ action: 'Deny', from: [{ namespaces: ns('y') }], protocols: [port81] }],
        egress: [
          { action: 'Deny', to: [{ namespaces: ns('z') }], protocols: [port81] },
          { action: 'Accept', to: all },
        ],
      }),
    );
    const isDenied = (from: string, to: string) =>
      (namespaceOf(from) === 'y' && namespaceOf(to) === 'x') || (namespaceOf(from) === 'x' && namespaceOf(to) === 'z');
    const expected: Expected = (from, to, port) => port !== 81 || !isDenied(from, to);
    await started.expectProbes([
      { protocol: 'SCTP', ports: [80, 81], expected },
      { protocol: 'TCP', ports: [81], expected: () => true },
    ]);
  },
);

test('a namespace that gets a label is selected at once', async () => {
  await setPolicies(
    cnp('red', {
      tier: 'Admin',
      priority: 1,
      subject: { namespaces: ns('x') },
      ingress: [{ action: 'Deny', from: [{ namespaces: { matchLabels: { team: 'red' } } }] }],
    }),
  );
  await expectReachable(() => true);
  const label = (labels: object) =>
    cluster.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'z', labels } });
  await label({ ns: 'z', team: 'red' });
  await expectReachable((from, to) => namespaceOf(to) !== 'x' || namespaceOf(from) !== 'z');
  await label({ ns: 'z' });
});

test('policy explain and trace name the rule of the cluster that decides', async () => {
  await setPolicies(cnp('admin', between('Admin', 'Deny')), ALLOW_Y);
  const explained = await dataplane(['policy', 'explain', `${started.ip.get('y/a')}`, 'pod/a:80', '-n', 'x']);
  assert.is(explained.status, 1, explained.stderr);
  assert.match(explained.stdout, 'ClusterNetworkPolicy, tier Admin, priority 10: admin');
  assert.match(explained.stdout, 'rule 1 "from-y": DENIES it');
  assert.match(explained.stdout, 'matches, but another decided before');
  assert.match(explained.stdout, 'Otherwise: ClusterNetworkPolicy admin rule 1 "from-y" would have to match less');
  const traced = await dataplane(['trace', `${started.ip.get('y/a')}`, '--to', `${started.ip.get('x/a')}:80`]);
  assert.match(traced.stdout, 'ingress: denied by ClusterNetworkPolicy admin rule 1 "from-y"', traced.stderr);
});

test('policy list counts the rules’ decisions, and audit names what an audited policy would have denied', async () => {
  const audited = cnp('audited', between('Admin', 'Deny'));
  const metadata = { name: 'audited', annotations: { 'dataplane.dev/policy-audit': 'true' } };
  await setPolicies({ ...audited, metadata }, cnp('enforced', between('Baseline', 'Deny')));
  await expectReachable((from, to) => !isBetween(from, to));
  const listed = JSON.parse((await dataplane(['policy', 'list', '-o', 'json'])).stdout) as {
    policy: string;
    action: string;
    count: number;
  }[];
  const counts = (name: string) =>
    listed.filter(({ policy }) => policy === name).map(({ action, count }) => [action, count > 0]);
  assert.equal(counts('enforced'), [
    ['deny', true],
    ['deny', true],
  ]);
  assert.equal(
    counts('audited').map(([action]) => action),
    ['deny (audited)', 'deny (audited)'],
  );
  await setPolicies({ ...audited, metadata });
  // Everything is reachable without the policy too: connect until it is in force.
  const named =
    /\[n[12]\] pod y\/[abc] -> pod x\/[abc] TCP 80 would be denied by ClusterNetworkPolicy audited rule 1 "from-y"/;
  await eventually(async () => {
    await expectReachable(() => true);
    return named.test((await dataplane(['policy', 'audit'])).stdout) || undefined;
  });
});

test('advised policies allow what is tracked and nothing else; diff names the connections that a change would deny', async () => {
  await setPolicies();
  await output(dataplane(['conntrack', 'flush']));
  const connect = (from: string, to: string) =>
    run([
      'nsenter',
      `--net=/run/netns/dp-pod-${from.replace('/', '-')}`,
      'curl',
      '-s',
      '--http0.9',
      '--max-time',
      '2',
      `http://${started.ip.get(to)}/`,
    ]);
  assert.is((await connect('y/a', 'x/b')).stdout, 'open');
  const advised = await output(dataplane(['policy', 'advise', '-n', 'x']));
  const diff = await dataplane(['policy', 'diff', '-f', '-'], { input: advised });
  assert.is(diff.status, 0, `${diff.stdout}${diff.stderr}`);
  await output(dataplane(['apply', '-f', '-'], { input: advised }));
  await expectReachable(
    (from, to) => (namespaceOf(from) !== 'x' && namespaceOf(to) !== 'x') || (from === 'y/a' && to === 'x/b'),
  );
  await setPolicies();
  assert.is((await connect('y/a', 'x/b')).stdout, 'open');
  const denying = JSON.stringify(cnp('deny', between('Admin', 'Deny')));
  const changed = await dataplane(['policy', 'diff', '-f', '-'], { input: denying });
  assert.is(changed.status, 1, changed.stderr);
  assert.match(
    changed.stdout,
    'pod y/a -> pod x/b TCP 80: would be DENIED by ingress: ClusterNetworkPolicy deny rule 1 "from-y"',
  );
});

const kubectlTest = testUnless(whyNoKubectl(), test);

kubectlTest('kubectl: apply, get, describe, explain, and what is refused', async () => {
  await setPolicies();
  const config = { input: JSON.stringify(cnp('by-kubectl', between('Baseline', 'Deny', 7))) };
  assert.match(
    await kubectl(['apply', '-f', '-'], config),
    'clusternetworkpolicy.policy.networking.k8s.io/by-kubectl created',
  );
  await expectReachable((from, to) => !isBetween(from, to));
  assert.match(await kubectl(['get', 'cnp']), /NAME\s+TIER\s+PRIORITY\s+AGE\nby-kubectl\s+Baseline\s+7\s/);
  assert.match(await kubectl(['describe', 'cnp', 'by-kubectl']), /Tier:\s+Baseline/);
  assert.match(await kubectl(['explain', 'cnp.spec.priority']), /precedence of/);
  const wrong = { input: JSON.stringify(cnp('wrong', { ...between('Admin', 'Deny'), priority: 2000 })) };
  let message = '';
  await kubectl(['apply', '-f', '-'], wrong).catch((error: Error) => {
    message = error.message;
  });
  assert.match(message, 'spec.priority: Invalid value: 2000');
  await kubectl(['delete', 'cnp', 'by-kubectl']);
  await expectReachable(() => true);
});

test.run();
