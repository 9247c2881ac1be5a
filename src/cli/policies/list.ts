/** `dataplane policy list`: every rule, and how often it has decided. */
import { policyRules } from '../../compile/policies/parse-cluster-policy.ts';
import { inOrder, type PolicyRules } from '../../compile/policies/policy-rules.ts';
import type { Args } from '../args/args.ts';
import { formatOf, print } from '../output/output.ts';
import { tableText } from '../output/table.ts';
import { countedRules, livePolicies, type RuleCounts, ruleCounts } from '../sources/policies.ts';
import { withClient } from '../with-client.ts';

interface Listed {
  readonly policy: string;
  readonly tier: string;
  readonly priority: number | undefined;
  readonly direction: string;
  /** Position from 1; 0: isolation, for what no rule allows. */
  readonly rule: number;
  readonly name: string;
  readonly action: string;
  readonly count: number;
}

export async function listPolicies(args: Args): Promise<void> {
  const json = formatOf(args.text('output'), ['json']) === 'json';
  const { policies } = await withClient(livePolicies);
  const counted = countedRules();
  const countOf = ruleCounts(counted);
  const listed = policies
    .map(policyRules)
    .sort(inOrder)
    .flatMap((policy) => rulesOf(policy, countOf));
  // Isolation belongs to all policies that select a pod, so it is listed by itself.
  const isolation = counted
    .filter(({ index }) => index === 0)
    .map(({ policies: names, tier, direction, count }): Listed => {
      return { policy: names, tier, priority: undefined, direction, rule: 0, name: '', action: 'deny', count };
    });
  if (json) print(JSON.stringify([...listed, ...isolation], null, 2));
  else print(tableText([HEADERS, ...[...listed, ...isolation].map(rowOf)]).trimEnd());
}

const HEADERS = ['POLICY', 'TIER', 'DIRECTION', 'RULE', 'ACTION', 'DECIDED'];

const rowOf = ({ policy, tier, priority, direction, rule, name, action, count }: Listed): string[] => [
  policy,
  tier === 'namespaced' ? 'NetworkPolicy' : `${tier === 'admin' ? 'Admin' : 'Baseline'} ${priority}`,
  direction,
  rule === 0 ? 'no rule allows' : `${rule}${name === '' ? '' : ` "${name}"`}`,
  action,
  String(count),
];

function rulesOf(policy: PolicyRules, countOf: RuleCounts): Listed[] {
  const { name, tier, priority, audit } = policy;
  return (['ingress', 'egress'] as const).flatMap((direction) =>
    (policy[direction] ?? []).map((rule, i) => ({
      policy: name,
      tier,
      priority: tier === 'namespaced' ? undefined : priority,
      direction,
      rule: i + 1,
      name: rule.name,
      action: audit ? `${rule.action} (audited)` : rule.action,
      count: countOf(name, direction, i + 1),
    })),
  );
}
