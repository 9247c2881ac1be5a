/** The nodes of a cluster: names, addresses, pod networks, and their Node objects. */
import type { ClusterOptions } from '../api/cluster-options.ts';
import { flannelAnnotations } from '../api/flannel-backend.ts';
import { nodeAddresses, nodeLabels } from '../api/node-identity.ts';
import { parseCidr, printIp } from '../net/address.ts';
import type { ClusterNode } from './state.ts';

/** Offset of the first node's address in the underlay network. */
const FIRST_NODE = 11n;
/** The outside, the nodes and the broadcast address fit in a /24. */
const MAX_NODES = 200;

/** Names, addresses and pod networks of `count` nodes. Node i has the i-th /24 of the pods' network. */
export function planNodes(count: number, podCidr: string, underlayCidr: string): ClusterNode[] {
  const pods = parseCidr(podCidr)!;
  const underlay = parseCidr(underlayCidr)!;
  return Array.from({ length: count }, (_, i) => {
    // If the pod network is a single /24, it belongs to the only node.
    const network = pods.first + (pods.prefix === 24 ? 0n : BigInt(i + 1) * 256n);
    return {
      name: `n${i + 1}`,
      ip: printIp({ family: 4, value: underlay.first + FIRST_NODE + BigInt(i) }),
      podCIDR: `${printIp({ family: 4, value: network })}/24`,
    };
  });
}

/** How many nodes fit in a pod network. */
export function roomForNodes(podCidr: string): number {
  const { prefix } = parseCidr(podCidr)!;
  return Math.min(MAX_NODES, prefix >= 24 ? 1 : 2 ** (24 - prefix) - 1);
}

/** The Node object of a planned node, with flannel's annotations for peers that run flannel. */
export function nodeObject(node: ClusterNode, options: ClusterOptions) {
  return {
    apiVersion: 'v1' as const,
    kind: 'Node' as const,
    metadata: {
      name: node.name,
      labels: nodeLabels(node.name),
      annotations: flannelAnnotations(node, options),
    },
    spec: { podCIDR: node.podCIDR, podCIDRs: [node.podCIDR] },
    status: { addresses: nodeAddresses(node.name, node.ip) },
  };
}
