/**
 * Compiled tables against an engine that nobody here wrote: that of cyclonus, which Kubernetes' network policy group tests
 * clusters with (policy-oracle/main.go). Its generator's cases step by step, and random policies of ours.
 *
 * Two differences are known, and left out of the comparison:
 * - a pod that connects to itself: there it is judged like any other; here it is allowed, and never leaves the pod.
 * - NotIn on a label that an object does not have: there it does not match; Kubernetes' own selectors match it
 *   (apimachinery pkg/labels/selector.go, Requirement.Matches), and so do ours. Random selectors with NotIn get Exists
 *   for the same key as well, for which both agree.
 */
import { spawnSync } from 'node:child_process';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { judgeByTable } from '../../native-free-dataplane/policies/judge.ts';
import { createPolicies, policyBytes } from '../../native-free-dataplane/policies/table.ts';
import { PolicyWriter } from '../../native-free-dataplane/policies/writer.ts';
import { SERVICE_PROTOCOLS } from '../../native-free-dataplane/protocols.ts';
import { addressWords } from '../../native-free-dataplane/wire/address.ts';
import type { NetworkPolicy } from '../../src/api/types/network-policy.ts';
import type { LabelSelector } from '../../src/api/types/objects.ts';
import { PolicyCompiler } from '../../src/compile/policies/compile-policies.ts';
import { parsePolicy } from '../../src/compile/policies/parse-policy.ts';
import { clientTest } from '../lib/client-program.ts';
import type { EvaluatedPod, Traffic } from '../lib/policies/evaluator.ts';
import { randomSituation, randomTraffic } from '../lib/policies/generator.ts';
import { seededRandom } from '../lib/seeded-random.ts';

const test = suite('policy oracle');
const SETS = Number(process.env.POLICY_ORACLE_SETS ?? 300);
const SEED = Number(process.env.POLICY_SEED ?? 1);
const CONNECTIONS = 40;

interface Judged extends Traffic {
  readonly verdict: 'allowed' | 'egress' | 'ingress';
}

interface OracleSituation {
  readonly name: string;
  readonly namespaces: Record<string, Record<string, string>>;
  readonly pods: readonly EvaluatedPod[];
  readonly policies: readonly NetworkPolicy[] | null;
}

// Unrelated situations leave more behind in the compiler than changes of one cluster do.
const options = { halfWords: 1 << 20, secret: Int32Array.of(1, 2, 3, 4) };
const table = createPolicies(new ArrayBuffer(policyBytes(options)), options);
const writer = new PolicyWriter(table);
const compiler = new PolicyCompiler();

/** Puts the situation in force as a change of the one before; answers as the table does. */
function inForce({ namespaces, pods, policies }: OracleSituation): (traffic: Traffic) => Judged['verdict'] {
  writer.write(
    compiler.compile({
      policies: (policies ?? []).map(parsePolicy),
      namespaces: new Map(Object.entries(namespaces)),
      pods: pods.map((pod) => ({
        ...pod,
        ports: pod.ports.map((port) => ({ ...port, protocol: SERVICE_PROTOCOLS[port.protocol]! })),
      })),
      nodes: [],
      dnsPort: undefined,
    }),
  );
  return ({ from, to, protocol, port }) => {
    const connection = {
      source: addressWords(from),
      target: addressWords(to),
      protocol: SERVICE_PROTOCOLS[protocol]!,
      port,
    };
    const { verdict } = judgeByTable(table, connection);
    return verdict === 'allowed' ? 'allowed' : verdict === 'policy-egress' ? 'egress' : 'ingress';
  };
}

/** Runs the oracle. @returns the lines that it prints, parsed */
function ask<T>(program: string, mode: 'cases' | 'judge', input = ''): T[] {
  const { status, stdout, stderr } = spawnSync(program, [mode], { input, encoding: 'utf8', maxBuffer: 1 << 30 });
  assert.is(status, 0, stderr);
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as T);
}

clientTest(test, 'POLICY_ORACLE', "every verdict about the cases of cyclonus' generator", async (program) => {
  const seen = { allowed: 0, egress: 0, ingress: 0 };
  const steps = ask<OracleSituation & { traffic: Judged[] }>(program, 'cases');
  assert.ok(steps.length > 200, `${steps.length} steps`);
  for (const step of steps) {
    const answer = inForce(step);
    for (const traffic of step.traffic) {
      const got = answer(traffic);
      if (traffic.from === traffic.to) assert.is(got, 'allowed');
      else if (got !== traffic.verdict) assert.unreachable(JSON.stringify({ ...step, traffic, got }, null, 1));
      else seen[got]++;
    }
  }
  for (const [verdict, count] of Object.entries(seen)) assert.ok(count > 1000, `${verdict}: ${count}`);
});

/** The policy as both engines agree on it, with the defaults that the API server sets. */
function normalized({ metadata, spec = {}, ...rest }: NetworkPolicy): NetworkPolicy {
  const policyTypes = spec.policyTypes ?? (spec.egress?.length ? ['Ingress', 'Egress'] : ['Ingress']);
  const agreed = JSON.parse(JSON.stringify({ ...spec, policyTypes }), (_, value: LabelSelector) => {
    if (!Array.isArray(value?.matchExpressions)) return value;
    const exists = value.matchExpressions
      .filter(({ operator }) => operator === 'NotIn')
      .map(({ key }) => ({ key, operator: 'Exists' }));
    return { ...value, matchExpressions: [...value.matchExpressions, ...exists] };
  }) as NetworkPolicy['spec'];
  const { name, namespace } = metadata;
  return { ...rest, metadata: { name, namespace }, spec: agreed } as NetworkPolicy;
}

clientTest(test, 'POLICY_ORACLE', `${SETS} random sets of policies, from seed ${SEED}`, async (program) => {
  const random = seededRandom(SEED).below;
  const sets = Array.from({ length: SETS }, (_, i) => {
    const situation = randomSituation(random);
    const { pods, namespaces } = situation;
    const traffic = Array.from({ length: CONNECTIONS }, () => randomTraffic(random, situation));
    return {
      name: `set ${i}`,
      namespaces,
      pods,
      policies: situation.policies.map(normalized),
      traffic: traffic.filter(({ from, to, protocol }) => from !== to && protocol !== 'ICMP'),
    };
  });
  const answers = ask<Judged[]>(program, 'judge', sets.map((set) => JSON.stringify(set)).join('\n'));
  assert.is(answers.length, SETS);
  let denied = 0;
  for (const [i, set] of sets.entries()) {
    const answer = inForce(set);
    for (const traffic of answers[i]!) {
      const got = answer(traffic);
      if (got !== traffic.verdict) assert.unreachable(JSON.stringify({ ...set, traffic, got }, null, 1));
      if (got !== 'allowed') denied++;
    }
  }
  assert.ok(denied > SETS, `${denied} denied`);
});

test.run();
