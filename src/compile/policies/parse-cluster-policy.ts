/**
 * A ClusterNetworkPolicy as rules that can be matched (sigs.k8s.io/network-policy-api, apis/v1alpha2). Where a rule has
 * a peer or a protocol that is not known here, it fails closed as the API asks for: such a rule accepts nothing; one
 * that denies or passes denies everything.
 */
import { SERVICE_PROTOCOLS } from '../../../native-free-dataplane/protocols.ts';
import type {
  ClusterNetworkPolicy,
  ClusterPolicyPeer,
  ClusterPolicyProtocol,
  ClusterPolicyRule,
  DestinationPort,
} from '../../api/types/cluster-network-policy.ts';
import type { NetworkPolicy } from '../../api/types/network-policy.ts';
import { parseCidr } from '../../net/address.ts';
import { parsePolicy } from './parse-policy.ts';
import {
  type Action,
  isAudited,
  LAST_PORT,
  type PolicyPeer,
  type PolicyPort,
  type PolicyRule,
  type PolicyRules,
} from './policy-rules.ts';

/** A policy of either kind. */
export const policyRules = (policy: NetworkPolicy | ClusterNetworkPolicy): PolicyRules =>
  policy.kind === 'ClusterNetworkPolicy'
    ? parseClusterPolicy(policy as ClusterNetworkPolicy)
    : parsePolicy(policy as NetworkPolicy);

function parseClusterPolicy({ metadata, spec }: ClusterNetworkPolicy): PolicyRules {
  const { subject, ingress = [], egress = [] } = spec;
  return {
    name: metadata.name,
    tier: spec.tier === 'Admin' ? 'admin' : 'baseline',
    priority: spec.priority,
    audit: isAudited(metadata),
    namespace: undefined,
    namespaces: subject.pods?.namespaceSelector ?? subject.namespaces ?? {},
    podSelector: subject.pods?.podSelector ?? {},
    ingress: ingress.length === 0 ? undefined : ingress.map((rule) => parseRule(rule, rule.from)),
    egress: egress.length === 0 ? undefined : egress.map((rule) => parseRule(rule, rule.to)),
  };
}

function parseRule(
  { name = '', action, protocols }: ClusterPolicyRule,
  given: readonly ClusterPolicyPeer[] = [],
): PolicyRule {
  const peers = given.map(parsePeers);
  const ports = protocols?.map(parseProtocol);
  const known = peers.every((some) => some !== undefined) && (ports ?? []).every((some) => some !== undefined);
  if (!known) {
    return action === 'Accept'
      ? { action: 'accept', name, peers: [], ports: undefined }
      : { action: 'deny', name, peers: undefined, ports: undefined };
  }
  const found = { action: action.toLowerCase() as Action, name, peers: peers.flatMap((some) => some ?? []) };
  return { ...found, ports: ports?.flatMap((some) => some ?? []) };
}

/** Undefined if the peer is of no known kind. */
function parsePeers({ namespaces, pods, nodes, networks, domainNames }: ClusterPolicyPeer): PolicyPeer[] | undefined {
  if (namespaces !== undefined) return [{ kind: 'pods', namespaces, pods: {} }];
  if (pods !== undefined) return [{ kind: 'pods', namespaces: pods.namespaceSelector ?? {}, pods: pods.podSelector }];
  if (nodes !== undefined) return [{ kind: 'nodes', nodes }];
  if (networks !== undefined) {
    const blocks = networks.map(parseCidr);
    if (blocks.some((block) => block === undefined)) return undefined;
    return blocks.map((block) => ({ kind: 'block', block: block!, except: [] }));
  }
  // Names are not resolved here: they match nothing.
  return domainNames === undefined ? undefined : [];
}

/** Undefined if the protocol is not a known one. */
function parseProtocol(protocol: ClusterPolicyProtocol): PolicyPort[] | undefined {
  const { tcp, udp, sctp, destinationNamedPort } = protocol;
  if (destinationNamedPort !== undefined) return [{ protocol: undefined, name: destinationNamedPort }];
  const [name, fields] = tcp ? ['TCP', tcp] : udp ? ['UDP', udp] : ['SCTP', sctp];
  return fields === undefined ? undefined : [portsOf(SERVICE_PROTOCOLS[name as string]!, fields as DestinationPort)];
}

function portsOf(protocol: number, { destinationPort }: DestinationPort): PolicyPort {
  const { number, range } = destinationPort ?? {};
  if (range !== undefined) return { protocol, first: range.start, last: range.end };
  return { protocol, first: number ?? 0, last: number ?? LAST_PORT };
}
