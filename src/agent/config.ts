/**
 * A node's configuration, derived from its Node object, the cluster's options and the underlay. It is recomputed as a
 * whole whenever one of them changes, frozen, and read by every part; no other part combines the three.
 */
import { OVERLAYS } from '../../native-free-dataplane/overlay/modes.ts';
import {
  type ClusterOptions,
  type ContainerRuntime,
  clusterDnsAddress,
  DEFAULT_CLUSTER_OPTIONS,
  OVERLAY_OPTIONS,
  usesRawSocket,
} from '../api/cluster-options.ts';
import { internalIpOf } from '../api/node-identity.ts';
import { type NodeObject, WellKnown } from '../api/types/objects.ts';
import type { AddressRules } from '../compile/frontends.ts';
import { parseCidr } from '../net/address.ts';
import type { ConntrackOptions } from './connections/settings.ts';
import type { NodeIdentity } from './node-sync.ts';
import type { OverlayNode } from './overlay/node-overlay.ts';

/** The device that has the node's address, and its network. */
export interface Underlay {
  readonly device: string;
  readonly mtu: number;
  /** Prefix length of the node's address: the addresses reachable on its link without a router. */
  readonly prefix: number;
}

/** What the configuration is derived from. */
export interface ConfigInputs {
  readonly node: NodeObject;
  readonly cluster: ClusterOptions;
  readonly underlay: Underlay;
}

/** A node's configuration. */
export interface NodeConfig extends OverlayNode, NodeIdentity, ConntrackOptions {
  /** Number of worker threads. */
  readonly workers: number;
  /** Capacity of the connection table. */
  readonly maxConntrack: number;
  readonly underlayPrefix: number;
  /** Address of the name server that this agent runs for its pods; undefined if another one serves them. */
  readonly nameServer: string | undefined;
  /** Address of Service kube-system/kube-dns. */
  readonly dnsAddress: string;
  readonly dnsUpstreams: readonly string[];
  readonly clusterDomain: string;
  readonly containerRuntime: ContainerRuntime;
  /** Topology zone of the node, for zone hints. */
  readonly zone: string | undefined;
  /** The node is being deleted: load balancers should send it no new connections (KEP-3836). */
  readonly leaving: boolean;
  /** The operator's rules about the addresses that services may use. */
  readonly addressRules: AddressRules;
}

/** Values that devices, tables and rules are built with: they keep their first value until the agent is restarted. */
const BUILT_WITH = [
  'nodeName',
  'nodeIP',
  'podCIDR',
  'clusterCIDR',
  'serviceCIDR',
  ...OVERLAY_OPTIONS,
  'rawSocket',
  'workers',
  'maxConntrack',
  'masqueradePorts',
  'underlayDevice',
  'underlayPrefix',
  'nameServer',
  'dnsAddress',
  'dnsUpstreams',
  'clusterDomain',
  'containerRuntime',
] as const satisfies readonly (keyof NodeConfig)[];
type BuiltWith = Pick<NodeConfig, (typeof BUILT_WITH)[number]>;

function builtWith({ node, cluster, underlay }: ConfigInputs): BuiltWith {
  const nodeIP = addressOf(node);
  return {
    nodeName: node.metadata.name,
    nodeIP,
    podCIDR: podNetworkOf(node),
    clusterCIDR: cluster.podCidr,
    serviceCIDR: cluster.serviceCidr,
    ...pick(cluster, OVERLAY_OPTIONS),
    rawSocket: usesRawSocket(cluster),
    workers: cluster.workers > 0 ? cluster.workers : 1,
    maxConntrack: cluster.maxConntrack,
    masqueradePorts: cluster.masqueradePorts,
    underlayDevice: underlay.device,
    underlayPrefix: underlay.prefix,
    nameServer: cluster.dns === 'agent' ? nodeIP : undefined,
    dnsAddress: dnsAddressOf(cluster),
    dnsUpstreams: cluster.dnsUpstreams,
    clusterDomain: cluster.clusterDomain,
    containerRuntime: cluster.containerRuntime,
  };
}

/** The node's address on the underlay. @throws Error for a Node that has none */
export function addressOf(node: NodeObject): string {
  const internal = internalIpOf(node);
  if (internal === undefined) throw new Error(`Node ${node.metadata.name} has no InternalIP address`);
  return internal;
}

function podNetworkOf(node: NodeObject): string {
  const podCIDR = node.spec?.podCIDR ?? '';
  if (podCIDR === '') throw new Error(`Node ${node.metadata.name} has no podCIDR`);
  return podCIDR;
}

