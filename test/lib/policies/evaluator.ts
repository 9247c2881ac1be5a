/**
 * NetworkPolicy and ClusterNetworkPolicy read straight from the API's text (networking/v1 types.go, network-policy-api
 * apis/v1alpha2), pod by pod and rule by rule: slow, without classes, groups or tables. What the compiled tables answer is compared with it.
 */
import type {
  ClusterNetworkPolicy,
  ClusterPolicyPeer,
  ClusterPolicyProtocol,
} from '../../../src/api/types/cluster-network-policy.ts';
import type { NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort } from '../../../src/api/types/network-policy.ts';
import type { KubeObject, LabelSelector } from '../../../src/api/types/objects.ts';

export interface EvaluatedPod {
  namespace: string;
  labels: Record<string, string>;
  ip: string;
  ports: { name: string; protocol: string; port: number }[];
}

export interface Situation {
  policies: NetworkPolicy[];
  clusterPolicies: ClusterNetworkPolicy[];
  nodes: { labels: Record<string, string>; addresses: string[] }[];
  namespaces: Record<string, Record<string, string>>;
  pods: EvaluatedPod[];
}

export interface Traffic {
  from: string;
  to: string;
  /** TCP, UDP, SCTP or ICMP. */
  protocol: string;
  port: number;
}

/** egress or ingress: who denies it; undefined: nobody. */
export function denial(situation: Situation, traffic: Traffic): 'egress' | 'ingress' | undefined {
  if (traffic.from === traffic.to) return undefined;
  return denialBy(enforced(situation), traffic);
}

/** What is only audited denies nothing, and allows nothing either. */
function enforced(situation: Situation): Situation {
  const isEnforced = ({ metadata }: KubeObject) => metadata.annotations?.['dataplane.dev/policy-audit'] !== 'true';
  const { policies, clusterPolicies } = situation;
  return { ...situation, policies: policies.filter(isEnforced), clusterPolicies: clusterPolicies.filter(isEnforced) };
}

function denialBy(situation: Situation, traffic: Traffic): ReturnType<typeof denial> {
  const from = situation.pods.find(({ ip }) => ip === traffic.from);
  const to = situation.pods.find(({ ip }) => ip === traffic.to);
  const asked = { traffic, receiver: to };
  if (from && !passes(situation, { ...asked, direction: 'egress', subject: from, peer: to, peerIp: traffic.to })) {
    return 'egress';
  }
  if (to && !passes(situation, { ...asked, direction: 'ingress', subject: to, peer: from, peerIp: traffic.from })) {
    return 'ingress';
  }
  return undefined;
}

interface Asked {
  readonly traffic: Traffic;
  readonly direction: 'egress' | 'ingress';
  readonly subject: EvaluatedPod;
  readonly peer: EvaluatedPod | undefined;
  readonly peerIp: string;
  readonly receiver: EvaluatedPod | undefined;
}

/** The tiers in their order: Admin, NetworkPolicy, Baseline; then everything is allowed (v1alpha2 spec.tier). */
function passes(situation: Situation, asked: Asked): boolean {
  const admin = tier('Admin', situation, asked);
  if (admin === 'accept' || admin === 'deny') return admin === 'accept';
  const own = byNetworkPolicies(situation, asked);
  if (own !== undefined) return own;
  return tier('Baseline', situation, asked) !== 'deny';
}

/** Undefined: no NetworkPolicy isolates the pod in this direction. */
function byNetworkPolicies(
  { policies, namespaces }: Situation,
  { traffic, direction, subject, peer, peerIp, receiver }: Asked,
): boolean | undefined {
  let isolated = false;
  for (const { metadata, spec = {} } of policies) {
    if (metadata.namespace !== subject.namespace || !matches(spec.podSelector ?? {}, subject.labels)) continue;
    const egress = spec.policyTypes ? spec.policyTypes.includes('Egress') : (spec.egress ?? []).length > 0;
    const ingress = spec.policyTypes ? spec.policyTypes.includes('Ingress') : true;
    if (direction === 'egress' ? !egress : !ingress) continue;
    isolated = true;
    const rules =
      direction === 'egress'
        ? (spec.egress ?? []).map(({ to, ports }) => ({ peers: to, ports }))
        : (spec.ingress ?? []).map(({ from, ports }) => ({ peers: from, ports }));
    for (const { peers = [], ports = [] } of rules) {
      const who = peers.length === 0 || peers.some((one) => isPeer(one, metadata.namespace!, namespaces, peer, peerIp));
      const what = ports.length === 0 || ports.some((one) => isPort(one, traffic, receiver));
      if (who && what) return true;
    }
  }
  return isolated ? false : undefined;
}

