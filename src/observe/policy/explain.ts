/**
 * Why policies allow or deny a connection: every policy that selects either end, rule by rule. Evaluates the API's
 * objects; what the nodes have in force is compiled from the same (src/compile/policies).
 */
import { protocolName } from '../../../native-free-dataplane/protocols.ts';
import { type Labels, matchesSelector } from '../../api/selectors.ts';
import type { ClusterNetworkPolicy } from '../../api/types/cluster-network-policy.ts';
import type { NetworkPolicy } from '../../api/types/network-policy.ts';
import type { LabelSelector } from '../../api/types/objects.ts';
import type { PolicyNode } from '../../compile/policies/name-selections.ts';
import { policyRules } from '../../compile/policies/parse-cluster-policy.ts';
import type { PolicyPod } from '../../compile/policies/pod-classes.ts';
import {
  type Action,
  type Direction,
  inOrder,
  type PolicyPeer,
  type PolicyPort,
  type PolicyRule,
  type PolicyRules,
  type Tier,
} from '../../compile/policies/policy-rules.ts';
import { contains, parseIp, printCidr } from '../../net/address.ts';

/** One end of the connection. */
export interface PolicyEnd {
  /** Such as `pod default/web`, or an address. */
  readonly text: string;
  readonly ip: string;
  /** Undefined for what is not a pod. */
  readonly pod: PolicyPod | undefined;
}

export interface PolicyQuestion {
  readonly from: PolicyEnd;
  readonly to: PolicyEnd;
  readonly protocol: number;
  /** Of the receiver; 0 for protocols without ports. */
  readonly port: number;
  /** The receiver was chosen as an endpoint: matters for a pod that reaches itself. */
  readonly throughService?: boolean;
}

/** One peer or port of a rule. */
export interface Term {
  readonly text: string;
  readonly matches: boolean;
}

export interface RuleExplained {
  /** Position in the policy, from 1. */
  readonly number: number;
  /** Empty if it has none. */
  readonly name: string;
  readonly action: Action;
  readonly peers: readonly Term[];
  readonly ports: readonly Term[];
  readonly matches: boolean;
}

export interface PolicyExplained {
  readonly name: string;
  readonly tier: Tier;
  readonly priority: number;
  /** What it would deny is logged; it decides nothing. */
  readonly audited: boolean;
  readonly rules: readonly RuleExplained[];
}

export interface DirectionExplained {
  readonly direction: Direction;
  /** The pod whose policies decide; undefined: this end is not a pod. */
  readonly subject: string | undefined;
  /** The policies that select it, in the order in which they are asked. */
  readonly policies: readonly PolicyExplained[];
  readonly allowed: boolean;
  /** The rules that decide: one of the cluster's, or all that allow of NetworkPolicies. */
  readonly decidedBy: readonly { readonly policy: PolicyExplained; readonly rule: RuleExplained }[];
  /** NetworkPolicies isolate the pod, and none of their rules matches. */
  readonly isolated: boolean;
}

export interface PolicyExplanation {
  readonly verdict: 'allowed' | 'denied';
  readonly directions: readonly [egress: DirectionExplained, ingress: DirectionExplained];
  /** What would have to differ for the other verdict; empty if no policy is involved. */
  readonly wouldDiffer: readonly string[];
}

export interface PolicyObjects {
  readonly policies: readonly (NetworkPolicy | ClusterNetworkPolicy)[];
  /** Labels of namespaces, by name. */
  readonly namespaces: ReadonlyMap<string, Labels>;
  readonly nodes: readonly PolicyNode[];
}

export function explainPolicies(question: PolicyQuestion, objects: PolicyObjects): PolicyExplanation {
  const egress = explainDirection('egress', question, objects);
  const ingress = explainDirection('ingress', question, objects);
  const verdict = egress.allowed && ingress.allowed ? 'allowed' : 'denied';
  return { verdict, directions: [egress, ingress], wouldDiffer: differences(question, egress, ingress) };
}

type Decision = Pick<DirectionExplained, 'allowed' | 'decidedBy' | 'isolated'>;
const UNDECIDED: Decision = { allowed: true, decidedBy: [], isolated: false };

