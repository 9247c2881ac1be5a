/** Random clusters with policies, from a seed: few labels, ports and networks, so that rules and traffic often meet. */
import type {
  ClusterNetworkPolicy,
  ClusterPolicyPeer,
  ClusterPolicyProtocol,
  ClusterPolicyRule,
} from '../../../src/api/types/cluster-network-policy.ts';
import type { NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort } from '../../../src/api/types/network-policy.ts';
import type { KubeObject, LabelSelector } from '../../../src/api/types/objects.ts';
import type { EvaluatedPod, Situation, Traffic } from './evaluator.ts';

/** Numbers from 0 to below `n`. */
export type Random = (n: number) => number;

const NAMESPACES = ['x', 'y', 'z'];
const KEYS = ['app', 'tier'];
const VALUES = ['a', 'b', 'c'];
const PORTS = [80, 81, 443, 5353];
const PROTOCOLS = ['TCP', 'UDP', 'SCTP'];
const BLOCKS = ['0.0.0.0/0', '10.0.0.0/8', '10.244.1.0/24', '10.244.2.0/25', '192.168.0.0/16', '192.168.1.7/32'];
const OUTSIDE = ['172.18.0.11', '172.18.0.12', '192.168.1.7', '192.168.9.9', '8.8.8.8', '10.1.2.3'];

