/** Errors of other policy engines. Each test is named after its report. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ClusterNetworkPolicy } from '../../../src/api/types/cluster-network-policy.ts';
import { A, B, NODE, natNode, SERVER } from '../../lib/nat-node.ts';
import { policyPod, type Spec, setPolicies } from '../../lib/policies/policy-node.ts';
import { seededRandom } from '../../lib/seeded-random.ts';
import type { TestNode } from '../../lib/test-node.ts';

type ClusterSpec = ClusterNetworkPolicy['spec'];

const MAC_B = { dstMac: '0a:58:0a:f4:01:03' };
const SERVICE = '10.96.0.10';
const FAR = '10.244.2.2';
const PODS = [policyPod(A, { app: 'client' }), policyPod(B, { app: 'server' }), policyPod(FAR, { app: 'far' })];
const SERVER_PODS = { podSelector: { matchLabels: { app: 'server' } } };
const CLIENT_PODS = { podSelector: { matchLabels: { app: 'client' } } };
const DENY_TO_SERVER: Spec = { ...SERVER_PODS, policyTypes: ['Ingress'] };

function node(specs: readonly Spec[], more: Parameters<typeof setPolicies>[3] = {}): TestNode {
  const n = natNode().service(`tcp ${SERVICE}:80`, { endpoints: [`${B}:80`], nodePort: 31418 });
  setPolicies(n, PODS, specs, more);
  return n;
}
const syn = (n: TestNode, port = 80) => n.receive('a', `tcp ${A}:4000 > ${B}:${port} S seq 1`, MAC_B);

test('CVE-2021-25740, kubernetes #103675: whoever points a Service at a pod, the pod’s policy judges the client itself', () => {
  const n = node([DENY_TO_SERVER]);
  assert.is(n.receive('a', `tcp ${A}:4000 > ${SERVICE}:80 S`), 'policy-ingress', 'by the ClusterIP');
  assert.is(n.receive('a', `tcp ${A}:4000 > ${NODE}:31418 S`), 'policy-ingress', 'by the NodePort');
  assert.is(n.receive('host', `tcp ${SERVER}:4000 > ${NODE}:31418 S`), 'policy-ingress', 'from outside');
  assert.is(n.flows, 0);
  // Nor is a client outside taken for the node or the gateway that its packets seem to come from.
  const ofGateway = node([{ ...SERVER_PODS, ingress: [{ from: [{ ipBlock: { cidr: '10.244.1.1/32' } }] }] }]);
  assert.is(ofGateway.receive('host', `tcp ${SERVER}:4000 > ${NODE}:31418 S`), 'policy-ingress');
});

test('CVE-2021-25740: an endpoint outside the cluster is judged by the client’s own egress rules for its address', () => {
  const OUTSIDE_SERVICE = 'tcp 10.96.0.11:80';
  const egress = (cidr: string): Spec => ({ ...CLIENT_PODS, egress: [{ to: [{ ipBlock: { cidr } }] }] });
  for (const [cidr, verdict] of [
    [`${SERVER}/32`, 'to-host'],
    ['10.96.0.0/12', 'policy-egress'],
    ['203.0.113.0/24', 'policy-egress'],
  ] as const) {
    const n = node([egress(cidr)]).service(OUTSIDE_SERVICE, { endpoints: [`${SERVER}:80`] });
    assert.is(n.receive('a', `tcp ${A}:4000 > 10.96.0.11:80 S`), verdict, cidr);
  }
});

test('CVE-2026-56743 (vulndb #6367): a peer with an ipBlock and no selector selects no pods by their labels', () => {
  const block = (cidr: string): Spec => ({ ...SERVER_PODS, ingress: [{ from: [{ ipBlock: { cidr } }] }] });
  assert.is(syn(node([block('203.0.113.0/24')])), 'policy-ingress');
  assert.is(syn(node([block('10.244.9.0/24')])), 'policy-ingress');
  const both: Spec = {
    ...SERVER_PODS,
    ingress: [{ from: [{ ipBlock: { cidr: '203.0.113.0/24' } }, { podSelector: { matchLabels: { app: 'nobody' } } }] }],
  };
  assert.is(syn(node([both])), 'policy-ingress');
});

test('CVE-2025-30163: a node is recognised by its addresses, whatever labels pods have', () => {
  const onlyNodes: ClusterSpec = {
    tier: 'Admin',
    priority: 1,
    subject: { pods: CLIENT_PODS },
    egress: [
      { action: 'Accept', to: [{ nodes: { matchLabels: { pool: 'a' } } }] },
      { action: 'Deny', to: [{ networks: ['0.0.0.0/0'] }] },
    ],
  } as ClusterSpec;
  const nodes = [{ labels: { pool: 'a' }, addresses: ['172.18.0.12'] }];
  const n = natNode();
  setPolicies(n, [policyPod(A, { app: 'client' }), policyPod(B, { app: 'server', pool: 'a' })], [], {
    cluster: [onlyNodes],
    nodes,
  });
  assert.is(syn(n), 'policy-egress', 'a pod with the label of the nodes');
  assert.is(n.receive('a', `tcp ${A}:4000 > 172.18.0.13:80 S`), 'policy-egress', 'another node');
  assert.is(n.receive('a', `tcp ${A}:4000 > 172.18.0.12:80 S`), 'to-host', 'the node itself');
});

test('GO-2026-4461 (Antrea): the order of policies does not depend on how many rules they have, nor on the order they came in', () => {
  const random = seededRandom(4461);
  const policy = (priority: number, action: 'Accept' | 'Deny', rules: number): ClusterSpec =>
    ({
      tier: 'Admin',
      priority,
      subject: { pods: SERVER_PODS },
      ingress: [
        ...Array.from({ length: rules }, (_, i) => ({
          action: action === 'Accept' ? 'Deny' : 'Accept',
          from: [{ namespaces: {} }],
          protocols: [{ tcp: { destinationPort: { number: 1000 + i } } }],
        })),
        { action, from: [{ namespaces: {} }] },
      ],
    }) as ClusterSpec;
  for (let round = 0; round < 20; round++) {
    const rules = () => random.below(12);
    const [first, second, last] = [
      policy(0, 'Accept', rules()),
      policy(500, 'Deny', rules()),
      policy(1000, 'Deny', rules()),
    ];
    const accepts = [first, second, last];
    const denies = [policy(999, 'Deny', rules()), policy(1000, 'Accept', rules())];
    for (const [specs, verdict] of [
      [accepts, 'forwarded'],
      [[...accepts].reverse(), 'forwarded'],
      [[second, first, last], 'forwarded'],
      [denies, 'policy-ingress'],
      [[...denies].reverse(), 'policy-ingress'],
    ] as const) {
      assert.is(syn(node([], { cluster: specs })), verdict, `round ${round}`);
    }
  }
});

test('DNS rebinding: rules are about addresses, and default-deny covers the metadata address and every service of other nodes', () => {
  const n = node([{ podSelector: {}, policyTypes: ['Egress'] }]);
  for (const to of [
    '169.254.169.254:80',
    '172.18.0.12:10250',
    '172.18.0.12:6443',
    `${SERVER}:80`,
    `${B}:80`,
    `${FAR}:80`,
  ]) {
    const verdict = n.receive('a', `tcp ${A}:4000 > ${to} S`);
    assert.ok(['policy-egress', 'link-local-destination'].includes(verdict), `${to}: ${verdict}`);
  }
  assert.is(n.receive('a', `udp ${A}:4000 > 172.18.0.12:10053 len 40`), 'policy-egress');
  assert.is(n.flows, 0);
});

test.run();
