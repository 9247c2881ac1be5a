/**
 * Writes the cluster's nodes and this node's pods into the node table: hops, routes and declared ports. It is the
 * table's only writer, except for MTUs (node/config.ts).
 *
 * A pod's hop number is its port number (the index of its device in the workers). Other nodes get hops from the upper
 * half of the table. Routes to such a hop are the node's pod networks, and its underlay address, by which its overlay
 * packets are recognised.
 */
import { setBandwidth, Toward } from '../../native-free-dataplane/node/bandwidth.ts';
import { Budget, clearBudgets, setBudget } from '../../native-free-dataplane/node/budgets.ts';
import {
  HopWord,
  MAX_SOURCES,
  type NodeTable,
  NodeWord,
  nextGeneration,
  PortPolicy,
} from '../../native-free-dataplane/node/config.ts';
import { declarePort, undeclarePorts } from '../../native-free-dataplane/node/declared-ports.ts';
import {
  clearHop,
  firstNodeHop,
  freeHop,
  HOST_HOP,
  HopKind,
  hopAt,
  localHop,
  setHop,
  tunnelPort,
} from '../../native-free-dataplane/node/hops.ts';
import { LOCAL, setSource } from '../../native-free-dataplane/node/host-routes.ts';
import { removeRoute, setRoute } from '../../native-free-dataplane/node/routes.ts';
import { OVERLAYS, type OverlayName } from '../../native-free-dataplane/overlay/modes.ts';
import { outerSum } from '../../native-free-dataplane/overlay/outer-ipv4.ts';
import { SERVICE_PROTOCOLS } from '../../native-free-dataplane/protocols.ts';
import { addressWords, macWords, mappedIpv4 } from '../../native-free-dataplane/wire/address.ts';
import { networkWords, parseCidr } from '../net/address.ts';
import { gatewayOf, macOf } from '../net/pod-network.ts';
import type { HostRoute } from './underlay/host-routes.ts';

const HOST_PREFIX = 128;
/** Bits a second in one byte a millisecond. */
const BITS_PER_BYTE_MS = 8000;
const NO_LIMITS = { ingress: 0, egress: 0 };
/** Bytes of the largest IP packet. */
const LARGEST_PACKET = 65535;

/** The values that the node table holds about the node itself. */
export interface NodeIdentity {
  readonly nodeIP: string;
  readonly podCIDR: string;
  readonly clusterCIDR: string;
  readonly serviceCIDR: string;
  readonly overlay: OverlayName;
  /** True if overlay packets are sent through a raw socket of the agent; else through dp0 and the node's kernel. */
  readonly rawSocket?: boolean;
  readonly vxlanPort: number;
  readonly vni: number;
  readonly podMtu: number;
  readonly underlayMtu: number;
  readonly portPolicy: 'open' | 'declared';
  /** Drop instead of refuse connections for which a Local traffic policy finds no endpoint on this node. */
  readonly localPolicyDrops: boolean;
  /** Forward packets to link-local addresses outside, such as the metadata of a cloud. */
  readonly forwardLinkLocal?: boolean;
  readonly nodePortRange: readonly [first: number, last: number];
  readonly masqueradePorts: readonly [first: number, last: number];
}

/** Another node; it runs this data plane or flannel. */
export interface RemoteNode {
  readonly name: string;
  readonly ip: string;
  readonly podCIDRs: readonly string[];
  readonly vtepMac: string;
}

/** Limits of a pod's traffic, to it and from it, in bits a second; 0: none. */
export interface TrafficLimits {
  readonly ingress: number;
  readonly egress: number;
}

/** A pod of this node that has a device. */
export interface LocalPod {
  readonly key: string;
  readonly ip: string;
  /** Default: made from the address. */
  readonly mac?: string | undefined;
  readonly declared: readonly { readonly protocol: string; readonly port: number }[];
  /** Limits of its traffic, to it and from it, in bits a second; 0 and left out: none. */
  readonly bandwidth?: TrafficLimits;
  /** Connections that it may open, and replies that are made for it, a second; 0 and left out: no limit of its own. */
  readonly budgets?: { readonly connections: number; readonly replies: number };
}

