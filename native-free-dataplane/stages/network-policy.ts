/**
 * Network policies: may these two exchange this traffic? Judged for the first packet of a connection, after the service's
 * translation and for its real source, and again for each connection when the policies have changed (pipeline.ts).
 * Replies are not judged: they belong to the connection.
 *
 * Each node judges both directions as far as it can, the sender's egress and the receiver's ingress: only where a
 * connection enters the cluster is its real source known, before it is masqueraded. A node therefore accepts for its
 * pods what another node's gateway address sends: that node has judged it.
 *
 * NetworkPolicies do not apply to a pod's traffic with its own node and with itself; ClusterNetworkPolicies do, unless
 * the traffic never leaves the pod. See the APIs' texts (networking/v1 NetworkPolicy, policy.networking.k8s.io/v1alpha2
 * ClusterNetworkPolicy) and docs/policy.md for what they leave open.
 */
import { Rec, recordAt, Status, tupleAt } from '../conntrack/record.ts';
import { readTupleSource, tuplePortsAt } from '../conntrack/tuple.ts';
import type { Dataplane } from '../dataplane.ts';
import { HopKind, hopKind } from '../node/hops.ts';
import { isOwnAddress } from '../node/host-routes.ts';
import { isFirstOfRoute } from '../node/routes.ts';
import type { Packet } from '../packet.ts';
import { noteAudited } from '../policies/audit-log.ts';
import { decisionAbout, decisionFor, findPod } from '../policies/lookup.ts';
import { countRule } from '../policies/rules.ts';
import {
  ANY_POD,
  activeImage,
  Effect,
  effectOf,
  exemptGroup,
  ImageWord,
  imageAt,
  PodSlot,
  type PolicyTable,
  ruleOf,
  trafficKey,
  UNDECIDED,
  UNKNOWN_POD,
} from '../policies/table.ts';
import { ADDRESS_WORDS, copyAddress, sameAddress } from '../shared/address.ts';
import { Verdict } from '../verdicts.ts';
import { hasPorts } from '../wire/ports.ts';

/** The port of a name server, as policies state it. */
const DOMAIN_PORT = 53;
/** The policies may change while they are read, but not faster than the agent publishes them. */
const MAX_READS = 4;

/** A connection to be judged. One object per thread; set every field before each call. */
class PolicyQuestion {
  readonly source: Int32Array = new Int32Array(ADDRESS_WORDS);
  /** Destination after translation. */
  readonly target: Int32Array = new Int32Array(ADDRESS_WORDS);
  protocol = 0;
  targetPort = 0;
  /** 1 if the destination was translated. */
  translated = 0;
  /** Next hops of the connection's packets and of replies. */
  hop = 0;
  replyHop = 0;
  /** What the policies of either end decide (table.ts); UNDECIDED if they were not asked. */
  egress = UNDECIDED;
  ingress = UNDECIDED;
  nowMs = 0;
}
const policyQuestion: PolicyQuestion = new PolicyQuestion();

/** Is there any policy? */
function hasPolicies(dp: Dataplane): boolean {
  return activeImage(dp.policies) !== 0;
}

/**
 * Judge the connection that the packet would open.
 * @param hop next hop of its packets
 * @param replyHop next hop of replies
 * @returns GO_ON, POLICY_EGRESS or POLICY_INGRESS
 */
export function checkNetworkPolicy(pkt: Packet, dp: Dataplane, hop: number, replyHop: number): Verdict {
  if (!hasPolicies(dp)) return Verdict.GO_ON;
  copyAddress(pkt.src, 0, policyQuestion.source);
  copyAddress(pkt.dnat !== 0 ? pkt.newDst : pkt.dst, 0, policyQuestion.target);
  policyQuestion.protocol = pkt.protocol;
  policyQuestion.targetPort = hasPorts(pkt.protocol) ? (pkt.dnat !== 0 ? pkt.newDstPort : pkt.dstPort) : 0;
  policyQuestion.translated = pkt.dnat;
  policyQuestion.hop = hop;
  policyQuestion.replyHop = replyHop;
  const v = judgeConnection(dp);
  countRules(dp);
  pkt.policyRule = denyingRule(v);
  return v;
}

/** Judge the packet's flow by the policies in force now: GO_ON, POLICY_EGRESS or POLICY_INGRESS. */
export function checkFlowPolicy(pkt: Packet, dp: Dataplane, hop: number, replyHop: number): Verdict {
  if (!hasPolicies(dp)) return Verdict.GO_ON;
  const { conntrack } = dp;
  const { words } = conntrack;
  const meta = words[recordAt(conntrack, pkt.flow) + Rec.META];
  const protocol = (meta >>> 16) & 0xff;
  const reply = tupleAt(conntrack, pkt.flow, 1);
  readTupleSource(conntrack, tupleAt(conntrack, pkt.flow, 0), policyQuestion.source);
  readTupleSource(conntrack, reply, policyQuestion.target);
  policyQuestion.protocol = protocol;
  policyQuestion.targetPort = hasPorts(protocol) ? words[tuplePortsAt(conntrack, reply)] >>> 16 : 0;
  policyQuestion.translated = meta & Status.DNAT;
  policyQuestion.hop = hop;
  policyQuestion.replyHop = replyHop;
  const v = judgeConnection(dp);
  // What is still allowed was counted when the connection began.
  if (v !== Verdict.GO_ON) countRules(dp);
  pkt.policyRule = denyingRule(v);
  return v;
}

