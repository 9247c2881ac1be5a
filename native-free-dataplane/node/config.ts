/**
 * The node table: every word of its memory is laid out here.
 *
 *   header · configuration (the node's addresses, networks, limits) · hops · routes · host routes · sources
 *   · declared ports · limits of the pods' traffic
 *
 * hops.ts, routes.ts, host-routes.ts and declared-ports.ts hold the operations on them.
 *
 * Writers: the agent's main thread, with three exceptions. Workers lower a hop's MTU (HopWord.MTU), a plain store that
 * the agent reverts after a while; and every change of a hop or a route increments `generation` by Atomics.add, so that
 * established flows repeat their route look-up. Workers also store times and counts of the pods' limits. There
 * are no locks: a change that must be seen whole is published by its last store (a hop's KIND, a route's PREFIX, a
 * declared port's KEY), and readers load single words.
 */
import { expandSecret, type HashTables } from '../shared/hash.ts';
import {
  H_OWN,
  HEADER_BYTES,
  HEADER_WORDS,
  headerMatches,
  headerSecret,
  TableKind,
  writeHeader,
} from '../shared/layout.ts';

export const NODE_TABLE_LAYOUT = 4;
const H_GENERATION = H_OWN;
const H_MAX_HOPS = H_OWN + 1;
const H_ROUTE_SLOTS = H_OWN + 2;
const H_DECLARED_SLOTS = H_OWN + 3;
const H_HOST_ROUTE_SLOTS = H_OWN + 4;

/** Words of the configuration block. Addresses take four words, IPv4 mapped. */
export const NodeWord = {
  NODE_IP: 0,
  GATEWAY_IP: 4,
  GATEWAY_MAC_HIGH: 8,
  GATEWAY_MAC_LOW: 9,
  POD_CIDR: 10,
  POD_CIDR_PREFIX: 14,
  CLUSTER_CIDR: 15,
  CLUSTER_CIDR_PREFIX: 19,
  SERVICE_CIDR: 20,
  SERVICE_CIDR_PREFIX: 24,
  VXLAN_PORT: 25,
  VNI: 26,
  /** OverlayMode (overlay/modes.ts). */
  OVERLAY: 27,
  POD_MTU: 28,
  UNDERLAY_MTU: 29,
  PORT_POLICY: 30,
  NODE_PORT_LOW: 31,
  NODE_PORT_HIGH: 32,
  MASQUERADE_PORT_LOW: 33,
  MASQUERADE_PORT_HIGH: 34,
  LOCAL_POLICY_DROPS: 35,
  MAGLEV_SEED: 36,
  /** Port that hands the overlay's packets to a raw socket; 0: they go to the node's kernel through dp0. */
  TUNNEL_PORT: 37,
  /** 1: packets to link-local addresses outside are forwarded. */
  FORWARD_LINK_LOCAL: 38,
  /** Prefix lengths of the routes in use, each plus 1, longest first; 0 ends the list. Maintained by routes.ts. */
  PREFIX_LENGTHS: 40,
  /** The same for the host routes. */
  HOST_PREFIX_LENGTHS: 60,
} as const;
/** Maximum number of distinct prefix lengths among the routes. */
export const MAX_PREFIX_LENGTHS = 20;
export const CONFIG_WORDS = 80;

/** Ports that take the place of source ports below 1024 toward the outside (linux nf_nat_l4proto_unique_tuple). */
export const PRIVILEGED_PORTS: readonly [low: number, high: number] = [600, 1023];

export const PortPolicy = { OPEN: 0, DECLARED: 1 } as const;

/** Words of a hop. */
export const HopWord = {
  KIND: 0,
  /** Ethernet destination: upper 16 bits, lower 32 bits. The pod's MAC, or the remote VTEP's. */
  MAC_HIGH: 1,
  MAC_LOW: 2,
  /**
   * Largest network-layer packet this hop accepts, in bytes (for a node: what fits inside the overlay). Workers lower
   * it when a router reports a smaller path MTU (stages/path-mtu.ts).
   */
  MTU: 3,
  /** The pod's address, or the remote node's underlay address: four words, IPv4 mapped. */
  ADDRESS: 4,
  /** The pod's address of the other family: four words, zero if it has none. */
  ADDRESS_2: 8,
  /** Folded sum of the constant part of the outer IPv4 header, without its protocol (overlay/outer-ipv4.ts). */
  OUTER_SUM: 12,
  /** Bits for the directions in which a pod's traffic has a limit (bandwidth.ts), and for its budgets (budgets.ts). */
  LIMITED: 13,
} as const;
export const HOP_WORDS = 16;