/** A network in the words of the tables. @throws RangeError for invalid text, as the API server may not be ours */
function tableNetwork(text: string): { words: Int32Array; prefix: number } {
  const cidr = parseCidr(text);
  if (cidr === undefined) throw new RangeError(`${text}: expected a network such as 10.244.1.0/24`);
  return networkWords(cidr);
}

/** The values that may change while the agent runs. */
export const CHANGING_IDENTITY: readonly (keyof NodeIdentity)[] = [
  'podMtu',
  'underlayMtu',
  'portPolicy',
  'localPolicyDrops',
  'forwardLinkLocal',
  'nodePortRange',
];

/** Write the node's identity into the table. */
function writeIdentity(table: NodeTable, node: NodeIdentity): void {
  const { config } = table;
  const gateway = gatewayOf(node.podCIDR);
  const mac = macWords(macOf(gateway));
  const network = (at: number, prefixAt: number, text: string): void => {
    const { words, prefix } = tableNetwork(text);
    config.set(words, at);
    config[prefixAt] = prefix;
  };
  config.set(addressWords(node.nodeIP), NodeWord.NODE_IP);
  config.set(addressWords(gateway), NodeWord.GATEWAY_IP);
  config[NodeWord.GATEWAY_MAC_HIGH] = mac.high;
  config[NodeWord.GATEWAY_MAC_LOW] = mac.low;
  network(NodeWord.POD_CIDR, NodeWord.POD_CIDR_PREFIX, node.podCIDR);
  network(NodeWord.CLUSTER_CIDR, NodeWord.CLUSTER_CIDR_PREFIX, node.clusterCIDR);
  network(NodeWord.SERVICE_CIDR, NodeWord.SERVICE_CIDR_PREFIX, node.serviceCIDR);
  config[NodeWord.VXLAN_PORT] = node.vxlanPort;
  config[NodeWord.VNI] = node.vni;
  config[NodeWord.OVERLAY] = OVERLAYS[node.overlay].mode;
  config[NodeWord.TUNNEL_PORT] = node.rawSocket ? tunnelPort(table) : 0;
  config[NodeWord.POD_MTU] = node.podMtu;
  config[NodeWord.UNDERLAY_MTU] = node.underlayMtu;
  config[NodeWord.PORT_POLICY] = node.portPolicy === 'declared' ? PortPolicy.DECLARED : PortPolicy.OPEN;
  config[NodeWord.LOCAL_POLICY_DROPS] = node.localPolicyDrops ? 1 : 0;
  config[NodeWord.FORWARD_LINK_LOCAL] = node.forwardLinkLocal ? 1 : 0;
  config[NodeWord.NODE_PORT_LOW] = node.nodePortRange[0];
  config[NodeWord.NODE_PORT_HIGH] = node.nodePortRange[1];
  config[NodeWord.MASQUERADE_PORT_LOW] = node.masqueradePorts[0];
  config[NodeWord.MASQUERADE_PORT_HIGH] = node.masqueradePorts[1];
  setHop(table, HOST_HOP, {
    kind: HopKind.HOST,
    macHigh: mac.high,
    macLow: mac.low,
    mtu: node.underlayMtu,
    address: addressWords(node.nodeIP),
  });
  // Local delivery has no MTU.
  setHop(table, localHop(table), {
    kind: HopKind.LOCAL,
    macHigh: mac.high,
    macLow: mac.low,
    mtu: LARGEST_PACKET,
    address: addressWords(node.nodeIP),
  });
}

interface KnownNode {
  readonly hop: number;
  readonly node: RemoteNode;
}

