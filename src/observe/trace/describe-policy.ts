/** Describes what network policies decide about a connection, in each direction, and by which rule. */
import { recordAt } from '../../../native-free-dataplane/conntrack/record.ts';
import type { Dataplane } from '../../../native-free-dataplane/dataplane.ts';
import type { Packet } from '../../../native-free-dataplane/packet.ts';
import { judgeByTable, ruleText } from '../../../native-free-dataplane/policies/judge.ts';
import { readRule } from '../../../native-free-dataplane/policies/rules.ts';
import { activeImage, Effect, effectOf, ruleOf, UNKNOWN_POD } from '../../../native-free-dataplane/policies/table.ts';
import { flowText } from '../../../native-free-dataplane/print/record.ts';
import { addressWords, formatAddress } from '../../../native-free-dataplane/wire/address.ts';
import { hasPorts } from '../../../native-free-dataplane/wire/ports.ts';
import { type Asked, callNamed, type Described, type Ended } from './asked.ts';

/** The step of checkNetworkPolicy, or of checkFlowPolicy for a connection from before a change; none if there are no policies. */
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

/** The connection as policies see it: its client, and the endpoint after translation. */
function judgedConnection(pkt: Packet, { conntrack, nowMs }: Dataplane) {
  if (pkt.flow < 0 || pkt.dnat !== 0) {
    const target = formatAddress(pkt.dnat !== 0 ? pkt.newDst : pkt.dst);
    const port = pkt.dnat !== 0 ? pkt.newDstPort : pkt.dstPort;
    const { protocol } = pkt;
    return { source: formatAddress(pkt.src), target, protocol, port: hasPorts(protocol) ? port : 0 };
  }
  const { words, doubles } = conntrack;
  const flow = flowText(conntrack, words, doubles, recordAt(conntrack, pkt.flow), nowMs);
  const { protocol, original, reply } = flow;
  return { source: original.src, target: reply.src, protocol, port: hasPorts(protocol) ? reply.srcPort : 0 };
}

/** What would have to be different for a policy to allow the packet. */
export function policyDenies({ pkt, dp, names, verdict }: Ended): string[] {
  const { source, target, protocol, port } = judgedConnection(pkt, dp);
  const hint = `see \`dataplane policy explain ${source} ${target}${port === 0 ? '' : `:${port}`}\``;
  const connection = { source: addressWords(source), target: addressWords(target), protocol, port };
  // A flow that was closed when the policies changed is not judged for each of its packets.
  const rule = readRule(dp.policies, pkt.policyRule) ?? judgeByTable(dp.policies, connection).deniedBy;
  const ends = `${names.address(source)} to ${names.address(target)}`;
  if (rule === undefined) return [`no policy in force now denies ${ends}, or the pod is not known yet: ${hint}`];
  const direction = verdict === 'policy-egress' ? 'egress' : 'ingress';
  if (rule.index === 0) return [`a rule of ${rule.policies} would have to allow ${direction} from ${ends}: ${hint}`];
  return [`${ruleText(rule)}, which denies ${direction} from ${ends}, would have to match less: ${hint}`];
}
