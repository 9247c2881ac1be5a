/**
 * NetworkPolicy read straight from the API's text (networking/v1 types.go), pod by pod and rule by rule: slow, without
 * classes, groups or tables. What the compiled tables answer is compared with it.
 */
import type { NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort } from '../../../src/api/types/network-policy.ts';
import type { LabelSelector } from '../../../src/api/types/objects.ts';

export interface EvaluatedPod {
  namespace: string;
  labels: Record<string, string>;
  ip: string;
  ports: { name: string; protocol: string; port: number }[];
}

export interface Situation {
  policies: NetworkPolicy[];
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
  const from = situation.pods.find(({ ip }) => ip === traffic.from);
  const to = situation.pods.find(({ ip }) => ip === traffic.to);
  if (from !== undefined && !passes(situation, traffic, 'egress', from, to, traffic.to, to)) return 'egress';
  if (to !== undefined && !passes(situation, traffic, 'ingress', to, from, traffic.from, to)) return 'ingress';
  return undefined;
}

function passes(
  { policies, namespaces }: Situation,
  traffic: Traffic,
  direction: 'egress' | 'ingress',
  subject: EvaluatedPod,
  peer: EvaluatedPod | undefined,
  peerIp: string,
  receiver: EvaluatedPod | undefined,
): boolean {
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
  return !isolated;
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