/** Applies changes of nodes and pods to the table, one call per change. */
export class NodeSync {
  private readonly nodes = new Map<string, KnownNode>();
  private readonly pods = new Map<string, { hop: number; pod: LocalPod }>();
  /** Values of the host routes in the table, by network and prefix. */
  private hostRoutes: ReadonlyMap<string, number> = new Map();
  /**
   * Source addresses of masqueraded connections, by number. Never removed, because the numbers are stored in routes.
   */
  private readonly sources: number[] = [];
  private readonly table: NodeTable;
  private identity: NodeIdentity;

  constructor(table: NodeTable, identity: NodeIdentity) {
    this.table = table;
    this.identity = identity;
    writeIdentity(table, identity);
  }

  /** Apply changed cluster options: MTUs and policies. */
  reconfigure(identity: NodeIdentity): void {
    this.identity = identity;
    writeIdentity(this.table, identity);
    for (const { hop, node } of this.nodes.values()) this.writeNode(hop, node);
    for (const { hop, pod } of this.pods.values()) this.writePod(hop, pod);
  }

  /** A free hop (and port) number for a new pod; undefined if the node has none left. */
  freePort(): number | undefined {
    const hop = freeHop(this.table, 1, tunnelPort(this.table));
    return hop < 0 ? undefined : hop;
  }

  /**
   * Route the pod's address to this port, and enter the ports it declares.
   * @throws RangeError if a table is full. If the route does not fit, the pod is not entered at all; if its declared
   *   ports do not all fit, the others are entered
   */
  setPod(port: number, pod: LocalPod): void {
    this.pods.set(pod.key, { hop: port, pod });
    this.writePod(port, pod);
    if (!setRoute(this.table, addressWords(pod.ip), HOST_PREFIX, port)) {
      this.removePod(pod.key);
      throw new RangeError(`pod ${pod.key}: the node's table of routes is full (${this.table.routes.slotMask + 1})`);
    }
    this.limit(port, pod.bandwidth);
    setBudget(this.table, port, Budget.CONNECTIONS, pod.budgets?.connections ?? 0);
    setBudget(this.table, port, Budget.REPLIES, pod.budgets?.replies ?? 0);
    this.declare(port, pod);
  }

  private writePod(port: number, { ip, mac: chosen = macOf(ip) }: LocalPod): void {
    const mac = macWords(chosen);
    setHop(this.table, port, {
      kind: HopKind.POD,
      macHigh: mac.high,
      macLow: mac.low,
      mtu: this.identity.podMtu,
      address: addressWords(ip),
    });
  }

  private limit(port: number, { ingress, egress }: LocalPod['bandwidth'] = NO_LIMITS): void {
    setBandwidth(this.table, port, Toward.POD, ingress / BITS_PER_BYTE_MS);
    setBandwidth(this.table, port, Toward.NETWORK, egress / BITS_PER_BYTE_MS);
  }

  /** Replace the pod's declared ports. */
  private declare(port: number, pod: LocalPod): void {
    undeclarePorts(this.table, port);
    for (const { protocol, port: number } of pod.declared) {
      const protocolNumber = SERVICE_PROTOCOLS[protocol];
      if (protocolNumber === undefined || declarePort(this.table, port, protocolNumber, number)) continue;
      const slots = this.table.declaredMask + 1;
      throw new RangeError(
        `pod ${pod.key}: port ${number} stays closed: the table of declared ports is full (${slots})`,
      );
    }
  }

  /** Remove a pod; its connections lose their hop. */
  removePod(key: string): void {
    const known = this.pods.get(key);
    if (!known) return;
    this.pods.delete(key);
    removeRoute(this.table, addressWords(known.pod.ip), HOST_PREFIX);
    undeclarePorts(this.table, known.hop);
    this.limit(known.hop);
    clearBudgets(this.table, known.hop);
    clearHop(this.table, known.hop);
  }

