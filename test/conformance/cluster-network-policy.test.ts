/** ClusterNetworkPolicy in the pipeline: tiers and actions, and where NetworkPolicies do not apply (v1alpha2, docs/policy.md). */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { auditHead, readAudited } from '../../native-free-dataplane/policies/audit-log.ts';
import { ruleText } from '../../native-free-dataplane/policies/judge.ts';
import { readRule, readRules } from '../../native-free-dataplane/policies/rules.ts';
import { formatAddress } from '../../native-free-dataplane/wire/address.ts';
import type { ClusterNetworkPolicy, ClusterPolicyRule } from '../../src/api/types/cluster-network-policy.ts';
import { A, B, GATEWAY, NODE, natNode, SERVER } from '../lib/nat-node.ts';
import { policyPod, type Spec, setPolicies } from '../lib/policies/policy-node.ts';
import type { TestNode } from '../lib/test-node.ts';

const test = suite('cluster network policy');

type ClusterSpec = ClusterNetworkPolicy['spec'];
const MAC_B = { dstMac: '0a:58:0a:f4:01:03' };
const SERVICE = '10.96.0.10';
const PODS = [policyPod(A, { app: 'client' }), policyPod(B, { app: 'server' })];
const EVERYBODY = { namespaces: {} };
const SERVER_PODS = { pods: { podSelector: { matchLabels: { app: 'server' } } } };
const CLIENT_PODS = { pods: { podSelector: { matchLabels: { app: 'client' } } } };
const ISOLATED: Spec = { podSelector: { matchLabels: { app: 'server' } }, policyTypes: ['Ingress'] };
const OPEN: Spec = { podSelector: { matchLabels: { app: 'server' } }, ingress: [{}] };

const admin = (priority: number, more: Partial<ClusterSpec>): ClusterSpec => ({
  tier: 'Admin',
  priority,
  subject: SERVER_PODS,
  ...more,
});
const baseline = (more: Partial<ClusterSpec>): ClusterSpec => ({ ...admin(0, more), tier: 'Baseline' });
const from = (action: ClusterPolicyRule['action'], more: Partial<ClusterPolicyRule> = {}) => ({
  ingress: [{ action, from: [CLIENT_PODS], ...more }],
});
const to = (action: ClusterPolicyRule['action'], peer: object, more: Partial<ClusterPolicyRule> = {}) => ({
  subject: CLIENT_PODS,
  egress: [{ action, to: [peer], ...more }],
});

const auditedOf = ({ policies }: TestNode): string[] =>
  Array.from({ length: auditHead(policies) }, (_, i) => {
    const { rule, source, target, protocol, port } = readAudited(policies, i)!;
    const ends = `${formatAddress(source)} -> ${formatAddress(target)}`;
    return `${ends} ${protocol}/${port} ${ruleText(readRule(policies, rule)!)}`;
  });

const node = (specs: Spec[], ...cluster: ClusterSpec[]): TestNode => {
  const n = natNode().service(`tcp ${SERVICE}:8080`, { endpoints: [`${B}:80`] });
  setPolicies(n, PODS, specs, { cluster, nodes: [{ labels: { pool: 'a' }, addresses: [NODE] }] });
  return n;
};
const syn = (n: TestNode, port = 80) => n.receive('a', `tcp ${A}:4000 > ${B}:${port} S seq 1`, MAC_B);

test('without a rule that matches, a cluster policy isolates nobody', () => {
  assert.is(syn(node([], admin(1, {}))), 'forwarded');
  assert.is(syn(node([], admin(1, { ingress: [{ action: 'Deny', from: [SERVER_PODS] }] }))), 'forwarded');
});

test('Admin comes before NetworkPolicies: it accepts what they deny, and denies what they allow', () => {
  assert.is(syn(node([ISOLATED], admin(1, from('Accept')))), 'forwarded');
  assert.is(syn(node([OPEN], admin(1, from('Deny')))), 'policy-ingress');
});

test('Baseline comes after NetworkPolicies: it decides only about pods that none of them isolates', () => {
  assert.is(syn(node([], baseline(from('Deny')))), 'policy-ingress');
  assert.is(syn(node([OPEN], baseline(from('Deny')))), 'forwarded');
  assert.is(syn(node([ISOLATED], baseline(from('Accept')))), 'policy-ingress');
});

