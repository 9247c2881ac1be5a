/** Compiled policies answer as the API's text does. The full run: POLICY_SETS=200000 node dist/test/run.js compile/policies */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { findPod, identityOfAddress, isAllowed } from '../../../native-free-dataplane/policies/lookup.ts';
import {
  activeImage,
  createPolicies,
  imageAt,
  PodSlot,
  type PolicyTable,
  policyBytes,
  trafficKey,
} from '../../../native-free-dataplane/policies/table.ts';
import { writePolicies } from '../../../native-free-dataplane/policies/writer.ts';
import { PROTOCOL_ICMP, SERVICE_PROTOCOLS } from '../../../native-free-dataplane/protocols.ts';
import { addressWords } from '../../../native-free-dataplane/wire/address.ts';
import type { NetworkPolicy } from '../../../src/api/types/network-policy.ts';
import { compilePolicies } from '../../../src/compile/policies/compile-policies.ts';
import { parsePolicy } from '../../../src/compile/policies/parse-policy.ts';
import { denial, type Situation, type Traffic } from '../../lib/policies/evaluator.ts';
import { randomSituation, randomTraffic } from '../../lib/policies/generator.ts';
import { seededRandom } from '../../lib/seeded-random.ts';

const test = suite('compiled policies');
const SETS = Number(process.env.POLICY_SETS ?? 1500);
const CONNECTIONS = 40;

const options = { halfWords: 65536, secret: Int32Array.of(1, 2, 3, 4) };
const table = createPolicies(new ArrayBuffer(policyBytes(options)), options);

function compile({ policies, namespaces, pods }: Situation): void {
  const contents = compilePolicies({
    policies: policies.map(parsePolicy),
    namespaces: new Map(Object.entries(namespaces)),
    pods: pods.map((pod) => ({
      ...pod,
      ports: pod.ports.map((port) => ({ ...port, protocol: SERVICE_PROTOCOLS[port.protocol]! })),
    })),
    dnsPort: undefined,
  });
  writePolicies(table, contents);
}

/** What the table answers, asked as the pipeline asks it. */
function answer(policies: PolicyTable, { from, to, protocol, port }: Traffic): ReturnType<typeof denial> {
  if (from === to) return undefined;
  const { words } = policies;
  const image = imageAt(policies, activeImage(policies));
  const key = trafficKey(SERVICE_PROTOCOLS[protocol] ?? PROTOCOL_ICMP, port);
  const slot = (ip: string) => findPod(policies, image, addressWords(ip));
  const identity = (ip: string) =>
    slot(ip) < 0 ? identityOfAddress(policies, image, addressWords(ip)) : words[slot(ip) + PodSlot.IDENTITY]!;
  const passes = (subject: string, word: number, peer: string) => {
    const group = slot(subject) < 0 ? 0 : words[slot(subject) + word]!;
    return group === 0 || isAllowed(policies, image, group, identity(peer), key);
  };
  if (!passes(from, PodSlot.EGRESS, to)) return 'egress';
  return passes(to, PodSlot.INGRESS, from) ? undefined : 'ingress';
}

test(`${SETS} random sets of policies: every connection is judged as by the API's text`, () => {
  const random = seededRandom(20261128).below;
  const seen = { egress: 0, ingress: 0, allowed: 0 };
  for (let set = 0; set < SETS; set++) {
    const situation = randomSituation(random);
    compile(situation);
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

const pod = (namespace: string, ip: string, labels = {}, ports: Situation['pods'][0]['ports'] = []) => ({
  namespace,
  ip,
  labels,
  ports,
});

test('contents that do not fit are refused, and the policies in force stay', () => {
  const small = { halfWords: 64, secret: options.secret };
  const tiny = createPolicies(new ArrayBuffer(policyBytes(small)), small);
  const pods = [pod('x', '10.244.1.2'), pod('x', '10.244.1.3')].map((one) => ({ ...one, ports: [] }));
  const input = { namespaces: new Map(), pods, dnsPort: undefined };
  const deny = {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'deny', namespace: 'x' },
  };
  const policies = [parsePolicy({ ...deny, spec: { podSelector: {} } } as unknown as NetworkPolicy)];
  writePolicies(tiny, compilePolicies({ ...input, policies }));
  const before = activeImage(tiny);
  const many = Array.from({ length: 50 }, (_, i) => ({ ...pods[0]!, ip: `10.244.1.${10 + i}` }));
  assert.throws(() => writePolicies(tiny, compilePolicies({ ...input, policies, pods: many })), /too small: \d+ words/);
  assert.is(activeImage(tiny), before);
  assert.is(answer(tiny, { from: '10.244.1.3', to: '10.244.1.2', protocol: 'TCP', port: 80 }), 'ingress');
});

test.run();
