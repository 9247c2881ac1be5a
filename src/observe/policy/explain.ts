/**
 * Why policies allow or deny a connection: every policy that selects either end, rule by rule. Evaluates the API's
 * objects; what the nodes have in force is compiled from the same (src/compile/policies).
 */
import { protocolName } from '../../../native-free-dataplane/protocols.ts';
import { type Labels, matchesSelector } from '../../api/selectors.ts';
import type { NetworkPolicy } from '../../api/types/network-policy.ts';
import type { LabelSelector } from '../../api/types/objects.ts';
import type { PolicyNode } from '../../compile/policies/compile-policies.ts';
import { parsePolicy } from '../../compile/policies/parse-policy.ts';
import type { PolicyPod } from '../../compile/policies/pod-classes.ts';
import type { PolicyPeer, PolicyPort, PolicyRule } from '../../compile/policies/policy-rules.ts';
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
}

/** One peer or port of a rule. */
export interface Term {
  readonly text: string;
  readonly matches: boolean;
}

export interface RuleExplained {
  /** Position in the policy, from 1. */
  readonly number: number;
  readonly peers: readonly Term[];
  readonly ports: readonly Term[];
  readonly allows: boolean;
}

export interface DirectionExplained {
  readonly direction: 'egress' | 'ingress';
  /** The pod whose policies decide; undefined: this end is not a pod. */
  readonly subject: string | undefined;
  /** The policies that isolate it. */
  readonly policies: readonly { readonly name: string; readonly rules: readonly RuleExplained[] }[];
  readonly allowed: boolean;
}

export interface PolicyExplanation {
  readonly verdict: 'allowed' | 'denied';
  readonly directions: readonly [egress: DirectionExplained, ingress: DirectionExplained];
  /** What would have to differ for the other verdict; empty if no policy is involved. */
  readonly wouldDiffer: readonly string[];
}

export interface PolicyObjects {
  readonly policies: readonly NetworkPolicy[];
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

function explainDirection(
  direction: 'egress' | 'ingress',
  question: PolicyQuestion,
  objects: PolicyObjects,
): DirectionExplained {
  const { from, to } = question;
  const [subject, peer] = direction === 'egress' ? [from, to] : [to, from];
  if (subject.pod === undefined) return { direction, subject: undefined, policies: [], allowed: true };
  const { pod } = subject;
  const explained = objects.policies.map(parsePolicy).flatMap((policy) => {
    const rules = policy[direction];
    if (rules === undefined || policy.namespace !== pod.namespace || !matchesSelector(policy.podSelector, pod.labels))
      return [];
    const explain = (rule: PolicyRule, i: number): RuleExplained => {
      const peers = (rule.peers ?? []).map((one) => peerTerm(one, policy.namespace, peer, objects));
      const ports = (rule.ports ?? []).map((one) => portTerm(one, question));
      const passes = (terms: readonly Term[]) => terms.length === 0 || terms.some(({ matches }) => matches);
      // A rule whose only peers were invalid matches nobody.
      const who = rule.peers === undefined ? true : peers.length > 0 && passes(peers);
      const what = rule.ports === undefined ? true : ports.length > 0 && passes(ports);
      return { number: i + 1, peers, ports, allows: who && what };
    };
    return [{ name: policy.name, rules: rules.map(explain) }];
  });
  const itself = from.ip === to.ip;
  const allowed = itself || explained.length === 0 || explained.some(({ rules }) => rules.some(({ allows }) => allows));
  return { direction, subject: subject.text, policies: explained, allowed };
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
    .filter(({ policies }) => policies.length > 0)
    .map(({ direction, policies }) => {
      const rules = policies.flatMap(({ name, rules }) =>
        rules.filter(({ allows }) => allows).map(({ number }) => `${name} rule ${number}`),
      );
      return `to be denied by ${direction}, it would have to match none of: ${rules.join(', ') || 'its own address'}`;
    });
}

function howToAllow(
  { from, to, protocol, port }: PolicyQuestion,
  { direction, subject, policies }: DirectionExplained,
) {
  const peer = direction === 'egress' ? to : from;
  const what = port === 0 ? protocolName(protocol).toUpperCase() : `${protocolName(protocol).toUpperCase()} ${port}`;
  // The rule that comes closest: its peers match but not its ports, or the other way round.
  for (const { name, rules } of policies) {
    for (const { number, peers, ports } of rules) {
      const who = peers.length === 0 || peers.some(({ matches }) => matches);
      if (who) return `rule ${number} of ${name} would have to allow ${what} (it has ${list(ports)})`;
      const fits = ports.length === 0 || ports.some(({ matches }) => matches);
      if (fits)
        return `rule ${number} of ${name} would have to match ${peer.text}${labelsText(peer)} (it has ${list(peers)})`;
    }
  }
  const names = policies.map(({ name }) => name).join(', ');
  return `a policy would have to allow ${direction} of ${subject} ${direction === 'egress' ? 'to' : 'from'} ${peer.text}, ${what} (${names} isolate${policies.length === 1 ? 's' : ''} it)`;
}

const list = (terms: readonly Term[]): string => terms.map(({ text }) => text).join(' or ') || 'none';

function labelsText({ pod }: PolicyEnd): string {
  if (pod === undefined) return '';
  const labels = Object.entries(pod.labels).map(([key, value]) => `${key}=${value}`);
  return ` with ${labels.join(',') || 'no labels'}`;
}