  /** Enter or update another node. @throws RangeError if a table is full; the node is then not entered */
  setNode(node: RemoteNode): void {
    const known = this.nodes.get(node.name);
    if (known && JSON.stringify(known.node) === JSON.stringify(node)) return;
    if (known) this.removeNode(node.name);
    const hop = freeHop(this.table, firstNodeHop(this.table), localHop(this.table));
    if (hop < 0)
      throw new RangeError(
        `node ${node.name}: no hop is left for it (${localHop(this.table) - firstNodeHop(this.table)} nodes at most)`,
      );
    this.nodes.set(node.name, { hop, node });
    this.writeNode(hop, node);
    const networks = [{ words: addressWords(node.ip), prefix: HOST_PREFIX }, ...node.podCIDRs.map(tableNetwork)];
    if (networks.every(({ words, prefix }) => setRoute(this.table, words, prefix, hop))) return;
    this.removeNode(node.name);
    throw new RangeError(`node ${node.name}: the table of routes is full (${this.table.routes.slotMask + 1})`);
  }

  private writeNode(hop: number, node: RemoteNode): void {
    const mac = macWords(node.vtepMac);
    const address = addressWords(node.ip);
    setHop(this.table, hop, {
      kind: HopKind.NODE,
      macHigh: mac.high,
      macLow: mac.low,
      mtu: this.identity.underlayMtu - OVERLAYS[this.identity.overlay].overheadBytes,
      address,
      outerSum: outerSum(addressWords(this.identity.nodeIP), address),
    });
  }

  /** Reset the path MTUs learned toward other nodes (stages/path-mtu.ts), because they may have increased. */
  forgetPathMtus(): void {
    const room = this.identity.underlayMtu - OVERLAYS[this.identity.overlay].overheadBytes;
    for (const { hop, node } of this.nodes.values()) {
      if ((this.table.hops[hopAt(hop) + HopWord.MTU] as number) < room) this.writeNode(hop, node);
    }
  }

  /** Remove a node. */
  removeNode(name: string): void {
    const known = this.nodes.get(name);
    if (!known) return;
    this.nodes.delete(name);
    removeRoute(this.table, addressWords(known.node.ip), HOST_PREFIX);
    for (const text of known.node.podCIDRs) {
      const { words, prefix } = tableNetwork(text);
      removeRoute(this.table, words, prefix);
    }
    clearHop(this.table, known.hop);
    nextGeneration(this.table);
  }

  /**
   * Replace the host routes (underlay/host-routes.ts).
   * @param routes shortest prefix first: if they do not all fit, the most specific are left out
   * @returns how many did not fit
   */
  setHostRoutes(routes: readonly HostRoute[]): number {
    const { table } = this;
    const wanted = new Map<string, number>();
    let left = 0;
    for (const { network, prefix, source } of routes) {
      const to = source === undefined ? LOCAL : this.sourceNumber(source);
      const text = `${network}/${prefix}`;
      const known = this.hostRoutes.get(text) === to;
      if (to !== undefined && (known || setRoute(table, mappedIpv4(network), 96 + prefix, to, table.hostRoutes))) {
        wanted.set(text, to);
      } else left++;
    }
    for (const text of this.hostRoutes.keys()) {
      if (wanted.has(text)) continue;
      const [network, prefix] = text.split('/').map(Number) as [number, number];
      removeRoute(table, mappedIpv4(network), 96 + prefix, table.hostRoutes);
    }
    this.hostRoutes = wanted;
    return left;
  }

  /** Number of a source address, assigned if it has none yet; undefined if all numbers are in use. */
  private sourceNumber(address: number): number | undefined {
    const known = this.sources.indexOf(address);
    if (known >= 0) return known;
    if (this.sources.length >= MAX_SOURCES) return undefined;
    setSource(this.table, this.sources.length, mappedIpv4(address));
    return this.sources.push(address) - 1;
  }

  /** Names of the nodes in the table. */
  nodeNames(): string[] {
    return [...this.nodes.keys()];
  }
}
