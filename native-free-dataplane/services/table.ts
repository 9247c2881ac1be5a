/**
 * The service table: (address, protocol, port) → a block with everything needed to choose an endpoint.
 *
 * Three steps of one word each: a frontend (or NodePort) refers to a service port, a service port to its block, a block
 * holds the endpoints. All addresses of a service port refer to the same service port, so storing one word, the offset
 * of its block, changes the service at all its addresses at once; a packet sees the old block or the new one, never
 * half of each.
 *
 * Frontends are in hash chains, newest first. Of a reachable frontend only two words are ever changed, each by one
 * store: its target, and its link when its successor is removed. Whatever is removed (frontends, blocks, numbers) waits
 * for a grace period before it is reused (writer.ts); no reader holds a reference beyond a batch.
 *
 * Only the agent writes chains, frontends, NodePorts, blocks and pool, without locks: each change is published by one
 * store. Workers write three things: `connections`, by Atomics.add; `packets`, each worker in words of its own; and
 * `affinity`, unlocked, where a check word exposes torn slots (affinity.ts). The agent clears the counters of an
 * endpoint id before it is reused. A look-up costs one keyed hash and two or three cache lines, at any number of
 * services and after any number of changes: there are no tombstones.
 *
 * Addresses are four words, IPv4 mapped, everywhere.
 */
import { PROTOCOL_SCTP, PROTOCOL_TCP, PROTOCOL_UDP } from '../protocols.ts';
import { expandSecret, type HashTables, hashAddress, hashWord } from '../shared/hash.ts';
import {
  H_OWN,
  HEADER_BYTES,
  HEADER_WORDS,
  headerMatches,
  headerSecret,
  MAX_WORKERS,
  TableKind,
  writeHeader,
} from '../shared/layout.ts';

export const SERVICES_LAYOUT = 2;
const H_SLOTS = H_OWN;
const H_POOL_WORDS = H_OWN + 1;
const H_ENDPOINTS = H_OWN + 2;
const H_AFFINITY_SLOTS = H_OWN + 3;

/** Words of a frontend. Record 0 is never used: 0 ends a chain. */
export const Frontend = {
  ADDRESS: 0,
  /** serviceKey or hostPortKey; 0 in the marker "address of some service". */
  KEY: 4,
  /** Number of the service port << 3 | kind, in one word so that both change together. */
  TARGET: 5,
  /** Number of the next frontend in the chain. */
  NEXT: 6,
} as const;
export const FRONTEND_WORDS = 8;

/** Kind of the address that the client used. */
export const FrontendKind = { CLUSTER_IP: 1, EXTERNAL_IP: 2, LOAD_BALANCER: 3, NODE_PORT: 4, HOST_PORT: 5 } as const;
export type FrontendKind = (typeof FrontendKind)[keyof typeof FrontendKind];

/** Number of the service port a frontend leads to, and its kind, from its TARGET word. */
export const targetService = (target: number): number => target >>> 3;
export const targetKind = (target: number): number => target & 7;

/** KEY of a Service's address and port. */
export const serviceKey = (protocol: number, port: number): number => (protocol << 16) | port;
/**
 * KEY of a pod's hostPort at one address or, with ANY_ADDRESS, at all addresses of the node. It differs from
 * serviceKey, so that a Service with the same address and port is always found first (CVE-2019-9946).
 */
export const hostPortKey = (protocol: number, port: number): number => 0x1000000 | (protocol << 16) | port;
export const keyProtocol = (key: number): number => (key >>> 16) & 0xff;
/** Address of a hostPort without a hostIP: 0.0.0.0. */
export const ANY_ADDRESS: Int32Array = Int32Array.of(0, 0, 0xffff, 0);

/** Words of an affinity slot (affinity.ts). */
export const AFFINITY_WORDS = 8;

