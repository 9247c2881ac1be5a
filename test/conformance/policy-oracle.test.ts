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
import type { NetworkPolicy } from '../../src/api/types/network-policy.ts';
import { clientTest } from '../lib/client-program.ts';
import { agreedPolicy } from '../lib/policies/agreed-policies.ts';
import type { EvaluatedPod, Traffic } from '../lib/policies/evaluator.ts';
import { randomSituation, randomTraffic } from '../lib/policies/generator.ts';
import { type TableVerdict, TableVerdicts } from '../lib/policies/table-verdicts.ts';
import { seededRandom } from '../lib/seeded-random.ts';

const test = suite('policy oracle');
const SETS = Number(process.env.POLICY_ORACLE_SETS ?? 300);
const SEED = Number(process.env.POLICY_SEED ?? 1);
const CONNECTIONS = 40;

interface Judged extends Traffic {
  readonly verdict: TableVerdict;
}

interface OracleSituation {
  readonly name: string;
  readonly namespaces: Record<string, Record<string, string>>;
  readonly pods: readonly EvaluatedPod[];
  readonly policies: readonly NetworkPolicy[] | null;
}

const table = new TableVerdicts();

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
    table.putInForce({ ...step, policies: step.policies ?? [] });
    for (const traffic of step.traffic) {
      const got = table.answer(traffic);
      if (traffic.from === traffic.to) assert.is(got, 'allowed');
      else if (got !== traffic.verdict) assert.unreachable(JSON.stringify({ ...step, traffic, got }, null, 1));
      else seen[got]++;
    }
  }
  for (const [verdict, count] of Object.entries(seen)) assert.ok(count > 1000, `${verdict}: ${count}`);
});

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
      policies: situation.policies.map(agreedPolicy),
      traffic: traffic.filter(({ from, to, protocol }) => from !== to && protocol !== 'ICMP'),
    };
  });
  const answers = ask<Judged[]>(program, 'judge', sets.map((set) => JSON.stringify(set)).join('\n'));
  assert.is(answers.length, SETS);
  let denied = 0;
  for (const [i, set] of sets.entries()) {
    table.putInForce(set);
    for (const traffic of answers[i]!) {
      const got = table.answer(traffic);
      if (got !== traffic.verdict) assert.unreachable(JSON.stringify({ ...set, traffic, got }, null, 1));
      if (got !== 'allowed') denied++;
    }
  }
  assert.ok(denied > SETS, `${denied} denied`);
});

test.run();