test('the lower priority is asked first, and within a policy the first rule', () => {
  assert.is(syn(node([], admin(5, from('Accept')), admin(9, from('Deny')))), 'forwarded');
  assert.is(syn(node([], admin(9, from('Accept')), admin(5, from('Deny')))), 'policy-ingress');
  const both: ClusterPolicyRule[] = [
    { action: 'Accept', from: [CLIENT_PODS], protocols: [{ tcp: { destinationPort: { number: 80 } } }] },
    { action: 'Deny', from: [CLIENT_PODS] },
  ];
  assert.is(syn(node([], admin(1, { ingress: both }))), 'forwarded');
  assert.is(syn(node([], admin(1, { ingress: both })), 81), 'policy-ingress');
});

test('Pass skips the rest of the tier: NetworkPolicies decide, or else Baseline', () => {
  const passed = [admin(1, from('Pass')), admin(2, from('Deny'))];
  assert.is(syn(node([], ...passed)), 'forwarded');
  assert.is(syn(node([ISOLATED], ...passed)), 'policy-ingress');
  assert.is(syn(node([], ...passed, baseline(from('Deny')))), 'policy-ingress');
  assert.is(syn(node([OPEN], ...passed, baseline(from('Deny')))), 'forwarded');
});

test('Pass on one port leaves the other ports to the rest of the tier', () => {
  const port80 = { protocols: [{ tcp: { destinationPort: { number: 80 } } }] };
  const n = () => node([], admin(1, from('Pass', port80)), admin(2, from('Deny')));
  assert.is(syn(n()), 'forwarded');
  assert.is(syn(n(), 81), 'policy-ingress');
});

test('what the sender’s egress accepts, the receiver’s ingress still judges', () => {
  assert.is(syn(node([], admin(1, to('Accept', SERVER_PODS)), admin(2, from('Deny')))), 'policy-ingress');
});

test('egress: networks, also of pods, and nodes by their addresses, the pod’s own node too', () => {
  const ask = (n: TestNode, target: string) => n.receive('a', `tcp ${A}:4000 > ${target}:443 S seq 1`);
  assert.is(ask(node([], admin(1, to('Deny', { networks: [`${SERVER}/32`] }))), SERVER), 'policy-egress');
  assert.is(ask(node([], admin(1, to('Deny', { networks: ['10.0.0.0/8'] }))), SERVER), 'to-host');
  assert.is(syn(node([], admin(1, to('Deny', { networks: ['10.0.0.0/8'] })))), 'policy-egress');
  assert.is(ask(node([], admin(1, to('Deny', { nodes: {} }))), NODE), 'policy-egress');
  assert.is(ask(node([], admin(1, to('Deny', { nodes: { matchLabels: { pool: 'b' } } }))), NODE), 'to-host');
});

test('a NetworkPolicy does not isolate a pod from its node, a cluster policy can, and Baseline only without one', () => {
  const egress: Spec = { podSelector: { matchLabels: { app: 'client' } }, policyTypes: ['Egress'] };
  const deny = to('Deny', { nodes: {} });
  const ask = (n: TestNode) => n.receive('a', `tcp ${A}:4000 > ${NODE}:22 S seq 1`);
  assert.is(ask(node([egress])), 'to-host');
  assert.is(ask(node([egress], admin(1, deny))), 'policy-egress');
  assert.is(ask(node([egress], baseline(deny))), 'to-host');
  assert.is(ask(node([], baseline(deny))), 'policy-egress');
});

test('the node reaches its pods whatever cluster policies deny', () => {
  const n = node([], admin(1, { subject: EVERYBODY, ingress: [{ action: 'Deny', from: [EVERYBODY] }] }));
  assert.is(n.receive('host', `tcp ${GATEWAY}:5000 > ${B}:80 S seq 1`), 'forwarded');
});

test('a pod that reaches itself through a Service is judged by cluster policies, and by no NetworkPolicy', () => {
  const hairpin = (n: TestNode) => n.receive('b', `tcp ${B}:4000 > ${SERVICE}:8080 S seq 1`);
  const itself = { ingress: [{ action: 'Deny' as const, from: [SERVER_PODS] }] };
  assert.is(hairpin(node([ISOLATED])), 'forwarded');
  assert.is(hairpin(node([], admin(1, itself))), 'policy-ingress');
  assert.is(hairpin(node([ISOLATED], baseline(itself))), 'forwarded');
  assert.is(hairpin(node([], baseline(itself))), 'policy-ingress');
});

