/** What a group's policies decide about the traffic with one peer: tier by tier, rule by rule (v1alpha2 spec.tier). */
import type { DecidingRule, Decisions } from '../../../native-free-dataplane/policies/contents.ts';
import { Effect, LAST_TRAFFIC_KEY, trafficKey } from '../../../native-free-dataplane/policies/table.ts';
import type { NamedPort } from './pod-classes.ts';
import type { Action, PolicyPort, Tier } from './policy-rules.ts';

/** A rule of one of the group's policies. */
export interface PlannedRule {
  readonly tier: Tier;
  readonly action: Action;
  readonly ports: readonly PolicyPort[] | undefined;
  readonly rule: DecidingRule;
  /** Name of the policy, if it is only audited. */
  readonly auditedPolicy: string | undefined;
}

/** First and last trafficKey. */
type KeyRange = readonly [first: number, last: number];

interface Decided {
  readonly range: KeyRange;
  readonly rule: DecidingRule | undefined;
  readonly effect: Effect;
}

export interface Asked {
  /** The rules that have the peer among their peers, in the order in which they are asked. */
  readonly rules: readonly PlannedRule[];
  /** Denies what no rule of a NetworkPolicy allows; undefined if no NetworkPolicy isolates the group. */
  readonly isolation: DecidingRule | undefined;
  /** As isolation, of audited NetworkPolicies. */
  readonly auditedIsolation: DecidingRule | undefined;
  /** Ports of the receiving pod. */
  readonly named: readonly NamedPort[];
}

/** @param exempt for traffic that NetworkPolicies always allow: they end the evaluation, and deny nothing */
export function decide({ rules, isolation, auditedIsolation, named }: Asked, exempt: boolean): Decisions {
  const decided: Decided[] = [];
  let open: readonly KeyRange[] = [[0, LAST_TRAFFIC_KEY]];
  let passed: readonly KeyRange[] = [];
  const settle = (ranges: readonly KeyRange[], rule: DecidingRule | undefined, effect: Effect) => {
    for (const range of ranges) decided.push({ range, rule, effect });
  };
  const denials: Denial[] = [];
  const ask = (tier: Tier) => {
    const audits = new Map<string, readonly KeyRange[]>();
    for (const { tier: own, action, ports, rule, auditedPolicy } of rules) {
      if (own !== tier) continue;
      if (auditedPolicy !== undefined) {
        const [taken, rest] = split(audits.get(auditedPolicy) ?? open, rangesOf(ports, named));
        audits.set(auditedPolicy, rest);
        if (action === 'deny') denials.push({ ranges: taken, rule });
        continue;
      }
      const [taken, rest] = split(open, rangesOf(ports, named));
      open = rest;
      // After the last tier everything is allowed.
      if (action === 'pass' && tier === 'admin') passed = [...passed, ...taken];
      else settle(taken, rule, action === 'deny' ? Effect.DENY : Effect.ALLOW);
    }
  };
  ask('admin');
  open = sorted([...open, ...passed]);
  if (isolation === undefined && auditedIsolation !== undefined && !exempt) {
    const allowed = rules.filter(({ tier }) => tier === 'namespaced').flatMap(({ ports }) => rangesOf(ports, named));
    denials.push({ ranges: split(open, allowed)[1], rule: auditedIsolation });
  }
  if (isolation !== undefined) {
    if (exempt) settle(open, undefined, Effect.ALLOW);
    else {
      ask('namespaced');
      settle(open, isolation, Effect.DENY);
    }
    open = [];
  }
  ask('baseline');
  settle(open, undefined, Effect.ALLOW);
  return asDecisions(denials.reduce(withAudit, decided));
}

/** What an audited policy would deny. */
interface Denial {
  readonly ranges: readonly KeyRange[];
  readonly rule: DecidingRule;
}

/** Traffic that is allowed, and that an audited policy would deny, is logged for that policy; for the first, if several. */
function withAudit(decided: readonly Decided[], { ranges, rule }: Denial): Decided[] {
  return decided.flatMap((one): Decided[] => {
    if (one.effect !== Effect.ALLOW) return [one];
    const [inside, outside] = split([one.range], ranges);
    return [
      ...inside.map((range) => ({ range, rule, effect: Effect.AUDIT })),
      ...outside.map((range) => ({ ...one, range })),
    ];
  });
}

/** No policy decides anything. */
export const isUndecided = ({ rules, effects }: Decisions): boolean =>
  rules.length === 1 && rules[0] === undefined && effects[0] === Effect.ALLOW;

function asDecisions(decided: readonly Decided[]): Decisions {
  const firsts: number[] = [];
  const rules: (DecidingRule | undefined)[] = [];
  const effects: number[] = [];
  for (const { range, rule, effect } of [...decided].sort((a, b) => a.range[0] - b.range[0])) {
    const last = firsts.length - 1;
    if (last >= 0 && rules[last] === rule && effects[last] === effect) continue;
    firsts.push(range[0]);
    rules.push(rule);
    effects.push(effect);
  }
  return { firsts, rules, effects };
}

const sorted = (ranges: readonly KeyRange[]): KeyRange[] => [...ranges].sort(([a], [b]) => a - b);

/** @param open sorted and disjoint; @returns its parts inside and outside of `ranges` */
function split(
  open: readonly KeyRange[],
  ranges: readonly KeyRange[],
): readonly [inside: readonly KeyRange[], outside: readonly KeyRange[]] {
  const inside: KeyRange[] = [];
  let outside = open;
  for (const [first, last] of ranges) {
    const rest: KeyRange[] = [];
    for (const [a, b] of outside) {
      if (b < first || a > last) {
        rest.push([a, b]);
        continue;
      }
      if (a < first) rest.push([a, first - 1]);
      inside.push([Math.max(a, first), Math.min(b, last)]);
      if (b > last) rest.push([last + 1, b]);
    }
    outside = rest;
  }
  return [inside, outside];
}

function rangesOf(ports: readonly PolicyPort[] | undefined, named: readonly NamedPort[]): KeyRange[] {
  if (ports === undefined) return [[0, LAST_TRAFFIC_KEY]];
  return ports.flatMap((port): KeyRange[] => {
    if (!('name' in port)) return [[trafficKey(port.protocol, port.first), trafficKey(port.protocol, port.last)]];
    return named
      .filter(({ name, protocol }) => name === port.name && (port.protocol ?? protocol) === protocol)
      .map((found): KeyRange => [trafficKey(found.protocol, found.port), trafficKey(found.protocol, found.port)]);
  });
}
