/** Policies of either kind with their defaults applied, as rules that can be matched. */
import { type KubeObject, type LabelSelector, WellKnown } from '../../api/types/objects.ts';
import type { Cidr } from '../../net/address.ts';

/** In the order in which they are asked. */
export type Tier = 'admin' | 'namespaced' | 'baseline';
/** `pass`: the rest of the tier is not asked. NetworkPolicies only accept. */
export type Action = 'accept' | 'deny' | 'pass';
export type Direction = 'ingress' | 'egress';

export interface PolicyRules {
  /** NAMESPACE/NAME, or NAME of a ClusterNetworkPolicy. */
  readonly name: string;
  readonly tier: Tier;
  /** Lower ones are asked first, within a tier of the cluster. */
  readonly priority: number;
  /** The policy denies nothing: what it would deny is logged. Its other rules have no effect either. */
  readonly audit: boolean;
  /** The policy's own namespace; undefined for a ClusterNetworkPolicy. */
  readonly namespace: string | undefined;
  /** Namespaces of the pods that it applies to, by their labels; undefined: its own. */
  readonly namespaces: LabelSelector | undefined;
  readonly podSelector: LabelSelector;
  /**
   * Undefined: the policy does not apply to this direction. An empty list of a NetworkPolicy isolates its pods and allows
   * nothing.
   */
  readonly ingress: readonly PolicyRule[] | undefined;
  readonly egress: readonly PolicyRule[] | undefined;
}

export interface PolicyRule {
  readonly action: Action;
  /** Empty if it has none; rules of NetworkPolicies never have one. */
  readonly name: string;
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
    }
  | { readonly kind: 'nodes'; readonly nodes: LabelSelector };

/** A range of ports of a protocol; or, by name, whatever port the receiving pod declares under it. */
export type PolicyPort =
  | { readonly protocol: number; readonly first: number; readonly last: number }
  /** Protocol undefined: whichever the port has. */
  | { readonly protocol: number | undefined; readonly name: string };

export const LAST_PORT = 65535;

/** Has the policy the annotation that makes it an audited one? */
export const isAudited = ({ annotations }: KubeObject['metadata']): boolean =>
  annotations?.[WellKnown.POLICY_AUDIT] === 'true';

export const namesPorts = ({ ports }: PolicyRule): boolean => ports?.some((port) => 'name' in port) ?? false;

const TIERS: readonly Tier[] = ['admin', 'namespaced', 'baseline'];

/** The order in which policies are asked. Of equal priority, the API leaves it open: here by name. */
export function inOrder(a: PolicyRules, b: PolicyRules): number {
  return TIERS.indexOf(a.tier) - TIERS.indexOf(b.tier) || a.priority - b.priority || (a.name < b.name ? -1 : 1);
}