/** NodePorts: one word per port for each of three protocols. */
const NODE_PORTS = 65536;
const PROTOCOLS = 3;
/**
 * Bit of a NodePort's word: some pod has a hostPort of this protocol and number. The rest is the NodePort's service.
 */
export const HAS_HOST_PORT: number = 1 << 31;
export const nodePortService = (word: number): number => word & ~HAS_HOST_PORT;

/** What a service table is laid out for. */
export interface ServicesOptions {
  /** Capacity of hash chains, frontends and service ports, a power of two. Default 131072. */
  readonly slots?: number;
  /** Words for blocks. Default 8 Mi (32 MB; only touched words cost memory). */
  readonly poolWords?: number;
  /** Endpoint ids, even. Default 524288. */
  readonly endpoints?: number;
  /** Affinity slots, a power of two. Default 65536. */
  readonly affinitySlots?: number;
}

/** The service table as one thread sees it: views of the shared memory. */
export interface ServiceTable {
  readonly words: Int32Array;
  readonly hash: HashTables;
  /** First frontend of each chain. */
  readonly chains: Int32Array;
  readonly chainMask: number;
  readonly frontends: Int32Array;
  /** Offset in `pool` of each service port's block; 0 if it has none. */
  readonly blocks: Int32Array;
  /** Number of the service port behind each NodePort, and HAS_HOST_PORT. */
  readonly nodePorts: Int32Array;
  readonly pool: Int32Array;
  /** Number of connections made to each endpoint, by id; a uint32 that wraps. */
  readonly connections: Int32Array;
  /** Packets of each endpoint's connections, by worker * endpoints + id. */
  readonly packets: Float64Array;
  /** Capacity of endpoint ids. */
  readonly endpoints: number;
  readonly affinity: Int32Array;
  readonly affinityMask: number;
}

type Sizes = Required<ServicesOptions>;

function sizesOf(options: ServicesOptions): Sizes {
  return {
    slots: options.slots ?? 131072,
    poolWords: options.poolWords ?? 8 * 1024 * 1024,
    endpoints: options.endpoints ?? 524288,
    affinitySlots: options.affinitySlots ?? 65536,
  };
}

function totalWords(sizes: Sizes): number {
  return (
    HEADER_WORDS +
    sizes.slots * (2 + FRONTEND_WORDS) +
    PROTOCOLS * NODE_PORTS +
    sizes.endpoints * (1 + 2 * MAX_WORKERS) +
    sizes.affinitySlots * AFFINITY_WORDS +
    sizes.poolWords
  );
}

/** Bytes of memory if all of the table is touched, which never happens (untouched pages cost nothing). */
export function servicesBytes(options: ServicesOptions): number {
  return totalWords(sizesOf(options)) * 4;
}

function open(buffer: ArrayBuffer, sizes: Sizes): ServiceTable {
  const words = new Int32Array(buffer, 0, totalWords(sizes));
  const frontendsAt = HEADER_WORDS + sizes.slots;
  const blocksAt = frontendsAt + sizes.slots * FRONTEND_WORDS;
  const nodePortsAt = blocksAt + sizes.slots;
  const connectionsAt = nodePortsAt + PROTOCOLS * NODE_PORTS;
  const packetsAt = connectionsAt + sizes.endpoints;
  const affinityAt = packetsAt + sizes.endpoints * 2 * MAX_WORKERS;
  const poolAt = affinityAt + sizes.affinitySlots * AFFINITY_WORDS;
  return {
    words,
    hash: expandSecret(headerSecret(words)),
    chains: words.subarray(HEADER_WORDS, frontendsAt),
    chainMask: sizes.slots - 1,
    frontends: words.subarray(frontendsAt, blocksAt),
    blocks: words.subarray(blocksAt, nodePortsAt),
    nodePorts: words.subarray(nodePortsAt, connectionsAt),
    connections: words.subarray(connectionsAt, packetsAt),
    packets: new Float64Array(buffer, packetsAt * 4, sizes.endpoints * MAX_WORKERS),
    endpoints: sizes.endpoints,
    affinity: words.subarray(affinityAt, poolAt),
    affinityMask: sizes.affinitySlots - 1,
    pool: words.subarray(poolAt),
  };
}