/** Words of a slot of the routes, and of the host routes. */
export const RouteWord = {
  /** Four words, IPv4 mapped, masked to the prefix. */
  NETWORK: 0,
  /** Prefix length of 128, plus 1; 0 in a slot never used, GONE in a deleted one. */
  PREFIX: 4,
  /** A hop; for host routes see host-routes.ts. */
  HOP: 5,
} as const;
export const ROUTE_WORDS = 8;

/** Source addresses for masquerading, each four words, IPv4 mapped; the first is the node's own address. */
export const MAX_SOURCES = 64;
export const SOURCE_WORDS = 4;

/** Words of a declared port's slot. */
export const DeclaredWord = {
  /** Hop and protocol; 0 in a slot never used, GONE in a deleted one. */
  KEY: 0,
  PORT: 1,
} as const;
export const DECLARED_WORDS = 2;

/** Doubles of a pod's limits: four for each direction (bandwidth.ts), and for each budget (budgets.ts). */
export const LIMIT_DOUBLES = 16;

/** Marks a deleted route or declared port (in PREFIX or KEY): a search continues past it. */
export const GONE: number = -1;

/** What a node table is laid out for. */
export interface NodeTableOptions {
  /** Hops: dp0, one for each pod of the node, one for each other node. */
  readonly maxHops: number;
  /** Slots of the route table, a power of two. */
  readonly routeSlots: number;
  /** Slots of the host routes, a power of two. */
  readonly hostRouteSlots: number;
  /** Slots of the declared-port table, a power of two. */
  readonly declaredSlots: number;
  readonly secret: Int32Array;
  /** The first generation; default 0. */
  readonly generation?: number;
}

/** A longest-prefix-match table within the node's table. */
export interface RouteSet {
  /** Slots of RouteWord. */
  readonly slots: Int32Array;
  readonly slotMask: number;
  /** The words of the configuration that hold its prefix lengths in use. */
  readonly lengths: Int32Array;
  readonly hash: HashTables;
}

/** The node table as one thread sees it: views of the shared memory. */
export interface NodeTable {
  readonly words: Int32Array;
  readonly hash: HashTables;
  readonly config: Int32Array;
  readonly hops: Int32Array;
  readonly maxHops: number;
  /** Pods and other nodes: address to hop. */
  readonly routes: RouteSet;
  /** What the node's kernel does with an address. */
  readonly hostRoutes: RouteSet;
  readonly sources: Int32Array;
  readonly declared: Int32Array;
  readonly declaredMask: number;
  /** Limits of each hop below the first node's (bandwidth.ts, budgets.ts). */
  readonly limits: Float64Array;
}

type Sizes = Omit<NodeTableOptions, 'secret' | 'generation'>;

/** Bytes of memory the table takes. */
export function nodeTableBytes(sizes: Sizes): number {
  const own = CONFIG_WORDS + sizes.maxHops * HOP_WORDS + MAX_SOURCES * SOURCE_WORDS;
  const routes = (sizes.routeSlots + sizes.hostRouteSlots) * ROUTE_WORDS;
  return alignDouble(HEADER_BYTES + (own + routes + sizes.declaredSlots * DECLARED_WORDS) * 4) + limitBytes(sizes);
}

/** Only the lower half of the hops are pods. */
const limitBytes = ({ maxHops }: Sizes): number => (maxHops >> 1) * LIMIT_DOUBLES * 8;
const alignDouble = (bytes: number): number => (bytes + 7) & ~7;