test('named ports are the receiver’s, of whichever protocol it declares', () => {
  const pods = [PODS[0]!, policyPod(B, { app: 'server' }, { ports: [{ name: 'web', protocol: 'UDP', port: 80 }] })];
  const n = (spec: ClusterSpec) => {
    const made = natNode();
    setPolicies(made, pods, [], { cluster: [spec] });
    return made;
  };
  const named = { protocols: [{ destinationNamedPort: 'web' }] };
  const udp = (made: TestNode) => made.receive('a', `udp ${A}:4000 > ${B}:80 len 8`, MAC_B);
  for (const [rule, verdict] of [
    [from('Deny', named), 'policy-ingress'],
    [to('Deny', SERVER_PODS, named), 'policy-egress'],
  ] as const) {
    assert.is(udp(n(admin(1, rule))), verdict);
    assert.is(syn(n(admin(1, rule))), 'forwarded');
  }
});

test('names of domains match nothing', () => {
  assert.is(
    syn(
      node(
        [{ podSelector: { matchLabels: { app: 'client' } }, policyTypes: ['Egress'] }],
        admin(1, to('Accept', { domainNames: ['b.example'] })),
      ),
    ),
    'policy-egress',
  );
});

test('a rule with a peer of no known kind fails closed: Accept accepts nothing, Deny and Pass deny everything', () => {
  const unknown = (action: ClusterPolicyRule['action']) =>
    node([ISOLATED], admin(1, { ingress: [{ action, from: [{}] }] }));
  assert.is(syn(unknown('Accept')), 'policy-ingress');
  assert.is(syn(node([], admin(1, { ingress: [{ action: 'Accept', from: [{}] }] }))), 'forwarded');
  for (const action of ['Deny', 'Pass'] as const) {
    assert.is(syn(node([OPEN], admin(1, { ingress: [{ action, from: [{}] }] }))), 'policy-ingress');
  }
});

test('an audited policy denies nothing: what it would deny is counted and logged with both ends', () => {
  const n = natNode();
  setPolicies(n, PODS, [ISOLATED], { audited: ['p0'] });
  assert.is(syn(n), 'forwarded');
  assert.equal(auditedOf(n), [`${A} -> ${B} 6/80 default/p0 (no rule allows it)`]);
  assert.equal(
    readRules(n.policies).map(({ count }) => count),
    [1],
  );
  setPolicies(n, PODS, [], { cluster: [admin(1, from('Deny'))], audited: ['c0'] });
  assert.is(syn(n, 81), 'forwarded');
  assert.is(auditedOf(n)[1], `${A} -> ${B} 6/81 ClusterNetworkPolicy c0 rule 1`);
});

test('an audited policy logs only what would else be allowed, and shields nothing', () => {
  const n = natNode();
  setPolicies(n, PODS, [ISOLATED], { cluster: [admin(1, from('Deny'))], audited: ['c0'] });
  assert.is(syn(n), 'policy-ingress');
  assert.equal(auditedOf(n), []);
  setPolicies(n, PODS, [], { cluster: [admin(1, from('Accept')), admin(2, from('Deny'))], audited: ['c0'] });
  assert.is(syn(n), 'policy-ingress');
});

test('a change acts on established connections, and ICMP is matched by rules without protocols alone', () => {
  const n = node([], admin(1, {}));
  syn(n);
  n.receive('b', `tcp ${B}:80 > ${A}:4000 SA seq 5 ack 2`, { dstMac: '0a:58:0a:f4:01:02' });
  setPolicies(n, PODS, [], { cluster: [admin(1, from('Deny'))] });
  assert.is(n.receive('a', `tcp ${A}:4000 > ${B}:80 A seq 2 ack 6`, MAC_B), 'policy-ingress');
  const ping = (made: TestNode) => made.receive('a', `icmp ${A} > ${B} echo-request id 7 seq 1`, MAC_B);
  assert.is(ping(n), 'policy-ingress');
  const tcp = { protocols: [{ tcp: { destinationPort: { number: 80 } } }] };
  assert.is(ping(node([], admin(1, from('Deny', tcp)))), 'forwarded');
});

test.run();
