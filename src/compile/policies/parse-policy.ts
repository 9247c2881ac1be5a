/** A NetworkPolicy with its defaults applied, as rules that can be matched (networking/v1 types.go). */
import { SERVICE_PROTOCOLS } from '../../../native-free-dataplane/protocols.ts';
import type { NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort } from '../../api/types/network-policy.ts';
import { parseCidr } from '../../net/address.ts';
import {
  isAudited,
  LAST_PORT,
  type PolicyPeer,
  type PolicyPort,
  type PolicyRule,
  type PolicyRules,
} from './policy-rules.ts';

export function parsePolicy({ metadata, spec = {} }: NetworkPolicy): PolicyRules {
  const { namespace = 'default', name } = metadata;
  // Egress only where there are egress rules (pkg/apis/networking/v1/defaults.go).
  const types = spec.policyTypes?.length ? spec.policyTypes : spec.egress?.length ? ['Ingress', 'Egress'] : ['Ingress'];
  return {
    name: `${namespace}/${name}`,
    tier: 'namespaced',
    priority: 0,
    audit: isAudited(metadata),
    namespace,
    namespaces: undefined,
    podSelector: spec.podSelector ?? {},
    ingress: types.includes('Ingress')
      ? (spec.ingress ?? []).map(({ from, ports }) => parseRule(from, ports))
      : undefined,
    egress: types.includes('Egress') ? (spec.egress ?? []).map(({ to, ports }) => parseRule(to, ports)) : undefined,
  };
}

/** A list of peers or ports that is empty matches all, as one that is absent. */
function parseRule(peers: readonly NetworkPolicyPeer[] = [], ports: readonly NetworkPolicyPort[] = []): PolicyRule {
  return {
    action: 'accept',
    name: '',
    peers: peers.length === 0 ? undefined : peers.flatMap(parsePeer),
    ports: ports.length === 0 ? undefined : ports.flatMap(parsePort),
  };
}

/** Nothing for a peer that the API should have refused: it must not match more than was meant. */
function parsePeer({ ipBlock, namespaceSelector, podSelector }: NetworkPolicyPeer): PolicyPeer[] {
  if (ipBlock !== undefined) {
    const block = parseCidr(ipBlock.cidr);
    if (block === undefined) return [];
    return [{ kind: 'block', block, except: (ipBlock.except ?? []).flatMap((text) => parseCidr(text) ?? []) }];
  }
  if (namespaceSelector === undefined && podSelector === undefined) return [];
  return [{ kind: 'pods', namespaces: namespaceSelector, pods: podSelector ?? {} }];
}

function parsePort({ protocol = 'TCP', port, endPort }: NetworkPolicyPort): PolicyPort[] {
  const number = SERVICE_PROTOCOLS[protocol];
  if (number === undefined) return [];
  if (port === undefined) return [{ protocol: number, first: 0, last: LAST_PORT }];
  if (typeof port === 'string') return [{ protocol: number, name: port }];
  return [{ protocol: number, first: port, last: endPort ?? port }];
}
