/**
 * What the policies in force decide about a connection between two addresses: for explanations, and to name the rule
 * behind a drop. Workers judge in stages/network-policy.ts, which knows from the next hops which ends are on this node.
 */
import { sameAddress } from '../shared/address.ts';
import { decisionAbout, findPod } from './lookup.ts';
import { type NumberedRule, readRule } from './rules.ts';
import { activeImage, Effect, effectOf, imageAt, PodSlot, type PolicyTable, ruleOf, trafficKey } from './table.ts';

export interface JudgedDirection {
  readonly allowed: boolean;
  /** The policy is audited: it would deny. */
  readonly audited: boolean;
  /** The rule that decides; undefined if no policy does. */
  readonly rule: NumberedRule | undefined;
}

export interface Judged {
  readonly egress: JudgedDirection;
  readonly ingress: JudgedDirection;
  readonly verdict: 'allowed' | 'policy-egress' | 'policy-ingress';
  /** The rule that denies; undefined if none does. */
  readonly deniedBy: NumberedRule | undefined;
}

/** A connection after the Service's translation, with its source before masquerading. */
export interface JudgedConnection {
  /** Four words each, IPv4 mapped. */
  readonly source: Int32Array;
  readonly target: Int32Array;
  readonly protocol: number;
  /** Of the target; 0 for protocols without ports. */
  readonly port: number;
}

const UNJUDGED: JudgedDirection = { allowed: true, audited: false, rule: undefined };

/** Both directions by the image in use. */
export function judgeByTable(table: PolicyTable, connection: JudgedConnection): Judged {
  const { source, target } = connection;
  const sequence = activeImage(table);
  if (sequence === 0 || sameAddress(source, target, 0)) {
    return { egress: UNJUDGED, ingress: UNJUDGED, verdict: 'allowed', deniedBy: undefined };
  }
  const image = imageAt(table, sequence);
  const egress = judgeDirection(table, image, connection, PodSlot.EGRESS);
  const ingress = judgeDirection(table, image, connection, PodSlot.INGRESS);
  const verdict = !egress.allowed ? 'policy-egress' : !ingress.allowed ? 'policy-ingress' : 'allowed';
  const deniedBy = !egress.allowed ? egress.rule : !ingress.allowed ? ingress.rule : undefined;
  return { egress, ingress, verdict, deniedBy };
}

function judgeDirection(
  table: PolicyTable,
  image: number,
  { source, target, protocol, port }: JudgedConnection,
  direction: number,
): JudgedDirection {
  const { words } = table;
  const [subject, peer] = direction === PodSlot.EGRESS ? [source, target] : [target, source];
  const own = findPod(table, image, subject);
  const group = own < 0 ? 0 : words[own + direction];
  if (group === 0) return UNJUDGED;
  const other = findPod(table, image, peer);
  const decided = decisionAbout(table, image, group, peer, other, trafficKey(protocol, port));
  const effect = effectOf(decided);
  return { allowed: effect !== Effect.DENY, audited: effect === Effect.AUDIT, rule: readRule(table, ruleOf(decided)) };
}

/** `default/web rule 2 "from-clients"`, `default/deny (no rule allows it)`. */
export function ruleText({ policies, index, name, tier }: NumberedRule): string {
  if (index === 0) return `${policies} (no rule allows it)`;
  const kind = tier === 'namespaced' ? '' : 'ClusterNetworkPolicy ';
  return `${kind}${policies} rule ${index}${name === '' ? '' : ` "${name}"`}`;
}
