/**
 * NetworkPolicies that allow the connections that were seen, and no others: for pods with equal labels one policy, with a
 * rule for each peer. Labels that change with each version of a workload do not count.
 */
import { protocolName } from '../../../native-free-dataplane/protocols.ts';
import { hasPorts } from '../../../native-free-dataplane/wire/ports.ts';
import type { Labels } from '../../api/selectors.ts';
import type { NetworkPolicy, NetworkPolicyPeer } from '../../api/types/network-policy.ts';
import { type LabelSelector, WellKnown } from '../../api/types/objects.ts';
import type { SeenConnection } from './seen.ts';

export interface AdvisedPod {
  readonly namespace: string;
  readonly labels: Labels;
  readonly ip: string;
}

export interface Advice {
  readonly policies: readonly NetworkPolicy[];
  /** Seen, and left out because only a rule for all ports could allow it. */
  readonly leftOut: readonly SeenConnection[];
}

/** Labels that controllers change with every version or pod of a workload. */
const VOLATILE = new Set([
  'pod-template-hash',
  'controller-revision-hash',
  'pod-template-generation',
  'statefulset.kubernetes.io/pod-name',
  'apps.kubernetes.io/pod-index',
  'batch.kubernetes.io/controller-uid',
  'batch.kubernetes.io/job-completion-index',
  'controller-uid',
  'job-name',
  'batch.kubernetes.io/job-name',
]);

/** Pods that policies shall not distinguish. */
interface PodGroup {
  readonly namespace: string;
  readonly labels: Labels;
  readonly ingress: Map<string, SeenPeer>;
  readonly egress: Map<string, SeenPeer>;
}

interface SeenPeer {
  readonly peer: NetworkPolicyPeer;
  readonly ports: Map<string, { readonly protocol: string; readonly port: number }>;
}

export interface AdviceOptions {
  /** The namespaces whose pods get policies: each of their pods is isolated, in both directions. */
  readonly isIncluded: (namespace: string) => boolean;
  /** What can be a peer like a pod, and gets no policy. */
  readonly peers?: readonly AdvisedPod[];
}

export function advise(
  seen: readonly SeenConnection[],
  pods: readonly AdvisedPod[],
  { isIncluded, peers = [] }: AdviceOptions,
): Advice {
  const groups = new Map<string, PodGroup>();
  const byAddress = new Map<string, PodGroup>();
  const isolated = new Set<PodGroup>();
  for (const { namespace, labels, ip } of [...pods, ...peers]) {
    const lasting = Object.entries(labels).filter(([key]) => !VOLATILE.has(key));
    const key = JSON.stringify([namespace, lasting.sort(([a], [b]) => (a < b ? -1 : 1))]);
    let group = groups.get(key);
    if (group === undefined) {
      group = { namespace, labels: Object.fromEntries(lasting), ingress: new Map(), egress: new Map() };
      groups.set(key, group);
    }
    byAddress.set(ip, group);
    if (isIncluded(namespace) && !peers.some((peer) => peer.ip === ip)) isolated.add(group);
  }
  const all = [...groups.values()];
  const leftOut = seen.filter((one) => !hasPorts(one.protocol));
  for (const one of seen) {
    const [from, to] = [byAddress.get(one.from), byAddress.get(one.to)];
    if (!hasPorts(one.protocol) || one.from === one.to) continue;
    if (from !== undefined) note(from.egress, peerOf(one.to, to, all), one);
    if (to !== undefined) note(to.ingress, peerOf(one.from, from, all), one);
  }
  const names = new Set<string>();
  return { policies: [...isolated].map((group) => policyOf(group, all, names)), leftOut };
}

function note(peers: Map<string, SeenPeer>, peer: NetworkPolicyPeer, { protocol, port }: SeenConnection): void {
  const key = JSON.stringify(peer);
  const known = peers.get(key) ?? { peer, ports: new Map() };
  const name = protocolName(protocol).toUpperCase();
  known.ports.set(`${name}/${port}`, { protocol: name, port });
  peers.set(key, known);
}

function peerOf(ip: string, group: PodGroup | undefined, all: readonly PodGroup[]): NetworkPolicyPeer {
  if (group === undefined) return { ipBlock: { cidr: `${ip}/${ip.includes(':') ? 128 : 32}` } };
  return {
    namespaceSelector: { matchLabels: { [WellKnown.NAMESPACE_NAME]: group.namespace } },
    podSelector: selectorOf(group, all),
  };
}

/** Selects the pods of the group, and of no other group in its namespace: those may have more labels. */
function selectorOf({ namespace, labels }: PodGroup, all: readonly PodGroup[]): LabelSelector {
  const more = new Set<string>();
  for (const other of all) {
    const selected =
      other.namespace === namespace && Object.entries(labels).every(([key, value]) => other.labels[key] === value);
    if (selected) for (const key of Object.keys(other.labels)) if (!(key in labels)) more.add(key);
  }
  return {
    ...(Object.keys(labels).length > 0 && { matchLabels: labels }),
    ...(more.size > 0 && {
      matchExpressions: [...more].sort().map((key) => ({ key, operator: 'DoesNotExist' as const })),
    }),
  };
}

function policyOf(group: PodGroup, all: readonly PodGroup[], names: Set<string>): NetworkPolicy {
  const rules = (peers: ReadonlyMap<string, SeenPeer>) =>
    [...peers]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, { peer, ports }]) => ({ peer, ports: [...ports.values()] }));
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: nameOf(group, names), namespace: group.namespace },
    spec: {
      podSelector: selectorOf(group, all),
      policyTypes: ['Ingress', 'Egress'],
      ingress: rules(group.ingress).map(({ peer, ports }) => ({ from: [peer], ports })),
      egress: rules(group.egress).map(({ peer, ports }) => ({ to: [peer], ports })),
    },
  } as unknown as NetworkPolicy;
}

/** From the label that usually names the workload; unique in the namespace. */
function nameOf({ namespace, labels }: PodGroup, names: Set<string>): string {
  const label =
    labels['app.kubernetes.io/name'] ?? labels.app ?? labels['k8s-app'] ?? Object.values(labels)[0] ?? 'pods';
  const base = `seen-${
    label
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, '-')
      .replace(/^-|-$/g, '') || 'pods'
  }`;
  for (let i = 1; ; i++) {
    const name = i === 1 ? base : `${base}-${i}`;
    if (names.has(`${namespace}/${name}`)) continue;
    names.add(`${namespace}/${name}`);
    return name;
  }
}
