/**
 * Random policies, changed where the engines of cyclonus and policy-assistant are known to differ from Kubernetes or do not
 * know a field, so that what is left must be judged alike.
 */
import type {
  ClusterNetworkPolicy,
  ClusterPolicyPeer,
  ClusterPolicyProtocol,
  ClusterPolicyRule,
} from '../../../src/api/types/cluster-network-policy.ts';
import type { NetworkPolicy } from '../../../src/api/types/network-policy.ts';
import type { LabelSelector } from '../../../src/api/types/objects.ts';

/**
 * Their NotIn does not match an object without the label. Kubernetes' own selectors match it (apimachinery
 * pkg/labels/selector.go, Requirement.Matches). With Exists for the same key both agree.
 */
function withExists<T>(value: T): T {
  return JSON.parse(JSON.stringify(value), (_, one: LabelSelector) => {
    if (!Array.isArray(one?.matchExpressions)) return one;
    const exists = one.matchExpressions
      .filter(({ operator }) => operator === 'NotIn')
      .map(({ key }) => ({ key, operator: 'Exists' }));
    return { ...one, matchExpressions: [...one.matchExpressions, ...exists] };
  }) as T;
}

/** With the defaults that the API server sets, and without audits. */
export function agreedPolicy({ metadata, spec = {}, ...rest }: NetworkPolicy): NetworkPolicy {
  const policyTypes = spec.policyTypes ?? (spec.egress?.length ? ['Ingress', 'Egress'] : ['Ingress']);
  const { name, namespace } = metadata;
  return { ...rest, metadata: { name, namespace }, spec: withExists({ ...spec, policyTypes }) } as NetworkPolicy;
}

/** Named ports as a number: policy-assistant's command has no names of ports in its traffic. */
export function withoutPortNames(policy: NetworkPolicy, port: number): NetworkPolicy {
  return JSON.parse(JSON.stringify(policy), (key, value: unknown) =>
    key === 'port' && typeof value === 'string' ? port : value,
  ) as NetworkPolicy;
}

const selectsPods = ({ namespaces, pods }: ClusterPolicyPeer): boolean => (namespaces ?? pods) !== undefined;

/**
 * ClusterNetworkPolicies that v1alpha1 can express too, as its one Baseline policy and its AdminNetworkPolicies: of peers those
 * that select pods, of ports those with a number, and no Pass in the Baseline tier.
 */
export function agreedClusterPolicies(policies: readonly ClusterNetworkPolicy[]): ClusterNetworkPolicy[] {
  const baseline = policies.findIndex(({ spec }) => spec.tier === 'Baseline');
  return policies.flatMap(({ apiVersion, kind, metadata, spec }, i) => {
    const tier = i === baseline ? 'Baseline' : 'Admin';
    const rules = (given: readonly ClusterPolicyRule[] = []) => given.flatMap((rule) => agreedRule(rule, tier));
    const [ingress, egress] = [rules(spec.ingress), rules(spec.egress)];
    if (ingress.length + egress.length === 0) return [];
    const agreed = { ...spec, tier, ingress, egress };
    return [withExists({ apiVersion, kind, metadata: { name: metadata.name }, spec: agreed } as ClusterNetworkPolicy)];
  });
}

function agreedRule(rule: ClusterPolicyRule, tier: 'Admin' | 'Baseline'): ClusterPolicyRule[] {
  const action = tier === 'Baseline' && rule.action === 'Pass' ? 'Deny' : rule.action;
  const peers = (rule.from ?? rule.to ?? []).filter(selectsPods);
  const protocols = rule.protocols?.filter(({ destinationNamedPort }) => destinationNamedPort === undefined);
  if (peers.length === 0 || protocols?.length === 0) return [];
  return [{ action, ...(rule.from ? { from: peers } : { to: peers }), ...(protocols && { protocols }) }];
}

/** As policy-assistant reads it: AdminNetworkPolicy or BaselineAdminNetworkPolicy, v1alpha1 of network-policy-api 0.1.1. */
export function asV1alpha1({ metadata, spec }: ClusterNetworkPolicy): object {
  const isAdmin = spec.tier === 'Admin';
  const rules = (given: readonly ClusterPolicyRule[]) =>
    given.map(({ action, from, to, protocols }, i) => ({
      name: `rule-${i + 1}`,
      action: action === 'Accept' ? 'Allow' : action,
      ...(from ? { from: from.map(peerOf) } : { to: to!.map(peerOf) }),
      ...(protocols && { ports: protocols.map(portOf) }),
    }));
  const [ingress, egress] = [rules(spec.ingress ?? []), rules(spec.egress ?? [])];
  const { subject } = spec;
  return {
    apiVersion: 'policy.networking.k8s.io/v1alpha1',
    kind: isAdmin ? 'AdminNetworkPolicy' : 'BaselineAdminNetworkPolicy',
    metadata: { name: isAdmin ? metadata.name : 'default' },
    spec: {
      ...(isAdmin && { priority: spec.priority }),
      subject: subject.pods
        ? { pods: { namespaceSelector: subject.pods.namespaceSelector ?? {}, podSelector: subject.pods.podSelector } }
        : subject,
      ...(ingress.length > 0 && { ingress }),
      ...(egress.length > 0 && { egress }),
    },
  };
}

function peerOf({ namespaces, pods }: ClusterPolicyPeer): object {
  if (pods === undefined) return { namespaces: { namespaceSelector: namespaces } };
  const { namespaceSelector = {}, podSelector } = pods;
  return { pods: { namespaces: { namespaceSelector }, podSelector } };
}

function portOf({ tcp, udp, sctp }: ClusterPolicyProtocol): object {
  const protocol = tcp ? 'TCP' : udp ? 'UDP' : 'SCTP';
  const { number, range } = (tcp ?? udp ?? sctp)!.destinationPort!;
  return range ? { portRange: { protocol, ...range } } : { portNumber: { protocol, port: number } };
}
