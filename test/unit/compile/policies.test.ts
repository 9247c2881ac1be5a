/**
 * Compiled policies answer as the API's text does. The full run: npm run test:policies, or with another seed and count
 * POLICY_SEED=7 POLICY_SETS=5000 node dist/test/run.js compile/policies
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { judgeByTable, ruleText } from '../../../native-free-dataplane/policies/judge.ts';
import type { NumberedRule } from '../../../native-free-dataplane/policies/rules.ts';
import {
  activeImage,
  createPolicies,
  type PolicyTable,
  policyBytes,
} from '../../../native-free-dataplane/policies/table.ts';
import { PolicyWriter, writePolicies } from '../../../native-free-dataplane/policies/writer.ts';
import { PROTOCOL_ICMP, SERVICE_PROTOCOLS } from '../../../native-free-dataplane/protocols.ts';
import { addressWords } from '../../../native-free-dataplane/wire/address.ts';
import type { NetworkPolicy } from '../../../src/api/types/network-policy.ts';
import type { KubeObject } from '../../../src/api/types/objects.ts';
import { compilePolicies, PolicyCompiler, type PolicyInput } from '../../../src/compile/policies/compile-policies.ts';
import { policyRules } from '../../../src/compile/policies/parse-cluster-policy.ts';
import { explainPolicies, ruleName } from '../../../src/observe/policy/explain.ts';
import { times } from '../../lib/long-form.ts';
import { denial, type Situation, type Traffic } from '../../lib/policies/evaluator.ts';
import { type Random, randomSituation, randomTraffic } from '../../lib/policies/generator.ts';
import { seededRandom } from '../../lib/seeded-random.ts';

const test = suite('compiled policies');
const SETS = Number(process.env.POLICY_SETS ?? times(500, 3000));
const SEED = Number(process.env.POLICY_SEED ?? 20261128);
const CONNECTIONS = 40;

const options = { halfWords: 65536, secret: Int32Array.of(1, 2, 3, 4) };
const table = createPolicies(new ArrayBuffer(policyBytes(options)), options);

/** The same object for the same pod or policy, as the agent passes them. */
function remember<K extends object, V>(make: (from: K) => V): (from: K) => V {
  const known = new WeakMap<K, V>();
  return (from) => {
    const found = known.get(from) ?? make(from);
    known.set(from, found);
    return found;
  };
}
const parsed = remember(policyRules);
const addressed = remember((pod: Situation['pods'][0]) => ({
  ...pod,
  ports: pod.ports.map((port) => ({ ...port, protocol: SERVICE_PROTOCOLS[port.protocol]! })),
}));

const inputOf = ({ policies, clusterPolicies, namespaces, pods, nodes }: Situation): PolicyInput => ({
  policies: [...policies, ...clusterPolicies].map(parsed),
  namespaces: new Map(Object.entries(namespaces)),
  pods: pods.map(addressed),
  nodes,
  dnsPort: undefined,
});

const connectionOf = ({ from, to, protocol, port }: Traffic) => ({
  source: addressWords(from),
  target: addressWords(to),
  protocol: SERVICE_PROTOCOLS[protocol] ?? PROTOCOL_ICMP,
  port,
});

/** What the table answers. */
function answer(policies: PolicyTable, traffic: Traffic): ReturnType<typeof denial> {
  const { verdict } = judgeByTable(policies, connectionOf(traffic));
  return verdict === 'allowed' ? undefined : verdict === 'policy-egress' ? 'egress' : 'ingress';
}

test(`${SETS} random sets of policies: every connection is judged as by the API's text`, () => {
  const random = seededRandom(SEED).below;
  const seen = { egress: 0, ingress: 0, allowed: 0 };
  for (let set = 0; set < SETS; set++) {
    const situation = randomSituation(random);
    writePolicies(table, compilePolicies(inputOf(situation)));
    for (let i = 0; i < CONNECTIONS; i++) {
      const traffic = randomTraffic(random, situation);
      const expected = denial(situation, traffic);
      seen[expected ?? 'allowed']++;
      const got = answer(table, traffic);
      if (got !== expected) {
        assert.unreachable(`${JSON.stringify({ traffic, expected, got, ...situation }, null, 1)}`);
      }
    }
  }
  // The generator must not answer everything alike.
  for (const [verdict, count] of Object.entries(seen)) assert.ok(count > SETS * 2, `${verdict}: ${count}`);
});