function explainDirection(direction: Direction, question: PolicyQuestion, objects: PolicyObjects): DirectionExplained {
  const { from, to } = question;
  const [subject, peer] = direction === 'egress' ? [from, to] : [to, from];
  if (subject.pod === undefined) return { direction, subject: undefined, policies: [], ...UNDECIDED };
  const { pod } = subject;
  const policies = objects.policies
    .map(policyRules)
    .filter((policy) => policy[direction] !== undefined && applies(policy, pod, objects))
    .sort(inOrder)
    .map((policy): PolicyExplained => {
      const { name, tier, priority, audit: audited } = policy;
      const rules = policy[direction]!.map((rule, i) => explainRule(rule, i, policy, { peer, question, objects }));
      return { name, tier, priority, audited, rules };
    });
  const itself = from.ip === to.ip;
  // What a pod sends to its own address does not leave it.
  const decision =
    itself && !question.throughService
      ? UNDECIDED
      : decide(
          policies.filter(({ audited }) => !audited),
          itself,
        );
  return { direction, subject: subject.text, policies, ...decision };
}

function applies({ namespace, namespaces, podSelector }: PolicyRules, pod: PolicyPod, objects: PolicyObjects): boolean {
  const there =
    namespaces === undefined
      ? namespace === pod.namespace
      : matchesSelector(namespaces, objects.namespaces.get(pod.namespace) ?? {});
  return there && matchesSelector(podSelector, pod.labels);
}

interface Compared {
  readonly peer: PolicyEnd;
  readonly question: PolicyQuestion;
  readonly objects: PolicyObjects;
}

function explainRule(
  rule: PolicyRule,
  i: number,
  { namespace }: PolicyRules,
  { peer, question, objects }: Compared,
): RuleExplained {
  const peers = (rule.peers ?? []).map((one) => peerTerm(one, namespace, peer, objects));
  const ports = (rule.ports ?? []).map((one) => portTerm(one, question));
  // A rule whose only peers were invalid matches nobody.
  const who = rule.peers === undefined || peers.some(({ matches }) => matches);
  const what = rule.ports === undefined || ports.some(({ matches }) => matches);
  return { number: i + 1, name: rule.name, action: rule.action, peers, ports, matches: who && what };
}

/** Tier by tier. @param itself NetworkPolicies do not isolate a pod from itself */
function decide(policies: readonly PolicyExplained[], itself: boolean): Decision {
  const matching = (tier: Tier) =>
    policies
      .filter((policy) => policy.tier === tier)
      .flatMap((policy) => policy.rules.filter(({ matches }) => matches).map((rule) => ({ policy, rule })));
  const first = (tier: Tier): Decision | undefined => {
    const [found] = matching(tier);
    if (found === undefined || found.rule.action === 'pass') return undefined;
    return { allowed: found.rule.action === 'accept', decidedBy: [found], isolated: false };
  };
  const admin = first('admin');
  if (admin !== undefined) return admin;
  if (policies.some(({ tier }) => tier === 'namespaced')) {
    if (itself) return UNDECIDED;
    const allowing = matching('namespaced');
    return { allowed: allowing.length > 0, decidedBy: allowing, isolated: allowing.length === 0 };
  }
  return first('baseline') ?? UNDECIDED;
}

function peerTerm(
  peer: PolicyPeer,
  own: string | undefined,
  end: PolicyEnd,
  { namespaces, nodes }: PolicyObjects,
): Term {
  if (peer.kind === 'nodes') {
    const node = nodes.find(({ addresses }) => addresses.includes(end.ip));
    return {
      text: `nodes ${selectorText(peer.nodes)}`,
      matches: node !== undefined && matchesSelector(peer.nodes, node.labels),
    };
  }
  if (peer.kind === 'block') {
    const ip = parseIp(end.ip);
    const inside = ip !== undefined && contains(peer.block, ip) && !peer.except.some((hole) => contains(hole, ip));
    const except = peer.except.length > 0 ? ` except ${peer.except.map(printCidr).join(', ')}` : '';
    return { text: `${printCidr(peer.block)}${except}`, matches: inside };
  }
  const where = peer.namespaces === undefined ? `in ${own}` : `in namespaces ${selectorText(peer.namespaces)}`;
  const text = `pods ${selectorText(peer.pods)} ${where}`;
  if (end.pod === undefined) return { text, matches: false };
  const there =
    peer.namespaces === undefined
      ? end.pod.namespace === own
      : matchesSelector(peer.namespaces, namespaces.get(end.pod.namespace) ?? {});
  return { text, matches: there && matchesSelector(peer.pods, end.pod.labels) };
}

