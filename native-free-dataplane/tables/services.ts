/**
 * Services as packets see them: (address, protocol, port) → a block with everything the choice of an endpoint needs.
 *
 * A block is written once and never changed: a service changes by writing a new block and storing its offset in one
 * word, so a packet sees the old service or the new one, never half of each. All addresses of a service port (cluster
 * IP, external IPs, load balancer IPs) and its NodePort name the same block. Old blocks rest for a grace period before
 * their words are used again; nobody holds a block across a batch.
 *
 * Single writer: the agent. Readers: every worker, without locks. Cost of a look-up: one keyed hash and one or two
 * cache lines, at any number of services.
 *
 * Addresses are four words, IPv4 mapped, everywhere.
 */
import { type HashTables, expandSecret, hashWord } from './hash.ts';
import { HEADER_BYTES, HEADER_WORDS, H_OWN, TableKind, headerMatches, headerSecret, writeHeader } from './layout.ts';

const VERSION = 1;
const H_SLOTS = H_OWN;
const H_POOL_WORDS = H_OWN + 1;
const H_ENDPOINTS = H_OWN + 2;
const H_AFFINITY_SLOTS = H_OWN + 3;

/** Words of a look-up slot: address (4), protocol << 16 | port, block offset, kind, spare. */
export const SLOT_WORDS = 8;
export const SLOT_KEY = 4;
export const SLOT_BLOCK = 5;
export const SLOT_KIND = 6;
/** Block value of a slot that was emptied; a probe goes on behind it. */
export const GONE: number = -1;

/** How a packet came to the service: what the address it asked for is. */
export const FrontendKind = { CLUSTER_IP: 1, EXTERNAL_IP: 2, LOAD_BALANCER: 3, NODE_PORT: 4 } as const;
export type FrontendKind = (typeof FrontendKind)[keyof typeof FrontendKind];

/** Words of a block, by name; behind them the endpoints of the cluster set, the local set, source ranges, Maglev. */
export const Block = {
  SIZE: 0,
  SERVICE_PORT: 1,
  FLAGS: 2,
  AFFINITY_SECONDS: 3,
  CLUSTER_COUNT: 4,
  LOCAL_COUNT: 5,
  RANGE_COUNT: 6,
  /** Slots of the Maglev table over the cluster set, 0 = choose at random. */
  MAGLEV_SIZE: 7,
  ENDPOINTS: 8,
} as const;

export const ServiceFlag = {
  AFFINITY: 1,
  INTERNAL_LOCAL: 2,
  EXTERNAL_LOCAL: 4,
  /** Endpoints exist somewhere, though maybe none that this policy may use. */
  HAS_ENDPOINTS: 8,
} as const;

/** Words of an endpoint: address (4), port, id. */
export const ENDPOINT_WORDS = 6;
export const ENDPOINT_PORT = 4;
export const ENDPOINT_ID = 5;
/** Words of a source range: network (4), prefix of 128. */
export const RANGE_WORDS = 5;

/** Words of an affinity slot: client (4), service port id, endpoint id, expiry, spare. */
export const AFFINITY_WORDS = 8;

/** NodePorts: one word per port for each of three protocols. */
const NODE_PORTS = 65536;
const PROTOCOLS = 3;

export interface ServicesOptions {
  /** Look-up slots, a power of two; at most half should be used. Default 131072. */
  readonly slots?: number;
  /** Words for blocks. Default 8 Mi (32 MB, only touched words cost memory). */
  readonly poolWords?: number;
  /** Endpoint ids. Default 524288. */
  readonly endpoints?: number;
  /** Affinity slots, a power of two. Default 65536. */
  readonly affinitySlots?: number;
}

export interface ServiceTable {
  readonly words: Int32Array;
  readonly hash: HashTables;
  readonly slots: Int32Array;
  readonly slotMask: number;
  readonly nodePorts: Int32Array;
  readonly pool: Int32Array;
  /** Connections made to each endpoint, by id. */
  readonly connections: Int32Array;
  readonly affinity: Int32Array;
  readonly affinityMask: number;
}

interface Sizes {
  slots: number;
  poolWords: number;
  endpoints: number;
  affinitySlots: number;
}

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
    sizes.slots * SLOT_WORDS +
    PROTOCOLS * NODE_PORTS +
    sizes.endpoints +
    sizes.affinitySlots * AFFINITY_WORDS +
    sizes.poolWords
  );
}

