/**
 * The other nodes, synchronized with their Node objects: hops and routes in the tables, and the kernel's routes if
 * there is no tunnel.
 *
 * Node objects → overlay peers. flannel's annotations describe how a node is reached, whether it runs our agent or
 * flannel (flannel pkg/subnet/kube/annotations.go).
 */
import { parseMac } from '../../../native-free-dataplane/wire/address.ts';
import { parseBackendData, whyOtherBackend } from '../../api/flannel-backend.ts';
import { internalIpOf } from '../../api/node-identity.ts';
import { FlannelAnnotation, type NodeObject } from '../../api/types/objects.ts';
import { gatewayOf, macOf } from '../../net/pod-network.ts';
import type { NodeConfig } from '../config.ts';
import type { NodeSync, RemoteNode } from '../node-sync.ts';
import type { HostNetwork } from '../underlay/host-network.ts';

/** Lifetime of a learned path MTU (RFC 1191 §6.3; linux net.ipv4.route.mtu_expires). */
const PATH_MTU_MS = 600_000;

/** The options of the cluster that another node must agree on. */
export type OverlayOfCluster = Pick<NodeConfig, 'overlay' | 'vni'>;

/** The reason a Node's annotations do not match this cluster's overlay; undefined if they do. */
export function whyNoPeer(node: NodeObject, cluster: OverlayOfCluster): string | undefined {
  const annotations = node.metadata.annotations ?? {};
  const backend = annotations[FlannelAnnotation.BACKEND_TYPE];
  const { overlay } = cluster;
  if (backend !== undefined && backend !== overlay) return `its backend is ${backend}, this cluster's is ${overlay}`;
  return whyOtherBackend(parseBackendData(annotations[FlannelAnnotation.BACKEND_DATA]), cluster);
}

/** The peer described by a Node; undefined while it has no address or no pod network. */
export function remoteNodeOf(node: NodeObject): RemoteNode | undefined {
  const annotations = node.metadata.annotations ?? {};
  const podCIDRs = node.spec?.podCIDRs ?? (node.spec?.podCIDR ? [node.spec.podCIDR] : []);
  const first = podCIDRs[0];
  const ip = annotations[FlannelAnnotation.PUBLIC_IP] ?? internalIpOf(node);
  if (first === undefined || ip === undefined) return undefined;
  return {
    name: node.metadata.name,
    ip,
    podCIDRs,
    vtepMac: vtepMacOf(annotations[FlannelAnnotation.BACKEND_DATA]) ?? macOf(gatewayOf(first)),
  };
}

function vtepMacOf(text: string | undefined): string | undefined {
  const { VtepMAC: mac } = parseBackendData(text);
  return typeof mac === 'string' && parseMac(mac) !== undefined ? mac.toLowerCase() : undefined;
}

/** What the changes of nodes are applied to. */
export interface RemoteNodesOptions {
  readonly sync: NodeSync;
  readonly host: HostNetwork;
  readonly cluster: OverlayOfCluster;
  readonly log: (line: string) => void;
}

/** Applies changes of Node objects. */
export class RemoteNodes {
  private readonly options: RemoteNodesOptions;
  private readonly known = new Map<string, RemoteNode>();
  /** Nodes that are not peers, with the reason: logged once. */
  private readonly refused = new Map<string, string>();
  private routesDue = false;
  private readonly forgetting: NodeJS.Timeout;

  constructor(options: RemoteNodesOptions) {
    this.options = options;
    this.forgetting = setInterval(() => options.sync.forgetPathMtus(), PATH_MTU_MS).unref();
  }

  close(): void {
    clearInterval(this.forgetting);
  }

  /** A Node object is new or changed. */
  set(node: NodeObject): void {
    const { sync, cluster, log } = this.options;
    const { name } = node.metadata;
    const why = whyNoPeer(node, cluster);
    if (why !== undefined) {
      if (this.refused.get(name) !== why) log(`node ${name} cannot be reached: ${why}`);
      this.refused.set(name, why);
      this.remove(name);
      return;
    }
    this.refused.delete(name);
    const remote = remoteNodeOf(node);
    if (!remote || JSON.stringify(remote) === JSON.stringify(this.known.get(name))) return;
    this.known.set(remote.name, remote);
    this.carryOut(remote.name, () => sync.setNode(remote));
  }

  /** A Node object is gone. */
  remove(name: string): void {
    if (!this.known.delete(name)) return;
    this.carryOut(name, () => this.options.sync.removeNode(name));
  }

  private carryOut(name: string, change: () => void): void {
    try {
      change();
    } catch (error) {
      this.options.log(`node ${name}: ${(error as Error).message}`);
    }
    // Once for a list of thousands of nodes.
    if (!this.routesDue) queueMicrotask(() => this.followRoutes());
    this.routesDue = true;
  }

  private followRoutes(): void {
    const { host, log } = this.options;
    this.routesDue = false;
    const routes = [...this.known.values()].flatMap(({ podCIDRs, ip }) => podCIDRs.map((cidr) => [cidr, ip] as const));
    try {
      host.setNodeRoutes(new Map(routes));
    } catch (error) {
      log(`routes to other nodes: ${(error as Error).message}`);
    }
  }
}
