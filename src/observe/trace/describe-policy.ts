/** Describes what network policies decide about a connection, in each direction, and by which rule. */
import { ruleText } from '../../../native-free-dataplane/policies/judge.ts';
import { readRule } from '../../../native-free-dataplane/policies/rules.ts';
import { activeImage, Effect, effectOf, ruleOf, UNKNOWN_POD } from '../../../native-free-dataplane/policies/table.ts';
import { formatAddress } from '../../../native-free-dataplane/wire/address.ts';
import { type Asked, callNamed, type Described, type Ended } from './asked.ts';

/** The step of checkNetworkPolicy; none if there are no policies. */
export function describeNetworkPolicy({ call, dp }: Asked): Described | undefined {
  const stage = 'network policy';
  if (activeImage(dp.policies) === 0) return undefined;
  const sentence = (direction: string, name: string): string => {
    const decided = callNamed(call, name)?.result;
    if (typeof decided !== 'number') return `${direction}: not asked`;
    if (decided === UNKNOWN_POD) return `${direction}: denied, because the pod is not known to the policies yet`;
    const rule = readRule(dp.policies, ruleOf(decided));
    const effect = effectOf(decided);
    const verb = effect === Effect.DENY ? 'denied by' : effect === Effect.AUDIT ? 'would be denied by' : 'allowed by';
    return rule === undefined ? `${direction}: no policy decides` : `${direction}: ${verb} ${ruleText(rule)}`;
  };
  const text = [sentence('egress', 'egressDecision'), sentence('ingress', 'ingressDecision')];
  return { stage, table: 'policies', row: { text } };
}

/** What would have to be different for a policy to allow the packet. */
export function policyDenies({ pkt, dp, names, verdict }: Ended): string[] {
  const source = formatAddress(pkt.src);
  const target = formatAddress(pkt.dnat !== 0 ? pkt.newDst : pkt.dst);
  const port = pkt.dnat !== 0 ? pkt.newDstPort : pkt.dstPort;
  const hint = `see \`dataplane policy explain ${source} ${target}${port === 0 ? '' : `:${port}`}\``;
  const rule = readRule(dp.policies, pkt.policyRule);
  const ends = `${names.address(source)} to ${names.address(target)}`;
  if (rule === undefined) return [`no policy in force now denies ${ends}, or the pod is not known yet: ${hint}`];
  const direction = verdict === 'policy-egress' ? 'egress' : 'ingress';
  if (rule.index === 0) return [`a rule of ${rule.policies} would have to allow ${direction} from ${ends}: ${hint}`];
  return [`${ruleText(rule)}, which denies ${direction} from ${ends}, would have to match less: ${hint}`];
}
