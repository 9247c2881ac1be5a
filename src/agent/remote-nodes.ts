/**
 * Node objects → overlay peers. A node is reached by what its annotations say, flannel's own ones, whether an agent of
 * ours runs there or flannel does (flannel pkg/subnet/kube/annotations.go).
 */
import type { NodeObject } from '../api/types.ts';
import { gatewayOf, macOf, type RemoteNode } from './node-sync.ts';

export const FlannelAnnotation = {
  BACKEND_TYPE: 'flannel.alpha.coreos.com/backend-type',
  BACKEND_DATA: 'flannel.alpha.coreos.com/backend-data',
  PUBLIC_IP: 'flannel.alpha.coreos.com/public-ip',
} as const;

/** The peer a Node is; undefined while it has no address or no pod network yet. */
export function remoteNodeOf(node: NodeObject): RemoteNode | undefined {
  const annotations = node.metadata.annotations ?? {};
  const podCIDRs = node.spec?.podCIDRs ?? (node.spec?.podCIDR ? [node.spec.podCIDR] : []);
  const first = podCIDRs[0];
  const ip =
    annotations[FlannelAnnotation.PUBLIC_IP] ??
    node.status?.addresses?.find(({ type }) => type === 'InternalIP')?.address;
  if (first === undefined || ip === undefined) return undefined;
  return {
    name: node.metadata.name,
    ip,
    podCIDRs,
    vtepMac: vtepMacOf(annotations[FlannelAnnotation.BACKEND_DATA]) ?? macOf(gatewayOf(first)),
  };
}

function vtepMacOf(backendData: string | undefined): string | undefined {
  try {
    const mac = (JSON.parse(backendData ?? '{}') as { VtepMAC?: unknown }).VtepMAC;
    return typeof mac === 'string' && /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(mac) ? mac.toLowerCase() : undefined;
  } catch {
    return undefined;
  }
}
