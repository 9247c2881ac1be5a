/**
 * A node's configuration: what follows from its Node object, the cluster's options and the underlay. Derived as a whole
 * whenever one of them changes, frozen, and read by every part; no other part combines the three.
 */
import { OVERLAYS } from '../../native-free-dataplane/overlay/modes.ts';
import { type ClusterOptions, clusterDnsAddress, OVERLAY_OPTIONS } from '../api/cluster-options.ts';
import { type NodeObject, WellKnown } from '../api/types/objects.ts';
import type { AddressRules } from '../compile/frontends.ts';
import { parseCidr } from '../net/address.ts';
import type { ConntrackOptions } from './connections/settings.ts';
import type { NodeIdentity } from './node-sync.ts';
import type { OverlayNode } from './overlay/node-overlay.ts';
import { NODE_OVERLAYS } from './overlay/overlay.ts';

/** Ports of the node's address that masqueraded connections to the outside use (docs/semantics.md). */
const MASQUERADE_PORTS: readonly [number, number] = [32768, 49151];

/** The device that bears the node's address, and the network it is in. */
export interface Underlay {
  readonly device: string;
  readonly mtu: number;
  /** Prefix length of the node's address: the addresses its link reaches without a router. */
  readonly prefix: number;
}

export interface ConfigInputs {
  readonly node: NodeObject;
  readonly cluster: ClusterOptions;
  readonly underlay: Underlay;
}

export interface NodeConfig extends OverlayNode, NodeIdentity, ConntrackOptions {
  /** Forwarding workers. */
  readonly workers: number;
  /** Tracked connections there is room for. */
  readonly maxConntrack: number;
  readonly underlayPrefix: number;
  /** Who answers for the cluster's names: the agents, or something that the user deploys. */
  readonly dns: ClusterOptions['dns'];
  /** Address of Service kube-system/kube-dns. */
  readonly dnsAddress: string;
  readonly dnsUpstreams: readonly string[];
  readonly clusterDomain: string;
  /** Topology zone of the node: which endpoints are near. */
  readonly zone: string | undefined;
  /** The node is being deleted: load balancers shall send it nothing new (KEP-3836). */
  readonly leaving: boolean;
  /** The operator's rules about the addresses that users may give their services. */
  readonly addressRules: AddressRules;
}

/** What a node's devices, tables and rules are made for: it stays as it is until the node's agent is started anew. */
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
  'underlayDevice',
  'underlayPrefix',
  'dns',
  'dnsAddress',
  'dnsUpstreams',
  'clusterDomain',
] as const satisfies readonly (keyof NodeConfig)[];
type BuiltWith = Pick<NodeConfig, (typeof BUILT_WITH)[number]>;

function builtWith({ node, cluster, underlay }: ConfigInputs): BuiltWith {
  return {
    nodeName: node.metadata.name,
    nodeIP: addressOf(node),
    podCIDR: podNetworkOf(node),
    clusterCIDR: cluster.podCidr,
    serviceCIDR: cluster.serviceCidr,
    ...pick(cluster, OVERLAY_OPTIONS),
    rawSocket: NODE_OVERLAYS[cluster.overlay].usesRawSocket(cluster),
    workers: cluster.workers > 0 ? cluster.workers : 1,
    maxConntrack: cluster.maxConntrack,
    underlayDevice: underlay.device,
    underlayPrefix: underlay.prefix,
    dns: cluster.dns,
    dnsAddress: dnsAddressOf(cluster),
    dnsUpstreams: cluster.dnsUpstreams,
    clusterDomain: cluster.clusterDomain,
  };
}

/** The node's address on the underlay. @throws Error for a Node that has none */
export function addressOf(node: NodeObject): string {
  const internal = node.status?.addresses?.find(({ type }) => type === 'InternalIP')?.address;
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
 * The configuration that follows from the inputs.
 * @param former the configuration before: what the node was built with is taken from it, whatever the inputs have now
 * @throws Error for a Node without an address or a pod network, when there is no `former`
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
    nodePortRange: cluster.nodePortRange,
    masqueradePorts: MASQUERADE_PORTS,
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

/** Some properties of an object, in another. */
function pick<T extends object, K extends keyof T>(from: T, keys: readonly K[]): Pick<T, K> {
  return Object.fromEntries(keys.map((key) => [key, from[key]])) as Pick<T, K>;
}

/** A frozen copy: what the API's objects hold stays theirs. */
function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value;
  const copy = Array.isArray(value)
    ? value.map((item) => deepFreeze(item))
    : Object.fromEntries(Object.entries(value).map(([key, item]) => [key, deepFreeze(item)]));
  return Object.freeze(copy) as T;
}

const same = (one: unknown, other: unknown): boolean => JSON.stringify(one) === JSON.stringify(other);

/** The node's configuration as it is now, and who reads which of its values. */
export class LiveConfig {
  private config: NodeConfig;
  private inputs: ConfigInputs;
  private readonly log: (line: string) => void;
  private readonly followers: { readonly keys: readonly (keyof NodeConfig)[]; readonly apply: ConfigFollower }[] = [];

  /** @throws Error as deriveConfig */
  constructor(inputs: ConfigInputs, log: (line: string) => void) {
    this.inputs = inputs;
    this.config = deriveConfig(inputs);
    this.log = log;
  }

  get current(): NodeConfig {
    return this.config;
  }

  /** Call `apply` whenever one of the values has changed; in the order of registration. It may throw: that is logged. */
  follow(keys: readonly (keyof NodeConfig)[], apply: ConfigFollower): void {
    this.followers.push({ keys, apply });
  }

  /** One or more of the inputs are new. */
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
