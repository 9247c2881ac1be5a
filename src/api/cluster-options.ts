/**
 * The cluster's options: chosen at `dataplane up`, published in ConfigMap kube-system/dataplane-config, watched by
 * agents.
 */
import { OVERLAYS, type OverlayName, type OverlaySettings } from '../../native-free-dataplane/overlay/modes.ts';
import { type Cidr, nthAddress, printCidr, printIp } from '../net/address.ts';
import { CONFIG_MAP, type ConfigMap } from './types/objects.ts';

/** How packets travel between nodes. */
export interface OverlayOptions extends OverlaySettings {
  overlay: OverlayName;
}

/** The names of these options. */
export const OVERLAY_OPTIONS: readonly (keyof OverlayOptions)[] = ['overlay', 'ipipTransport', 'vxlanPort', 'vni'];

/** What starts containers of images: the first of crun and runc that works on the node, else our own launcher. */
export const CONTAINER_RUNTIMES = ['auto', 'crun', 'runc', 'launcher'] as const;
export type ContainerRuntime = (typeof CONTAINER_RUNTIMES)[number];

export interface ClusterOptions extends OverlayOptions {
  /** Pods' network; node i gets its i-th /24. */
  podCidr: string;
  serviceCidr: string;
  /** The network joining the nodes and the outside. */
  underlayCidr: string;
  /** MTU of pods' devices; 0: underlay minus the overlay's overhead. */
  mtu: number;
  /** Forwarding workers per node; 0: chosen by the agent. */
  workers: number;
  /** May a pod be reached on ports it does not declare? */
  portPolicy: 'open' | 'declared';
  /** First and last NodePort, both inclusive. */
  nodePortRange: readonly [first: number, last: number];
  /**
   * First and last port of a node's addresses for masqueraded connections to the outside. The kernel gives none of them
   * to the node's own sockets (docs/semantics.md).
   */
  masqueradePorts: readonly [first: number, last: number];
  /** Tracked connections per node. */
  maxConntrack: number;
  /** Seconds by name (native-free-dataplane/conntrack/timeouts.ts, TIMEOUT_NAMES); others have their default. */
  conntrackTimeouts: Readonly<Record<string, number>>;
  /** TCP segments outside the window pass (nf_conntrack_tcp_be_liberal). */
  conntrackTcpLiberal: boolean;
  /** TCP connections that are already running are picked up (nf_conntrack_tcp_loose). */
  conntrackTcpLoose: boolean;
  /**
   * For a Local traffic policy without an endpoint on the node: refuse at once, or drop silently as kube-proxy does.
   */
  localPolicyAction: 'reject' | 'drop';
  /** Do pods reach link-local addresses outside, 169.254.0.0/16, where clouds have the credentials of a machine? */
  forwardLinkLocal: boolean;
  /** Addresses for `type: LoadBalancer`: CIDRs or `first-last` ranges. Empty: no addresses are allocated. */
  loadBalancerPool: readonly string[];
  /** Networks `spec.externalIPs` may lie in (CVE-2020-8554). Empty: none are accepted. */
  externalIpCidrs: readonly string[];
  clusterDomain: string;
  containerRuntime: ContainerRuntime;
  /** What serves cluster DNS: each node's agent, or a server that the user deploys (CoreDNS). */
  dns: 'agent' | 'external';
  /** Name servers for all other names, `address` or `address:port`; empty: other names do not exist (NXDOMAIN). */
  dnsUpstreams: readonly string[];
}

/** The port of the agent's DNS server on the node's address; pods reach it through Service kube-system/kube-dns. */
export const DNS_PORT = 10053;

/** The ClusterIP of cluster DNS: the tenth address of the service network, as with kubeadm. */
export function clusterDnsAddress(serviceRange: Cidr): string {
  const address = nthAddress(serviceRange, 10);
  if (address === undefined) throw new RangeError(`${printCidr(serviceRange)} has no tenth address`);
  return printIp(address);
}

export const DEFAULT_CLUSTER_OPTIONS: ClusterOptions = {
  podCidr: '10.244.0.0/16',
  serviceCidr: '10.96.0.0/12',
  underlayCidr: '172.18.0.0/24',
  overlay: 'vxlan',
  ipipTransport: 'raw-socket',
  vxlanPort: 4789,
  vni: 1,
  mtu: 0,
  workers: 0,
  portPolicy: 'open',
  nodePortRange: [30000, 32767],
  masqueradePorts: [36864, 65534],
  maxConntrack: 262144,
  conntrackTimeouts: {},
  conntrackTcpLiberal: false,
  conntrackTcpLoose: true,
  localPolicyAction: 'reject',
  forwardLinkLocal: false,
  loadBalancerPool: [],
  externalIpCidrs: [],
  clusterDomain: 'cluster.local',
  dns: 'agent',
  dnsUpstreams: [],
  containerRuntime: 'auto',
};

/** Bytes the overlay adds to every packet between nodes. */
export function overlayOverhead(overlay: OverlayName): number {
  return OVERLAYS[overlay].overheadBytes;
}

/** Does a raw socket of the agent carry the overlay's packets, instead of dp0 and the node's kernel? */
export function usesRawSocket(options: Readonly<OverlayOptions>): boolean {
  const { tunnel } = OVERLAYS[options.overlay];
  return tunnel?.transport !== undefined && options[tunnel.transport] === 'raw-socket';
}

/** The options in the ConfigMap; defaults for those it lacks, and for all if it is missing or not JSON. */
export function clusterOptionsOf(
  config: ConfigMap | undefined,
  defaults: ClusterOptions = DEFAULT_CLUSTER_OPTIONS,
): ClusterOptions {
  try {
    const given = JSON.parse(config?.data?.[CONFIG_MAP.key] ?? '{}') as Partial<ClusterOptions>;
    return { ...defaults, ...given };
  } catch {
    return defaults;
  }
}