type Answer = 'accept' | 'deny' | 'pass' | undefined;

/** The first rule that matches, of the policies of a tier in the order of their priorities (v1alpha2 spec.priority). */
function tier(
  name: 'Admin' | 'Baseline',
  situation: Situation,
  { traffic, direction, subject, peer, peerIp, receiver }: Asked,
): Answer {
  const { clusterPolicies, namespaces } = situation;
  const inTier = clusterPolicies.filter(({ spec }) => spec.tier === name);
  for (const { spec } of [...inTier].sort((a, b) => a.spec.priority - b.spec.priority)) {
    const { subject: whom } = spec;
    const labels = namespaces[subject.namespace] ?? {};
    const selected = whom.pods
      ? matches(whom.pods.namespaceSelector ?? {}, labels) && matches(whom.pods.podSelector, subject.labels)
      : matches(whom.namespaces!, labels);
    if (!selected) continue;
    for (const rule of spec[direction] ?? []) {
      const who = (direction === 'ingress' ? rule.from : rule.to)!.some((one) =>
        isClusterPeer(one, situation, peer, peerIp),
      );
      const what = rule.protocols === undefined || rule.protocols.some((one) => isProtocol(one, traffic, receiver));
      if (who && what) return rule.action.toLowerCase() as Answer;
    }
  }
  return undefined;
}

function isClusterPeer(
  { namespaces, pods, nodes, networks }: ClusterPolicyPeer,
  situation: Situation,
  peer: EvaluatedPod | undefined,
  ip: string,
): boolean {
  if (networks) return networks.some((cidr) => inBlock(ip, cidr));
  if (nodes) return situation.nodes.some(({ labels, addresses }) => matches(nodes, labels) && addresses.includes(ip));
  if (peer === undefined) return false;
  const labels = situation.namespaces[peer.namespace] ?? {};
  if (namespaces) return matches(namespaces, labels);
  // Names of domains are not resolved.
  return pods !== undefined && matches(pods.namespaceSelector ?? {}, labels) && matches(pods.podSelector, peer.labels);
}

function isProtocol(
  { tcp, udp, sctp, destinationNamedPort }: ClusterPolicyProtocol,
  traffic: Traffic,
  receiver: EvaluatedPod | undefined,
): boolean {
  if (destinationNamedPort) {
    return (receiver?.ports ?? []).some(
      (one) => one.name === destinationNamedPort && one.protocol === traffic.protocol && one.port === traffic.port,
    );
  }
  const fields = { TCP: tcp, UDP: udp, SCTP: sctp }[traffic.protocol];
  if (fields === undefined) return false;
  const { number: one, range } = fields.destinationPort!;
  return range === undefined ? traffic.port === one : traffic.port >= range.start && traffic.port <= range.end;
}

function isPeer(
  { ipBlock, namespaceSelector, podSelector }: NetworkPolicyPeer,
  own: string,
  namespaces: Situation['namespaces'],
  peer: EvaluatedPod | undefined,
  ip: string,
): boolean {
  if (ipBlock) return inBlock(ip, ipBlock.cidr) && !(ipBlock.except ?? []).some((cidr) => inBlock(ip, cidr));
  if (peer === undefined) return false;
  const there = namespaceSelector
    ? matches(namespaceSelector, namespaces[peer.namespace] ?? {})
    : peer.namespace === own;
  return there && (podSelector === undefined || matches(podSelector, peer.labels));
}

function isPort(
  { protocol = 'TCP', port, endPort }: NetworkPolicyPort,
  traffic: Traffic,
  receiver: EvaluatedPod | undefined,
): boolean {
  if (protocol !== traffic.protocol) return false;
  if (port === undefined) return true;
  if (typeof port === 'number') return traffic.port >= port && traffic.port <= (endPort ?? port);
  return receiver?.ports.some((p) => p.name === port && p.protocol === protocol && p.port === traffic.port) ?? false;
}

function matches({ matchLabels = {}, matchExpressions = [] }: LabelSelector, labels: Record<string, string>): boolean {
  if (Object.entries(matchLabels).some(([key, value]) => labels[key] !== value)) return false;
  return matchExpressions.every(({ key, operator, values = [] }) => {
    if (operator === 'Exists') return key in labels;
    if (operator === 'DoesNotExist') return !(key in labels);
    const found = key in labels && values.includes(labels[key]!);
    return operator === 'In' ? found : !found;
  });
}

const number = (ip: string): number => ip.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);

function inBlock(ip: string, cidr: string): boolean {
  const [network = '', prefix = '32'] = cidr.split('/');
  const size = 2 ** (32 - Number(prefix));
  return Math.floor(number(ip) / size) === Math.floor(number(network) / size);
}
