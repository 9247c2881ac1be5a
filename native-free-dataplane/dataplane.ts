/**
 * The context of one worker's pipeline: its node's tables, its own counters and state, and where it sends frames.
 *
 * Created once per worker and passed to every stage as the second argument. Workers share nothing but the memory of the
 * tables.
 */
import { attachConntrack, CONNTRACK_LAYOUT, type Conntrack } from './conntrack/record.ts';
import { attachFragments, FRAGMENTS_LAYOUT, type FragmentTable } from './fragments/table.ts';
import { attachNodeTable, NODE_TABLE_LAYOUT, type NodeTable } from './node/config.ts';
import type { Packet } from './packet.ts';
import { attachPolicies, POLICIES_LAYOUT, type PolicyTable } from './policies/table.ts';
import { attachServices, SERVICES_LAYOUT, type ServiceTable } from './services/table.ts';
import { ADDRESS_WORDS } from './shared/address.ts';
import { attachCounters, COUNTERS_LAYOUT, type WorkerCounters, workerCounters } from './shared/counters.ts';

/** Takes finished frames: a worker's devices, or a list in a test. */
export interface Emitter {
  /**
   * Send bytes[start, end) of the packet, with its offload fields, on port pkt.outPort. The descriptor and its bytes
   * are reused after the call.
   */
  emit(pkt: Packet): void;
}

/** The memory of a node's tables, as each table's create function laid it out. */
export interface TableBuffers {
  readonly conntrack: ArrayBuffer;
  readonly services: ArrayBuffer;
  /** The node's own table: configuration, hops, routes, declared ports. */
  readonly routes: ArrayBuffer;
  readonly counters: ArrayBuffer;
  /** Fragmented datagrams, and held fragments. */
  readonly fragments: ArrayBuffer;
  readonly policies: ArrayBuffer;
}

/** Numbers of the tables' layouts: builds with the same number can use each other's table. */
export const TABLE_LAYOUTS: { readonly [table in keyof TableBuffers]: number } = {
  conntrack: CONNTRACK_LAYOUT,
  services: SERVICES_LAYOUT,
  routes: NODE_TABLE_LAYOUT,
  counters: COUNTERS_LAYOUT,
  fragments: FRAGMENTS_LAYOUT,
  policies: POLICIES_LAYOUT,
};

/** Offloads that the kernel accepts on dp0; detected when the device is opened (src/linux/tap.ts). */
export interface Features {
  /** Whole VXLAN-encapsulated super-packets (Linux 6.17 and later). */
  readonly tunnelOffload: boolean;
  /** UDP super-packets (Linux 6.2 and later). */
  readonly udpSegmentation: boolean;
}

/** What every stage gets besides the packet. */
export interface Dataplane {
  /** Number of this worker, from 0. */
  readonly worker: number;
  readonly emitter: Emitter;
  readonly counters: WorkerCounters;
  readonly conntrack: Conntrack;
  readonly services: ServiceTable;
  readonly node: NodeTable;
  readonly fragments: FragmentTable;
  readonly policies: PolicyTable;
  readonly tunnelOffload: boolean;
  readonly udpSegmentation: boolean;
  /** The conntrack settings: seconds by timeout class (conntrack/timeouts.ts), then the switches of Setting. */
  readonly timeouts: Int32Array;
  /** Monotonic milliseconds when the current batch of frames was read. */
  nowMs: number;
  /** Random state of this worker (xorshift32), for choices that need no secrecy. */
  random: number;
  /**
   * Token buckets of ICMP errors and resets, by the hop that the answered packet came from: tokens left, and when the bucket
   * was last refilled (RFC 1812 §4.3.2.8). Each pod and each other node has its own; the outside shares that of dp0.
   */
  readonly replyTokens: Float64Array;
  readonly replyFilledMs: Float64Array;
  /** IPv4 identification of the next packet that this worker builds. */
  nextIpId: number;
  /**
   * The last peer look-up (overlay/peers.ts): a source address, the hop of its node, and the route generation it is
   * valid for.
   */
  readonly peerAddress: Int32Array;
  peerHop: number;
  /** 1 if peerAddress is the node's own underlay address, 0 if it belongs to a pod of that node. */
  peerIsNode: number;
  peerGeneration: number;
}

/** Size of a worker's arena: the received frame lies below SCRATCH_AT, replies are built above it. */
export const ARENA_BYTES: number = 192 * 1024;
export const SCRATCH_AT: number = 96 * 1024;
/** Where a received frame's Ethernet header starts: with headroom for overlay headers, and the IP header 4-aligned. */
export const FRAME_AT = 258;

/**
 * Attach a worker to its node's tables.
 * @param worker number of the worker, from 0; below the number of workers the counters were laid out for
 * @param emitter takes the frames that the pipeline sends
 * @param seed initial state of nextRandom; workers should have different ones
 * @throws Error if a buffer does not hold a table of the expected kind and version
 */
export function attachDataplane(
  buffers: TableBuffers,
  worker: number,
  emitter: Emitter,
  features: Features,
  seed: number = worker + 1,
): Dataplane {
  const conntrack = attachConntrack(buffers.conntrack);
  const services = attachServices(buffers.services);
  const node = attachNodeTable(buffers.routes);
  const counters = attachCounters(buffers.counters);
  const fragments = attachFragments(buffers.fragments);
  const policies = attachPolicies(buffers.policies);
  if (!conntrack || !services || !node || !counters || !fragments || !policies) {
    const tables = { conntrack, services, routes: node, counters, fragments, policies };
    const [missing] = Object.entries(tables).find(([, table]) => !table) ?? ['?'];
    throw new Error(`the ${missing} memory does not hold a table of this version`);
  }
  return {
    worker,
    emitter,
    counters: workerCounters(counters, worker),
    conntrack,
    services,
    node,
    fragments,
    policies,
    tunnelOffload: features.tunnelOffload,
    udpSegmentation: features.udpSegmentation,
    timeouts: conntrack.settings,
    nowMs: 0,
    random: Math.imul(seed, 0x9e3779b1) | 1,
    replyTokens: new Float64Array(node.maxHops),
    replyFilledMs: new Float64Array(node.maxHops),
    nextIpId: seed & 0xffff,
    peerAddress: new Int32Array(ADDRESS_WORDS),
    peerHop: -1,
    peerIsNode: 0,
    peerGeneration: -1,
  };
}

/** Next pseudo-random int32 of a worker: xorshift32 (Marsaglia, 2003). For spreading load only: it is predictable. */
export function nextRandom(dp: Dataplane): number {
  let x = dp.random;
  x ^= x << 13;
  x ^= x >>> 17;
  x ^= x << 5;
  dp.random = x;
  return x;
}