function open(buffer: ArrayBuffer, sizes: Sizes): NodeTable {
  const words = new Int32Array(buffer);
  const hopsAt = HEADER_WORDS + CONFIG_WORDS;
  const routesAt = hopsAt + sizes.maxHops * HOP_WORDS;
  const hostRoutesAt = routesAt + sizes.routeSlots * ROUTE_WORDS;
  const sourcesAt = hostRoutesAt + sizes.hostRouteSlots * ROUTE_WORDS;
  const declaredAt = sourcesAt + MAX_SOURCES * SOURCE_WORDS;
  const hash = expandSecret(headerSecret(words));
  const config = words.subarray(HEADER_WORDS, hopsAt);
  const lengths = (word: number): Int32Array => config.subarray(word, word + MAX_PREFIX_LENGTHS);
  return {
    words,
    hash,
    config,
    hops: words.subarray(hopsAt, routesAt),
    maxHops: sizes.maxHops,
    routes: {
      slots: words.subarray(routesAt, hostRoutesAt),
      slotMask: sizes.routeSlots - 1,
      lengths: lengths(NodeWord.PREFIX_LENGTHS),
      hash,
    },
    hostRoutes: {
      slots: words.subarray(hostRoutesAt, sourcesAt),
      slotMask: sizes.hostRouteSlots - 1,
      lengths: lengths(NodeWord.HOST_PREFIX_LENGTHS),
      hash,
    },
    sources: words.subarray(sourcesAt, declaredAt),
    declared: words.subarray(declaredAt, declaredAt + sizes.declaredSlots * DECLARED_WORDS),
    declaredMask: sizes.declaredSlots - 1,
    limits: new Float64Array(buffer, nodeTableBytes(sizes) - limitBytes(sizes), (sizes.maxHops >> 1) * LIMIT_DOUBLES),
  };
}

/** Lay out the table in zeroed memory. */
export function createNodeTable(buffer: ArrayBuffer, options: NodeTableOptions): NodeTable {
  const words = new Int32Array(buffer);
  words[H_GENERATION] = options.generation ?? 0;
  words[H_MAX_HOPS] = options.maxHops;
  words[H_ROUTE_SLOTS] = options.routeSlots;
  words[H_DECLARED_SLOTS] = options.declaredSlots;
  words[H_HOST_ROUTE_SLOTS] = options.hostRouteSlots;
  writeHeader(words, TableKind.ROUTES, NODE_TABLE_LAYOUT, options.secret);
  return open(buffer, options);
}

/** Map a table that another thread or process created. Undefined if the memory does not hold one of this layout. */
export function attachNodeTable(buffer: ArrayBuffer): NodeTable | undefined {
  const words = new Int32Array(buffer);
  if (!headerMatches(words, TableKind.ROUTES, NODE_TABLE_LAYOUT)) return undefined;
  const sizes = {
    maxHops: words[H_MAX_HOPS],
    routeSlots: words[H_ROUTE_SLOTS],
    declaredSlots: words[H_DECLARED_SLOTS],
    hostRouteSlots: words[H_HOST_ROUTE_SLOTS],
  };
  return buffer.byteLength >= nodeTableBytes(sizes) ? open(buffer, sizes) : undefined;
}

/** Generation of routes and hops, 16 bits; a flow stores it and repeats its route look-up when it has changed. */
export function routeGeneration(table: NodeTable): number {
  return table.words[H_GENERATION] & 0xffff;
}

/** Called by the writer after a route or hop changed. */
export function nextGeneration(table: NodeTable): void {
  Atomics.add(table.words, H_GENERATION, 1);
}

/** Set one of the four-word addresses of the configuration. */
export function setConfigAddress(table: NodeTable, word: number, address: Int32Array): void {
  table.config.set(address, word);
}

/** Is the address inside the network whose four words start at `at` and whose prefix (of 128) is `prefix`? */
export function inNetwork(config: Int32Array, at: number, prefix: number, address: Int32Array): boolean {
  let bits = prefix;
  for (let word = 0; word < 4; word++, bits -= 32) {
    if (bits <= 0) return true;
    const mask = bits >= 32 ? -1 : -1 << (32 - bits);
    if (((config[at + word] ^ address[word]) & mask) !== 0) return false;
  }
  return true;
}
