/** ClusterNetworkPolicy (policy.networking.k8s.io/v1alpha2). */
import type { KubeObject, LabelSelector } from './objects.ts';

export interface ClusterNetworkPolicy extends KubeObject {
  spec: {
    tier: 'Admin' | 'Baseline';
    priority: number;
    subject: { namespaces?: LabelSelector; pods?: NamespacedPods };
    ingress?: ClusterPolicyRule[];
    egress?: ClusterPolicyRule[];
  };
}

export interface NamespacedPods {
  namespaceSelector?: LabelSelector;
  podSelector: LabelSelector;
}

export interface ClusterPolicyRule {
  name?: string;
  action: 'Accept' | 'Deny' | 'Pass';
  /** Ingress. */
  from?: ClusterPolicyPeer[];
  /** Egress. */
  to?: ClusterPolicyPeer[];
  protocols?: ClusterPolicyProtocol[];
}

/** One of these. Only egress has nodes, networks and domainNames. */
export interface ClusterPolicyPeer {
  namespaces?: LabelSelector;
  pods?: NamespacedPods;
  nodes?: LabelSelector;
  networks?: string[];
  domainNames?: string[];
}

/** One of these. */
export interface ClusterPolicyProtocol {
  tcp?: DestinationPort;
  udp?: DestinationPort;
  sctp?: DestinationPort;
  destinationNamedPort?: string;
}

export interface DestinationPort {
  destinationPort?: { number?: number; range?: { start: number; end: number } };
}