function portTerm(port: PolicyPort, { protocol, port: number, to }: PolicyQuestion): Term {
  if ('name' in port) {
    const wanted = port.protocol;
    const named = (to.pod?.ports ?? []).filter(
      (declared) => declared.name === port.name && (wanted ?? declared.protocol) === declared.protocol,
    );
    const numbers = named.map((declared) => declared.port).join(', ') || 'a port that the receiver does not name';
    const text = `${wanted === undefined ? 'port' : protocolName(wanted).toUpperCase()} ${port.name} (${numbers})`;
    return { text, matches: named.some((declared) => declared.protocol === protocol && declared.port === number) };
  }
  const name = protocolName(port.protocol).toUpperCase();
  const every = port.first === 0 && port.last === 65535;
  const range = every ? '' : port.first === port.last ? ` ${port.first}` : ` ${port.first}-${port.last}`;
  return {
    text: `${name}${range}`,
    matches: protocol === port.protocol && number >= port.first && number <= port.last,
  };
}

/** `app=web`, `tier in (a, b)`, `all`. */
function selectorText({ matchLabels = {}, matchExpressions = [] }: LabelSelector): string {
  const terms = [
    ...Object.entries(matchLabels).map(([key, value]) => `${key}=${value}`),
    ...matchExpressions.map(({ key, operator, values = [] }) => {
      if (operator === 'Exists') return key;
      if (operator === 'DoesNotExist') return `!${key}`;
      return `${key} ${operator === 'In' ? 'in' : 'notin'} (${values.join(', ')})`;
    }),
  ];
  return terms.length === 0 ? 'all' : terms.join(',');
}

function differences(question: PolicyQuestion, ...directions: readonly DirectionExplained[]): string[] {
  const denied = directions.filter(({ allowed }) => !allowed);
  if (denied.length > 0) return denied.map((direction) => howToAllow(question, direction));
  return directions
    .filter(({ decidedBy }) => decidedBy.length > 0)
    .map(({ direction, decidedBy }) => {
      const rules = decidedBy.map(({ policy, rule }) => ruleName(policy, rule));
      return `to be denied by ${direction}, it would have to match none of: ${rules.join(', ')}`;
    });
}

/** The NetworkPolicies that isolate the pod; audited ones do not. */
export const isolatingPolicies = ({ policies }: DirectionExplained): PolicyExplained[] =>
  policies.filter(({ tier, audited }) => tier === 'namespaced' && !audited);

/** `default/web rule 2`, `ClusterNetworkPolicy baseline rule 1 "deny-all"`. */
export function ruleName({ name, tier }: PolicyExplained, rule: RuleExplained): string {
  const kind = tier === 'namespaced' ? '' : 'ClusterNetworkPolicy ';
  return `${kind}${name} rule ${rule.number}${rule.name === '' ? '' : ` "${rule.name}"`}`;
}

function howToAllow({ from, to, protocol, port }: PolicyQuestion, explained: DirectionExplained) {
  const { direction, subject, decidedBy } = explained;
  const peer = direction === 'egress' ? to : from;
  const what = port === 0 ? protocolName(protocol).toUpperCase() : `${protocolName(protocol).toUpperCase()} ${port}`;
  const [decider] = decidedBy;
  if (decider !== undefined) {
    const before = decider.policy.tier === 'baseline' ? ', or a NetworkPolicy would have to allow it' : '';
    return `${ruleName(decider.policy, decider.rule)} would have to match less, or a rule before it would have to accept ${peer.text}, ${what}${before}`;
  }
  const isolating = isolatingPolicies(explained);
  // The rule that comes closest: its peers match but not its ports, or the other way round.
  for (const { name, rules } of isolating) {
    for (const { number, peers, ports } of rules) {
      const who = peers.length === 0 || peers.some(({ matches }) => matches);
      if (who) return `rule ${number} of ${name} would have to allow ${what} (it has ${list(ports)})`;
      const fits = ports.length === 0 || ports.some(({ matches }) => matches);
      if (fits)
        return `rule ${number} of ${name} would have to match ${peer.text}${labelsText(peer)} (it has ${list(peers)})`;
    }
  }
  const names = isolating.map(({ name }) => name).join(', ');
  return `a policy would have to allow ${direction} of ${subject} ${direction === 'egress' ? 'to' : 'from'} ${peer.text}, ${what} (${names} isolate${isolating.length === 1 ? 's' : ''} it)`;
}

const list = (terms: readonly Term[]): string => terms.map(({ text }) => text).join(' or ') || 'none';

function labelsText({ pod }: PolicyEnd): string {
  if (pod === undefined) return '';
  const labels = Object.entries(pod.labels).map(([key, value]) => `${key}=${value}`);
  return ` with ${labels.join(',') || 'no labels'}`;
}
