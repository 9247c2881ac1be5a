/** Which of the connections that exist a change of policies would allow or deny. */
import {
  type DirectionExplained,
  explainPolicies,
  isolatingPolicies,
  type PolicyEnd,
  type PolicyObjects,
  ruleName,
} from './explain.ts';
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

/**
 * @param now,then the policies that are in force, and those that would be
 * @param endThen the ends as they would be; the same by default
 */
export function changedConnections(
  seen: readonly SeenConnection[],
  endAt: (ip: string) => PolicyEnd,
  now: PolicyObjects,
  then: PolicyObjects,
  endThen: (ip: string) => PolicyEnd = endAt,
): ChangedConnection[] {
  return seen.flatMap((one): ChangedConnection[] => {
    const question = { ...one, from: endAt(one.from), to: endAt(one.to) };
    const before = explainPolicies(question, now);
    const after = explainPolicies({ ...one, from: endThen(one.from), to: endThen(one.to) }, then);
    if (before.verdict === after.verdict) return [];
    const denied = (before.verdict === 'denied' ? before : after).directions.find(({ allowed }) => !allowed)!;
    const { from, to, protocol, port } = question;
    return [{ from, to, protocol, port, before: before.verdict, after: after.verdict, deniedBy: denierOf(denied) }];
  });
}

function denierOf(denied: DirectionExplained): string {
  const { direction } = denied;
  const [decider] = denied.decidedBy;
  if (decider !== undefined) return `${direction}: ${ruleName(decider.policy, decider.rule)}`;
  return `${direction}: no rule of ${isolatingPolicies(denied)
    .map(({ name }) => name)
    .join(', ')}`;
}
