/** Advised policies allow every connection that was seen, and nothing else; what a change of policies means for connections. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { PROTOCOL_ICMP, PROTOCOL_TCP, SERVICE_PROTOCOLS } from '../../../../native-free-dataplane/protocols.ts';
import type { NetworkPolicy } from '../../../../src/api/types/network-policy.ts';
import { type AdvisedPod, advise } from '../../../../src/observe/policy/advise.ts';
import { changedConnections } from '../../../../src/observe/policy/diff.ts';
import { type SeenConnection, seenConnections } from '../../../../src/observe/policy/seen.ts';
import { denial, type Situation, type Traffic } from '../../../lib/policies/evaluator.ts';
import { randomSituation, randomTraffic } from '../../../lib/policies/generator.ts';
import { seededRandom } from '../../../lib/seeded-random.ts';

const test = suite('policy advise');

const asSeen = ({ from, to, protocol, port }: Traffic): SeenConnection => ({
  from,
  to,
  protocol: SERVICE_PROTOCOLS[protocol] ?? PROTOCOL_ICMP,
  port,
  throughService: false,
});
const all = { isIncluded: () => true };

/** Pods are the same to a policy if namespace and labels are equal. */
function sameFor({ pods }: Situation, ip: string): string {
  const pod = pods.find((one) => one.ip === ip);
  return pod === undefined ? ip : JSON.stringify([pod.namespace, Object.entries(pod.labels).sort()]);
}
const keyOf = (situation: Situation, { from, to, protocol, port }: Traffic) =>
  `${sameFor(situation, from)} ${sameFor(situation, to)} ${protocol} ${port}`;

test('applied, the advice allows everything that was seen and nothing else', () => {
  const random = seededRandom(5).below;
  let denied = 0;
  for (let run = 0; run < 60; run++) {
    const situation = randomSituation(random);
    const names = Object.keys(situation.namespaces);
    const namespaces = Object.fromEntries(names.map((name) => [name, { 'kubernetes.io/metadata.name': name }]));
    const draw = (n: number) =>
      Array.from({ length: n }, () => randomTraffic(random, situation)).filter(({ protocol }) => protocol !== 'ICMP');
    const seen = draw(12);
    const { policies } = advise(seen.map(asSeen), situation.pods, all);
    const advised = { ...situation, namespaces, policies: [...policies], clusterPolicies: [] };
    for (const one of seen) assert.is(denial(advised, one), undefined, JSON.stringify(one));
    const known = new Set(seen.map((one) => keyOf(situation, one)));
    for (const other of draw(60)) {
      const isPod = (ip: string) => situation.pods.some((pod) => pod.ip === ip);
      if (known.has(keyOf(situation, other)) || other.from === other.to) continue;
      if (!isPod(other.from) && !isPod(other.to)) continue;
      // Of two pods with equal labels, one may have been seen to connect to the other.
      assert.is.not(denial(advised, other), undefined, JSON.stringify({ other, seen, policies }, null, 1));
      denied++;
    }
  }
  assert.ok(denied > 1000, `${denied} connections were compared`);
});

test('a pod whose labels include those of another gets a policy of its own', () => {
  const pods: AdvisedPod[] = [
    { namespace: 'x', labels: { app: 'web' }, ip: '10.244.1.2' },
    { namespace: 'x', labels: { app: 'web', tier: 'canary' }, ip: '10.244.1.3' },
  ];
  const { policies } = advise([], pods, all);
  assert.equal(
    policies.map(({ metadata, spec }) => [metadata.name, spec?.podSelector]),
    [
      ['seen-web', { matchLabels: { app: 'web' }, matchExpressions: [{ key: 'tier', operator: 'DoesNotExist' }] }],
      ['seen-web-2', { matchLabels: { app: 'web', tier: 'canary' } }],
    ],
  );
});

test('labels of a version do not count, only the chosen namespaces get policies, and ICMP is left out', () => {
  const pod = (namespace: string, ip: string, hash: string) => ({
    namespace,
    labels: { app: 'web', 'pod-template-hash': hash },
    ip,
  });
  const pods = [pod('x', '10.244.1.2', 'a'), pod('x', '10.244.1.3', 'b'), pod('y', '10.244.1.4', 'a')];
  const seen = [
    { from: '10.244.1.4', to: '10.244.1.3', protocol: PROTOCOL_TCP, port: 80, throughService: false },
    { from: '10.244.1.4', to: '10.244.1.2', protocol: PROTOCOL_ICMP, port: 0, throughService: false },
  ];
  const { policies, leftOut } = advise(seen, pods, { isIncluded: (namespace) => namespace === 'x' });
  assert.is(policies.length, 1);
  assert.equal(policies[0]?.spec, {
    podSelector: { matchLabels: { app: 'web' } },
    policyTypes: ['Ingress', 'Egress'],
    ingress: [
      {
        from: [
          {
            namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'y' } },
            podSelector: { matchLabels: { app: 'web' } },
          },
        ],
        ports: [{ protocol: 'TCP', port: 80 }],
      },
    ],
    egress: [],
  });
  assert.equal(leftOut, [seen[1]]);
});

test('connections are seen once, with the endpoint instead of the Service, and without what another node has judged', () => {
  const flow = (src: string, status: string[] = []) => ({
    protocol: PROTOCOL_TCP,
    state: 'ESTABLISHED',
    timeoutSeconds: 1,
    original: { src, srcPort: 4000, dst: '10.96.0.1', dstPort: 80 },
    reply: { src: '10.244.1.3', srcPort: 8080, dst: src, dstPort: 4000 },
    packets: [1, 1] as const,
    bytes: [1, 1] as const,
    status,
  });
  const flows = [flow('10.244.1.2', ['DST_NAT']), flow('10.244.1.2', ['DST_NAT']), flow('10.244.2.1')];
  assert.equal(seenConnections(flows, new Set(['10.244.2.1'])), [
    { from: '10.244.1.2', to: '10.244.1.3', protocol: PROTOCOL_TCP, port: 8080, throughService: true },
  ]);
});

test('diff names the connections whose verdict changes, and what denies them', () => {
  const pods = new Map(
    ['10.244.1.2', '10.244.1.3'].map((ip) => [ip, { namespace: 'x', labels: { ip }, ports: [] }] as const),
  );
  const endAt = (ip: string) => ({ text: ip, ip, pod: pods.get(ip) });
  const policy = (name: string, spec: object) => ({ metadata: { name, namespace: 'x' }, spec }) as NetworkPolicy;
  const now = { policies: [], namespaces: new Map(), nodes: [] };
  const deny = policy('deny', { podSelector: { matchLabels: { ip: '10.244.1.3' } } });
  const seen = [
    { from: '10.244.1.2', to: '10.244.1.3', protocol: PROTOCOL_TCP, port: 80, throughService: false },
    { from: '10.244.1.3', to: '10.244.1.2', protocol: PROTOCOL_TCP, port: 80, throughService: false },
  ];
  const changed = (before: typeof now, after: typeof now) =>
    changedConnections(seen, endAt, before, after).map(({ from, to, after: verdict, deniedBy }) => [
      `${from.ip} ${to.ip}`,
      verdict,
      deniedBy,
    ]);
  const then = { ...now, policies: [deny] as never };
  assert.equal(changed(now, then), [['10.244.1.2 10.244.1.3', 'denied', 'ingress: no rule of x/deny']]);
  assert.equal(changed(then, now), [['10.244.1.2 10.244.1.3', 'allowed', 'ingress: no rule of x/deny']]);
  assert.equal(changed(then, then), []);
});

test.run();