/** The situation with the audited policy of this rule enforced; for isolation, with all audited NetworkPolicies. */
function enforcing(situation: Situation, { policies, tier, index }: NumberedRule): Situation {
  const plain = <T extends KubeObject>(object: T): T => ({
    ...object,
    metadata: { ...object.metadata, annotations: {} },
  });
  const isMeant = ({ metadata }: KubeObject) =>
    index === 0 || policies === metadata.name || policies === `${metadata.namespace}/${metadata.name}`;
  return tier === 'namespaced'
    ? { ...situation, policies: situation.policies.map((one) => (isMeant(one) ? plain(one) : one)) }
    : { ...situation, clusterPolicies: situation.clusterPolicies.map((one) => (isMeant(one) ? plain(one) : one)) };
}

test('explanations and tables name the same rule for every connection, of every tier', () => {
  const random = seededRandom(99).below;
  const seen: Record<string, number> = {};
  let audits = 0;
  for (let set = 0; set < 200; set++) {
    const situation = randomSituation(random);
    writePolicies(table, compilePolicies(inputOf(situation)));
    const { policies, clusterPolicies, nodes, pods } = situation;
    const objects = {
      policies: [...policies, ...clusterPolicies],
      namespaces: new Map(Object.entries(situation.namespaces)),
      nodes,
    };
    const end = (ip: string) => ({ text: ip, ip, pod: pods.filter((one) => one.ip === ip).map(addressed)[0] });
    for (let i = 0; i < CONNECTIONS; i++) {
      const traffic = randomTraffic(random, situation);
      const question = { ...connectionOf(traffic), from: end(traffic.from), to: end(traffic.to) };
      const { directions, verdict } = explainPolicies(question, objects);
      const judged = judgeByTable(table, connectionOf(traffic));
      assert.is(verdict === 'denied', judged.verdict !== 'allowed');
      for (const { direction, decidedBy, isolated } of directions) {
        const { rule, audited } = judged[direction];
        if (audited) {
          audits++;
          assert.is(denial(enforcing(situation, rule!), traffic) !== undefined, true);
          continue;
        }
        if (rule !== undefined) seen[`${rule.tier} ${rule.index === 0 ? 'isolation' : 'rule'}`] ??= 0;
        if (rule === undefined) assert.equal([decidedBy.length, isolated], [0, false]);
        else if (rule.index === 0) assert.ok(isolated);
        else if (rule.tier === 'baseline' && decidedBy.length === 0)
          continue; // Passed by the last tier.
        else {
          const names = decidedBy.map(({ policy, rule: one }) => ruleName(policy, one));
          assert.ok(names.includes(ruleText(rule)), `${ruleText(rule)} is not among ${names.join(', ')}`);
        }
      }
    }
  }
  assert.ok(audits > 50, `${audits} audited connections`);
  assert.equal(Object.keys(seen).sort(), ['admin rule', 'baseline rule', 'namespaced isolation', 'namespaced rule']);
});

/** Some of the policies and pods of one situation, and some of another: names and addresses stay unique. */
function mixed(random: Random, one: Situation, other: Situation): Situation {
  const half = <T>(key: (item: T) => string, a: readonly T[], b: readonly T[]): T[] => [
    ...new Map([...a, ...b].filter(() => random(100) < 60).map((item) => [key(item), item])).values(),
  ];
  const policies = half(({ metadata }) => `${metadata.namespace}/${metadata.name}`, one.policies, other.policies);
  const clusterPolicies = half(({ metadata }) => metadata.name, one.clusterPolicies, other.clusterPolicies);
  const pods = half(({ ip }) => ip, one.pods, other.pods);
  // Labels of namespaces and nodes change less often than policies and pods.
  const nodes = random(4) === 0 ? one.nodes.filter(() => random(2) === 0) : one.nodes;
  return { policies, clusterPolicies, nodes, pods, namespaces: random(5) === 0 ? other.namespaces : one.namespaces };
}

