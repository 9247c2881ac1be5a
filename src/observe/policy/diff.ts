/** Which of the connections that exist a change of policies would allow or deny. */
import { type DirectionExplained, explainPolicies, type PolicyEnd, type PolicyObjects, ruleName } from './explain.ts';
import type { SeenConnection } from './seen.ts';

export interface ChangedConnection {
  readonly from: PolicyEnd;
  readonly to: PolicyEnd;
  readonly protocol: number;
  readonly port: number;
  readonly before: 'allowed' | 'denied';
  readonly after: 'allowed' | 'denied';
  /** What denies it, before or after. */
  readonly deniedBy: string;
}

/** @param policies those that are in force, and those that would be */
export function changedConnections(
  seen: readonly SeenConnection[],
  endAt: (ip: string) => PolicyEnd,
  now: PolicyObjects,
  then: PolicyObjects,
): ChangedConnection[] {
  return seen.flatMap((one): ChangedConnection[] => {
    const question = { ...one, from: endAt(one.from), to: endAt(one.to) };
    const before = explainPolicies(question, now);
    const after = explainPolicies(question, then);
    if (before.verdict === after.verdict) return [];
    const denied = (before.verdict === 'denied' ? before : after).directions.find(({ allowed }) => !allowed)!;
    const { from, to, protocol, port } = question;
    return [{ from, to, protocol, port, before: before.verdict, after: after.verdict, deniedBy: denierOf(denied) }];
  });
}

function denierOf({ direction, policies, decidedBy }: DirectionExplained): string {
  const [decider] = decidedBy;
  if (decider !== undefined) return `${direction}: ${ruleName(decider.policy, decider.rule)}`;
  const isolating = policies.filter(({ tier, audited }) => tier === 'namespaced' && !audited);
  return `${direction}: no rule of ${isolating.map(({ name }) => name).join(', ')}`;
}