/** Lay out an empty table in zeroed memory of at least servicesBytes(options). */
export function createServices(buffer: ArrayBuffer, options: ServicesOptions & { secret: Int32Array }): ServiceTable {
  const sizes = sizesOf(options);
  const words = new Int32Array(buffer, 0, HEADER_BYTES >> 2);
  words[H_SLOTS] = sizes.slots;
  words[H_POOL_WORDS] = sizes.poolWords;
  words[H_ENDPOINTS] = sizes.endpoints;
  words[H_AFFINITY_SLOTS] = sizes.affinitySlots;
  writeHeader(new Int32Array(buffer), TableKind.SERVICES, SERVICES_LAYOUT, options.secret);
  return open(buffer, sizes);
}

/** Map a table that another thread or process created. Undefined if the memory does not hold one of this layout. */
export function attachServices(buffer: ArrayBuffer): ServiceTable | undefined {
  const words = new Int32Array(buffer, 0, buffer.byteLength >> 2);
  if (!headerMatches(words, TableKind.SERVICES, SERVICES_LAYOUT)) return undefined;
  const sizes = {
    slots: words[H_SLOTS],
    poolWords: words[H_POOL_WORDS],
    endpoints: words[H_ENDPOINTS],
    affinitySlots: words[H_AFFINITY_SLOTS],
  };
  return buffer.byteLength >= totalWords(sizes) * 4 ? open(buffer, sizes) : undefined;
}

/** 0, 1, 2 for TCP, UDP, SCTP; -1 for a protocol that services do not support. */
export function protocolClass(protocol: number): number {
  if (protocol === PROTOCOL_TCP) return 0;
  if (protocol === PROTOCOL_UDP) return 1;
  return protocol === PROTOCOL_SCTP ? 2 : -1;
}

/** Index of a NodePort's word in `nodePorts`. The protocol must be one that services support. */
export function nodePortAt(protocol: number, port: number): number {
  return protocolClass(protocol) * NODE_PORTS + port;
}

/** Chain of a frontend. @param key serviceKey or hostPortKey; 0 for the marker of the address */
export function chainOf(table: ServiceTable, address: Int32Array, key: number): number {
  const { hash } = table;
  const mixed = hashAddress(hash, 0, address[0], address[1], address[2], address[3]) ^ hashWord(hash, 4, key);
  return mixed & table.chainMask;
}

/**
 * Find a frontend: index of its first word in `frontends`, or -1. Valid until the end of the batch.
 * @param address four words, IPv4 mapped
 * @param key serviceKey or hostPortKey, or 0 to ask whether the address belongs to any service
 */
export function findFrontend(table: ServiceTable, address: Int32Array, key: number): number {
  const { chains, frontends } = table;
  let number = Atomics.load(chains, chainOf(table, address, key));
  while (number !== 0) {
    const at = number * FRONTEND_WORDS;
    if (
      frontends[at + Frontend.KEY] === key &&
      frontends[at + 3] === address[3] &&
      frontends[at + 2] === address[2] &&
      frontends[at + 1] === address[1] &&
      frontends[at] === address[0]
    ) {
      return at;
    }
    number = Atomics.load(frontends, at + Frontend.NEXT);
  }
  return -1;
}

/**
 * Block of a service port by its number: offset in `pool`, 0 if it has none (any more). Valid until the end of the
 * batch.
 */
export function blockOf(table: ServiceTable, service: number): number {
  return Atomics.load(table.blocks, service);
}

/** Count one packet of a connection that was balanced to this endpoint. Each worker has words of its own. */
export function countEndpointPacket(table: ServiceTable, worker: number, endpoint: number): void {
  table.packets[worker * table.endpoints + endpoint]++;
}