test('after any changes a compiler answers as one that has seen nothing before', () => {
  const random = seededRandom(7).below;
  for (let run = 0; run < 30; run++) {
    const compiler = new PolicyCompiler();
    const writer = new PolicyWriter(table);
    let situation = randomSituation(random);
    for (let change = 0; change < 12; change++) {
      situation = mixed(random, situation, randomSituation(random));
      if (situation.pods.length === 0) continue;
      writer.write(compiler.compile(inputOf(situation)));
      for (let i = 0; i < CONNECTIONS; i++) {
        const traffic = randomTraffic(random, situation);
        const [got, expected] = [answer(table, traffic), denial(situation, traffic)];
        if (got !== expected) assert.unreachable(JSON.stringify({ traffic, expected, got, ...situation }, null, 1));
      }
    }
  }
});

test('a change makes anew what it affects, and nothing else', () => {
  const compiler = new PolicyCompiler();
  const pods = Array.from({ length: 200 }, (_, i) =>
    addressed(pod(`ns-${i % 10}`, `10.244.1.${i + 1}`, { app: `app-${i % 4}` })),
  );
  const allow = (namespace: string, port: number) =>
    policyRules({
      metadata: { name: 'p', namespace },
      spec: { podSelector: { matchLabels: { app: 'app-1' } }, ingress: [{ ports: [{ port }] }] },
    } as unknown as NetworkPolicy);
  const policies = Array.from({ length: 10 }, (_, i) => allow(`ns-${i}`, 80));
  const namespaces = new Map(Array.from({ length: 10 }, (_, i) => [`ns-${i}`, {}]));
  const input = { namespaces, nodes: [], dnsPort: undefined };
  const compile = () => {
    const { pods: rows, groups } = compiler.compile({ ...input, policies, pods: [...pods] });
    return { rows: [...rows], groups: [...groups] };
  };
  const isNew = <T>(before: readonly T[], after: readonly T[]) => after.filter((one) => !before.includes(one)).length;
  const first = compile();
  const again = compile();
  assert.equal([isNew(first.rows, again.rows), isNew(first.groups, again.groups)], [0, 0]);
  policies[3] = allow('ns-3', 81);
  const changed = compile();
  const selected = pods.filter(({ namespace, labels }) => namespace === 'ns-3' && labels.app === 'app-1').length;
  assert.ok(selected > 5);
  assert.equal([isNew(again.rows, changed.rows), isNew(again.groups, changed.groups)], [selected, 1]);
  pods[17] = addressed(pod('ns-5', '10.244.1.18', { app: 'app-2' }));
  const moved = compile();
  assert.equal([isNew(changed.rows, moved.rows), isNew(changed.groups, moved.groups)], [1, 0]);
});

const pod = (namespace: string, ip: string, labels = {}, ports: Situation['pods'][0]['ports'] = []) => ({
  namespace,
  ip,
  labels,
  ports,
});

test('contents that do not fit are refused, and the policies in force stay', () => {
  const small = { halfWords: 128, maxRules: 4, secret: options.secret };
  const tiny = createPolicies(new ArrayBuffer(policyBytes(small)), small);
  const pods = [pod('x', '10.244.1.2'), pod('x', '10.244.1.3')].map((one) => ({ ...one, ports: [] }));
  const input = { namespaces: new Map(), pods, nodes: [], dnsPort: undefined };
  const deny = {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'deny', namespace: 'x' },
  };
  const policies = [policyRules({ ...deny, spec: { podSelector: {} } } as unknown as NetworkPolicy)];
  writePolicies(tiny, compilePolicies({ ...input, policies }));
  const before = activeImage(tiny);
  const many = Array.from({ length: 50 }, (_, i) => ({ ...pods[0]!, ip: `10.244.1.${10 + i}` }));
  assert.throws(() => writePolicies(tiny, compilePolicies({ ...input, policies, pods: many })), /too small: \d+ words/);
  assert.is(activeImage(tiny), before);
  assert.is(answer(tiny, { from: '10.244.1.3', to: '10.244.1.2', protocol: 'TCP', port: 80 }), 'ingress');
});

test.run();
