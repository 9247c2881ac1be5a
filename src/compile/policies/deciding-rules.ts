/** Names and keys of the rules that decisions refer to. */
import type { DecidingRule } from '../../../native-free-dataplane/policies/contents.ts';
import type { Direction, PolicyRule, PolicyRules } from './policy-rules.ts';

/** Names that are listed where more policies isolate a pod. */
const LISTED = 4;

const known = new WeakMap<PolicyRule, DecidingRule>();

const asText = (rule: PolicyRule): string =>
  JSON.stringify(rule, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value));

/**
 * A rule of a policy. Its key is its content, so that it keeps its counter when other rules of the policy change.
 * @param i position, from 0
 */
export function decidingRule(policy: PolicyRules, direction: Direction, i: number): DecidingRule {
  const rules = policy[direction]!;
  const rule = rules[i]!;
  let found = known.get(rule);
  if (found === undefined) {
    const { name: policies, tier, audit } = policy;
    const content = asText(rule);
    const before = rules.slice(0, i).filter((other) => asText(other) === content).length;
    const key = `${audit ? 'audited ' : ''}${tier} ${policies} ${direction} ${before} ${content}`;
    found = { key, policies, name: rule.name, index: i + 1, tier, direction };
    known.set(rule, found);
  }
  return found;
}

/** The policies by which isolation is named. */
export function isolationText(names: readonly string[]): string {
  const listed = names.slice(0, LISTED).join(', ');
  return names.length > LISTED ? `${listed} and ${names.length - LISTED} others` : listed;
}

/** What denies the traffic that no rule of these NetworkPolicies allows. */
export function isolationBy(policies: readonly PolicyRules[], direction: Direction): DecidingRule {
  const names = policies.map(({ name }) => name);
  const text = isolationText(names);
  const key = `${policies[0]?.audit ? 'audited ' : ''}isolation ${direction} ${names.join()}`;
  return { key, policies: text, name: '', index: 0, tier: 'namespaced', direction };
}