export function randomSituation(random: Random): Situation {
  const pick = <T>(list: readonly T[]): T => list[random(list.length)]!;
  const chance = (percent: number) => random(100) < percent;
  const labels = () => Object.fromEntries(KEYS.filter(() => chance(70)).map((key) => [key, pick(VALUES)]));
  const some = <T>(most: number, make: () => T): T[] => Array.from({ length: random(most + 1) }, make);

  const pods: EvaluatedPod[] = Array.from({ length: 4 + random(8) }, (_, i) => ({
    namespace: pick(NAMESPACES),
    labels: labels(),
    ip: `10.244.${1 + (i & 1)}.${2 + i * 20}`,
    ports: chance(60) ? [{ name: 'web', protocol: pick(PROTOCOLS), port: pick(PORTS) }] : [],
  }));

  const audited = () => (chance(12) ? { annotations: { 'dataplane.dev/policy-audit': 'true' } } : {});
  const selector = (): LabelSelector => {
    if (chance(25)) return {};
    if (chance(60)) return { matchLabels: { [pick(KEYS)]: pick(VALUES) } };
    const operator = pick(['In', 'NotIn', 'Exists', 'DoesNotExist'] as const);
    const values = operator === 'In' || operator === 'NotIn' ? [pick(VALUES), pick(VALUES)] : undefined;
    return { matchExpressions: [{ key: pick(KEYS), operator, ...(values && { values }) }] } as LabelSelector;
  };
  const namespaceSelector = (): LabelSelector =>
    chance(50)
      ? { matchLabels: { name: pick(NAMESPACES) } }
      : chance(50)
        ? {}
        : { matchLabels: { team: pick(VALUES) } };
  const peer = (): NetworkPolicyPeer => {
    if (chance(30)) {
      const except = BLOCKS.filter((block) => block !== '0.0.0.0/0' && chance(20));
      return { ipBlock: { cidr: pick(BLOCKS), ...(except.length > 0 && { except }) } };
    }
    if (chance(40)) return { podSelector: selector() };
    return { namespaceSelector: namespaceSelector(), ...(chance(60) && { podSelector: selector() }) };
  };
  const port = (): NetworkPolicyPort => {
    const protocol = chance(30) ? {} : { protocol: pick(PROTOCOLS) };
    if (chance(15)) return protocol;
    if (chance(25)) return { ...protocol, port: 'web' };
    const first = pick(PORTS);
    return { ...protocol, port: first, ...(chance(25) && { endPort: first + random(400) }) };
  };
  const policy = (i: number): NetworkPolicy => {
    const ingress = chance(75) ? some(3, () => ({ from: some(2, peer), ports: some(2, port) })) : undefined;
    const egress = chance(50) ? some(3, () => ({ to: some(2, peer), ports: some(2, port) })) : undefined;
    const policyTypes = chance(60) ? (['Ingress', 'Egress'] as const).filter(() => chance(70)) : [];
    return {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: `p${i}`, namespace: pick(NAMESPACES), ...audited() },
      spec: {
        podSelector: selector(),
        ...(policyTypes.length > 0 && { policyTypes }),
        ...(ingress && { ingress }),
        ...(egress && { egress }),
      },
    } as NetworkPolicy;
  };
  const NODES = [
    { labels: { pool: 'a' }, addresses: ['172.18.0.11'] },
    { labels: { pool: 'b' }, addresses: ['172.18.0.12', '192.168.1.7'] },
  ];
  const clusterPeer = (direction: 'ingress' | 'egress'): ClusterPolicyPeer => {
    if (direction === 'egress' && chance(35)) {
      const networks = [...new Set([pick(BLOCKS), pick(BLOCKS)])];
      if (chance(70)) return { networks };
      return chance(80)
        ? { nodes: chance(50) ? {} : { matchLabels: { pool: pick(['a', 'b']) } } }
        : { domainNames: ['a.b'] };
    }
    if (chance(40)) return { namespaces: namespaceSelector() };
    return { pods: { namespaceSelector: namespaceSelector(), podSelector: selector() } };
  };
  const clusterProtocol = (named: boolean): ClusterPolicyProtocol => {
    if (named && chance(30)) return { destinationNamedPort: 'web' };
    const first = pick(PORTS);
    const destinationPort = chance(30) ? { range: { start: first, end: first + 1 + random(400) } } : { number: first };
    return { [pick(['tcp', 'udp', 'sctp'])]: { destinationPort } };
  };
  const clusterRule = (direction: 'ingress' | 'egress'): ClusterPolicyRule => {
    const peers = [clusterPeer(direction), ...some(1, () => clusterPeer(direction))];
    const named = peers.every(({ namespaces, pods }) => namespaces ?? pods);
    const accepts = peers.some(({ domainNames }) => domainNames);
    return {
      action: accepts ? 'Accept' : pick(['Accept', 'Deny', 'Deny', 'Pass']),
      ...(direction === 'ingress' ? { from: peers } : { to: peers }),
      ...(chance(50) && { protocols: [clusterProtocol(named), ...some(1, () => clusterProtocol(named))] }),
    };
  };
  const clusterPolicy = (priority: number): ClusterNetworkPolicy => ({
    apiVersion: 'policy.networking.k8s.io/v1alpha2',
    kind: 'ClusterNetworkPolicy',
    metadata: { name: `c${priority}`, ...audited() } as KubeObject['metadata'],
    spec: {
      tier: pick(['Admin', 'Baseline']),
      priority,
      subject: chance(50)
        ? { namespaces: namespaceSelector() }
        : { pods: { namespaceSelector: namespaceSelector(), podSelector: selector() } },
      ingress: some(3, () => clusterRule('ingress')),
      egress: some(3, () => clusterRule('egress')),
    },
  });
  return {
    // Priorities differ: of equal ones the API leaves the order open.
    clusterPolicies: chance(30) ? [] : Array.from({ length: 1 + random(4) }, (_, i) => clusterPolicy(10 * (9 - i))),
    nodes: NODES,
    policies: Array.from({ length: 1 + random(5) }, (_, i) => policy(i)),
    namespaces: Object.fromEntries(NAMESPACES.map((name) => [name, { name, team: pick(VALUES) }])),
    pods,
  };
}

export function randomTraffic(random: Random, { pods }: Situation): Traffic {
  const pick = <T>(list: readonly T[]): T => list[random(list.length)]!;
  const ends = [...pods.map(({ ip }) => ip), ...pods.map(({ ip }) => ip), ...OUTSIDE];
  const protocol = pick([...PROTOCOLS, 'TCP', 'ICMP']);
  return { from: pick(ends), to: pick(ends), protocol, port: protocol === 'ICMP' ? 0 : pick(PORTS) + random(2) };
}