/** Bytes of memory the table takes when all of it is touched. */
export function servicesBytes(options: ServicesOptions): number {
  return totalWords(sizesOf(options)) * 4;
}

function open(buffer: ArrayBuffer, sizes: Sizes): ServiceTable {
  const words = new Int32Array(buffer, 0, totalWords(sizes));
  const nodePortsAt = HEADER_WORDS + sizes.slots * SLOT_WORDS;
  const connectionsAt = nodePortsAt + PROTOCOLS * NODE_PORTS;
  const affinityAt = connectionsAt + sizes.endpoints;
  const poolAt = affinityAt + sizes.affinitySlots * AFFINITY_WORDS;
  return {
    words,
    hash: expandSecret(headerSecret(words)),
    slots: words.subarray(HEADER_WORDS, nodePortsAt),
    slotMask: sizes.slots - 1,
    nodePorts: words.subarray(nodePortsAt, connectionsAt),
    connections: words.subarray(connectionsAt, affinityAt),
    affinity: words.subarray(affinityAt, poolAt),
    affinityMask: sizes.affinitySlots - 1,
    pool: words.subarray(poolAt),
  };
}

/** Lay out an empty table in zeroed memory. */
export function createServices(buffer: ArrayBuffer, options: ServicesOptions & { secret: Int32Array }): ServiceTable {
  const sizes = sizesOf(options);
  const words = new Int32Array(buffer, 0, HEADER_BYTES >> 2);
  words[H_SLOTS] = sizes.slots;
  words[H_POOL_WORDS] = sizes.poolWords;
  words[H_ENDPOINTS] = sizes.endpoints;
  words[H_AFFINITY_SLOTS] = sizes.affinitySlots;
  writeHeader(words, TableKind.SERVICES, VERSION, options.secret);
  return open(buffer, sizes);
}

/** Map a table that another thread or process made. Undefined when the memory holds something else. */
export function attachServices(buffer: ArrayBuffer): ServiceTable | undefined {
  const words = new Int32Array(buffer);
  if (!headerMatches(words, TableKind.SERVICES, VERSION)) return undefined;
  const sizes = {
    slots: words[H_SLOTS],
    poolWords: words[H_POOL_WORDS],
    endpoints: words[H_ENDPOINTS],
    affinitySlots: words[H_AFFINITY_SLOTS],
  };
  return buffer.byteLength >= totalWords(sizes) * 4 ? open(buffer, sizes) : undefined;
}

/** 0, 1, 2 for TCP, UDP, SCTP; -1 for a protocol that has no services. */
export function protocolClass(protocol: number): number {
  return protocol === 6 ? 0 : protocol === 17 ? 1 : protocol === 132 ? 2 : -1;
}

/** Index of a NodePort's word in `nodePorts`. */
export function nodePortAt(protocol: number, port: number): number {
  return protocolClass(protocol) * NODE_PORTS + port;
}

/** Keyed hash of a frontend. @param key protocol << 16 | port; 0 for "is this an address of any service" */
export function frontendHash(table: ServiceTable, address: Int32Array, key: number): number {
  const { hash } = table;
  return (
    hashWord(hash, 0, address[0]) ^
    hashWord(hash, 1, address[1]) ^
    hashWord(hash, 2, address[2]) ^
    hashWord(hash, 3, address[3]) ^
    hashWord(hash, 4, key)
  );
}

/**
 * Slot of a frontend: index of its first word in `slots`, or -1.
 * @param address four words, IPv4 mapped
 * @param key protocol << 16 | port, or 0 to ask whether the address belongs to any service
 */
export function findFrontend(table: ServiceTable, address: Int32Array, key: number): number {
  const { slots, slotMask } = table;
  for (let probe = 0, slot = frontendHash(table, address, key) & slotMask; probe <= slotMask; probe++, slot = (slot + 1) & slotMask) {
    const at = slot * SLOT_WORDS;
    const block = slots[at + SLOT_BLOCK];
    if (block === 0) return -1;
    if (
      block !== GONE &&
      slots[at + SLOT_KEY] === key &&
      slots[at + 3] === address[3] &&
      slots[at + 2] === address[2] &&
      slots[at + 1] === address[1] &&
      slots[at] === address[0]
    ) {
      return at;
    }
  }
  return -1;
}
