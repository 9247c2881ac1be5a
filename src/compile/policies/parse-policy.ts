/** A NetworkPolicy with its defaults applied, as rules that can be matched (networking/v1 types.go). */
import { SERVICE_PROTOCOLS } from '../../../native-free-dataplane/protocols.ts';
import type { NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort } from '../../api/types/network-policy.ts';
import type { LabelSelector } from '../../api/types/objects.ts';
import { type Cidr, parseCidr } from '../../net/address.ts';

export interface PolicyRules {
  /** NAMESPACE/NAME. */
  readonly name: string;
  readonly namespace: string;
  readonly podSelector: LabelSelector;
  /** Undefined: pods are not isolated in this direction. An empty list isolates them and allows nothing. */
  readonly ingress: readonly PolicyRule[] | undefined;
  readonly egress: readonly PolicyRule[] | undefined;
}

export interface PolicyRule {
  /** Undefined: everybody. */
  readonly peers: readonly PolicyPeer[] | undefined;
  /** Undefined: all traffic, whatever the protocol. */
  readonly ports: readonly PolicyPort[] | undefined;
}

export type PolicyPeer =
  | { readonly kind: 'block'; readonly block: Cidr; readonly except: readonly Cidr[] }
  | {
      readonly kind: 'pods';
      /** Namespaces by their labels; undefined: the policy's own. */
      readonly namespaces: LabelSelector | undefined;
      readonly pods: LabelSelector;
    };

/** A range of ports of a protocol; or, by name, whatever port the receiving pod declares under it. */
export type PolicyPort =
  | { readonly protocol: number; readonly first: number; readonly last: number }
  | { readonly protocol: number; readonly name: string };

const LAST_PORT = 65535;

export function parsePolicy({ metadata, spec = {} }: NetworkPolicy): PolicyRules {
  const { namespace = 'default', name } = metadata;
  // Egress only where there are egress rules (pkg/apis/networking/v1/defaults.go).
  const types = spec.policyTypes?.length ? spec.policyTypes : spec.egress?.length ? ['Ingress', 'Egress'] : ['Ingress'];
  return {
    name: `${namespace}/${name}`,
    namespace,
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
