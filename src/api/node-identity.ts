/** How a Node is identified: the labels and addresses that kubelet gives it (pkg/kubelet/kubelet_node_status.go). */
import { type NodeObject, WellKnown } from './types/objects.ts';

/** Labels of a node that registers itself. */
export function nodeLabels(name: string): Record<string, string> {
  return { [WellKnown.HOSTNAME]: name, [WellKnown.OS]: 'linux' };
}

/** Addresses of a node. @param ip on the underlay */
export function nodeAddresses(name: string, ip: string): NonNullable<NonNullable<NodeObject['status']>['addresses']> {
  return [
    { type: 'InternalIP', address: ip },
    { type: 'Hostname', address: name },
  ];
}

/** The node's address on the underlay; undefined if it has none yet. */
export function internalIpOf(node: Pick<NodeObject, 'status'> | undefined): string | undefined {
  return node?.status?.addresses?.find(({ type }) => type === 'InternalIP')?.address;
}