function countRules({ policies, nowMs }: Dataplane): void {
  const { egress, ingress, protocol, targetPort } = policyQuestion;
  policyQuestion.nowMs = nowMs;
  const key = trafficKey(protocol, targetPort);
  countDecision(policies, egress, key);
  countDecision(policies, ingress, key);
}

function countDecision(policies: PolicyTable, decided: number, key: number): void {
  const rule = ruleOf(decided);
  if (rule !== 0) countRule(policies, rule);
  if (effectOf(decided) === Effect.AUDIT) noteAudited(policies, rule, key, policyQuestion);
}

/** Number of the rule that denies the connection in policyQuestion; 0: none does. */
function denyingRule(v: Verdict): number {
  if (v === Verdict.POLICY_EGRESS) return ruleOf(policyQuestion.egress);
  return v === Verdict.POLICY_INGRESS ? ruleOf(policyQuestion.ingress) : 0;
}

/** Judge the connection in policyQuestion: GO_ON, POLICY_EGRESS or POLICY_INGRESS. */
function judgeConnection(dp: Dataplane): Verdict {
  let verdict: Verdict = Verdict.GO_ON;
  for (let i = 0; i < MAX_READS; i++) {
    const sequence = activeImage(dp.policies);
    if (sequence === 0) return Verdict.GO_ON;
    verdict = judgeBy(dp, imageAt(dp.policies, sequence));
    if (activeImage(dp.policies) === sequence) break;
  }
  return verdict;
}

function judgeBy(dp: Dataplane, image: number): Verdict {
  const { source, target, translated } = policyQuestion;
  policyQuestion.egress = UNDECIDED;
  policyQuestion.ingress = UNDECIDED;
  const itself = sameAddress(source, target, 0);
  if (itself && translated === 0) return Verdict.GO_ON;
  const from = findPod(dp.policies, image, source);
  const to = findPod(dp.policies, image, target);
  policyQuestion.egress = egressDecision(dp, image, from, to, itself);
  if (effectOf(policyQuestion.egress) === Effect.DENY) return Verdict.POLICY_EGRESS;
  policyQuestion.ingress = ingressDecision(dp, image, from, to, itself);
  return effectOf(policyQuestion.ingress) === Effect.DENY ? Verdict.POLICY_INGRESS : Verdict.GO_ON;
}

/** @param from and @param to slots of the pods, or -1; @param itself the pod reaches itself through a Service */
function egressDecision(dp: Dataplane, image: number, from: number, to: number, itself: boolean): number {
  const { policies, node } = dp;
  const { words } = policies;
  const { hop, replyHop, protocol, target, targetPort, translated } = policyQuestion;
  if (hopKind(node, replyHop) !== HopKind.POD) return UNDECIDED;
  // Until the policies of one of its own pods are known, nothing of it is allowed.
  if (from < 0) return UNKNOWN_POD;
  const group = words[from + PodSlot.EGRESS];
  if (group === 0) return UNDECIDED;
  const local = hopKind(node, hop) === HopKind.LOCAL;
  // The node's name server stands for the pods that a cluster has for names.
  if (local && translated !== 0 && targetPort === words[image + ImageWord.DNS_PORT]) {
    const names = words[image + ImageWord.DNS_IDENTITY];
    return decisionFor(policies, image, group, names, ANY_POD, trafficKey(protocol, DOMAIN_PORT));
  }
  const deciding = itself || local ? exemptGroup(group) : group;
  return decisionAbout(policies, image, deciding, target, to, trafficKey(protocol, targetPort));
}

function ingressDecision(dp: Dataplane, image: number, from: number, to: number, itself: boolean): number {
  const { policies, node } = dp;
  const { words } = policies;
  const { hop, protocol, source, targetPort } = policyQuestion;
  const kind = hopKind(node, hop);
  if (kind !== HopKind.POD && kind !== HopKind.NODE) return UNDECIDED;
  if (kind === HopKind.POD) {
    // A node reaches its own pods always (kubelet's probes), and other nodes have judged what their gateways send.
    if (isOwnAddress(node, source) || isFirstOfRoute(node, source)) return UNDECIDED;
    if (to < 0) return UNKNOWN_POD;
  } else if (to < 0) return UNDECIDED;
  const group = words[to + PodSlot.INGRESS];
  if (group === 0) return UNDECIDED;
  const deciding = itself ? exemptGroup(group) : group;
  return decisionAbout(policies, image, deciding, source, from, trafficKey(protocol, targetPort));
}
