/**
 * The other nodes, kept in step with their Node objects: hops and routes in the tables, the raw socket's peers, the
 * kernel's routes where there is no overlay.
 *
 * Node objects → overlay peers. A node is reached by what its annotations say, flannel's own ones, whether an agent of
 * ours runs there or flannel does (flannel pkg/subnet/kube/annotations.go).
 */
import type { NodeObject } from '../api/types.ts';
import type { HostNetwork } from './host-network.ts';
import type { IpipTunnel } from './ipip-tunnel.ts';
import { gatewayOf, macOf, type NodeSync, type RemoteNode } from './node-sync.ts';

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

export interface RemoteNodesOptions {
  readonly sync: NodeSync;
  readonly host: HostNetwork;
  readonly tunnel: IpipTunnel | undefined;
  readonly log: (line: string) => void;
}

export class RemoteNodes {
  private readonly options: RemoteNodesOptions;
  private readonly known = new Map<string, RemoteNode>();

  constructor(options: RemoteNodesOptions) {
    this.options = options;
  }

  /** A Node object is new or changed. */
  set(node: NodeObject): void {
    const remote = remoteNodeOf(node);
    if (!remote) return;
    const { sync, tunnel } = this.options;
    const before = this.known.get(remote.name);
    if (before && before.ip !== remote.ip) tunnel?.removePeer(before.ip);
    this.known.set(remote.name, remote);
    tunnel?.addPeer(remote.ip);
    this.carryOut(remote.name, () => sync.setNode(remote));
  }

  /** A Node object is gone. */
  remove(name: string): void {
    const { sync, tunnel } = this.options;
    const known = this.known.get(name);
    if (!known) return;
    this.known.delete(name);
    tunnel?.removePeer(known.ip);
    this.carryOut(name, () => sync.removeNode(name));
  }

  private carryOut(name: string, change: () => void): void {
    const { host, log } = this.options;
    try {
      change();
      const routes = [...this.known.values()].flatMap(({ podCIDRs, ip }) =>
        podCIDRs.map((cidr) => [cidr, ip] as const),
      );
      host.setNodeRoutes(new Map(routes));
    } catch (error) {
      log(`node ${name}: ${(error as Error).message}`);
    }
  }
}