function dnsAddressOf({ serviceCidr }: ClusterOptions): string {
  const range = parseCidr(serviceCidr);
  if (range === undefined) throw new Error(`serviceCidr ${serviceCidr}: expected a network such as 10.96.0.0/12`);
  return clusterDnsAddress(range);
}

/**
 * The configuration derived from the inputs.
 * @param former the previous configuration: the values the node was built with are taken from it, whatever the inputs
 *   contain now
 * @throws Error for a Node without an address or a pod network, if there is no `former`
 */
export function deriveConfig(inputs: ConfigInputs, former?: NodeConfig): NodeConfig {
  const { node, cluster, underlay } = inputs;
  const built = former === undefined ? builtWith(inputs) : pick(former, BUILT_WITH);
  const room = underlay.mtu - OVERLAYS[built.overlay].overheadBytes;
  return deepFreeze({
    ...built,
    zone: node.metadata.labels?.[WellKnown.ZONE],
    leaving: node.metadata.deletionTimestamp !== undefined,
    underlayMtu: underlay.mtu,
    podMtu: cluster.mtu > 0 ? Math.min(cluster.mtu, room) : room,
    portPolicy: cluster.portPolicy,
    localPolicyDrops: cluster.localPolicyAction === 'drop',
    forwardLinkLocal: cluster.forwardLinkLocal,
    nodePortRange: cluster.nodePortRange,
    conntrackTimeouts: cluster.conntrackTimeouts ?? {},
    conntrackTcpLiberal: cluster.conntrackTcpLiberal,
    conntrackTcpLoose: cluster.conntrackTcpLoose,
    addressRules: {
      podCidr: built.clusterCIDR,
      serviceCidr: built.serviceCIDR,
      underlayCidr: cluster.underlayCidr,
      externalIpCidrs: cluster.externalIpCidrs,
      loadBalancerPool: cluster.loadBalancerPool,
    },
  });
}

/** A copy of some properties of an object. */
function pick<T extends object, K extends keyof T>(from: T, keys: readonly K[]): Pick<T, K> {
  return Object.fromEntries(keys.map((key) => [key, from[key]])) as Pick<T, K>;
}

/** A frozen copy: objects of the API are not frozen themselves. */
function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value;
  const copy = Array.isArray(value)
    ? value.map((item) => deepFreeze(item))
    : Object.fromEntries(Object.entries(value).map(([key, item]) => [key, deepFreeze(item)]));
  return Object.freeze(copy) as T;
}

const same = (one: unknown, other: unknown): boolean => JSON.stringify(one) === JSON.stringify(other);

/** The node's current configuration, and its followers. */
export class LiveConfig {
  /** For options that the cluster does not set. */
  readonly defaults: ClusterOptions;
  private config: NodeConfig;
  private inputs: ConfigInputs;
  private readonly log: (line: string) => void;
  private readonly followers: { readonly keys: readonly (keyof NodeConfig)[]; readonly apply: ConfigFollower }[] = [];

  /** @throws Error as deriveConfig does */
  constructor(inputs: ConfigInputs, log: (line: string) => void, defaults = DEFAULT_CLUSTER_OPTIONS) {
    this.defaults = defaults;
    this.inputs = inputs;
    this.config = deriveConfig(inputs);
    this.log = log;
  }

  /** The Node object as last seen. */
  get node(): NodeObject {
    return this.inputs.node;
  }

  get current(): NodeConfig {
    return this.config;
  }

  /**
   * Call `apply` whenever one of the values has changed, in order of registration. If it throws, the error is logged.
   */
  follow(keys: readonly (keyof NodeConfig)[], apply: ConfigFollower): void {
    this.followers.push({ keys, apply });
  }

  /** Replace one or more of the inputs. */
  change(inputs: Partial<ConfigInputs>): void {
    this.inputs = { ...this.inputs, ...inputs };
    const former = this.config;
    const next = deriveConfig(this.inputs, former);
    if (same(next, former)) return;
    this.config = next;
    for (const { keys, apply } of this.followers) {
      const changed = keys.filter((key) => !same(next[key], former[key]));
      if (changed.length === 0) continue;
      try {
        apply(next);
      } catch (error) {
        this.log(`${changed.join(', ')} changed: ${(error as Error).message}`);
      }
    }
  }
}

export type ConfigFollower = (config: NodeConfig) => void;
