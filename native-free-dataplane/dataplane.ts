/**
 * Everything one worker's pipeline works with: the tables, its own counters, where frames go, its own small state.
 *
 * Made once per worker; the stages get it as their second argument. Nothing in it is shared between workers but the
 * memory under the tables.
 */

import { attachConntrack, type Conntrack } from './conntrack/record.ts';
import { attachFragments, type FragmentTable } from './fragments/table.ts';
import { attachNodeTable, type NodeTable } from './node/config.ts';
import type { Packet } from './packet.ts';
import { attachServices, type ServiceTable } from './services/table.ts';
import { ADDRESS_WORDS } from './shared/address.ts';
import { attachCounters, type WorkerCounters, workerCounters } from './shared/counters.ts';

/** Whoever takes finished frames: a worker's devices, a test's list. */
export interface Emitter {
  /** Send bytes[start, end) of the packet, with its offload fields, to port pkt.outPort. Must not keep the packet. */
  emit(pkt: Packet): void;
}

export interface TableBuffers {
  readonly conntrack: ArrayBuffer;
  readonly services: ArrayBuffer;
  /** The node's own table: configuration, hops, routes, declared ports. */
  readonly routes: ArrayBuffer;
  readonly counters: ArrayBuffer;
  /** Datagrams in fragments. */
  readonly fragments: ArrayBuffer;
}

/** What the device toward the underlay (dp0) can take; found out when it was opened. */
export interface Features {
  /** Whole VXLAN-encapsulated super-packets (Linux 6.17 and later). */
  readonly tunnelOffload: boolean;
  /** UDP super-packets (Linux 6.2 and later). */
  readonly udpSegmentation: boolean;
}

export interface Dataplane {
  readonly worker: number;
  readonly emitter: Emitter;
  readonly counters: WorkerCounters;
  readonly conntrack: Conntrack;
  readonly services: ServiceTable;
  readonly node: NodeTable;
  readonly fragments: FragmentTable;
  readonly tunnelOffload: boolean;
  readonly udpSegmentation: boolean;
  /** The conntrack settings: seconds by timeout class (conntrack/timeouts.ts), then the switches of Setting. */
  readonly timeouts: Int32Array;
  /** Monotonic milliseconds of the batch in hand. */
  nowMs: number;
  /** Random state of this worker (xorshift32), for choices that need no secrecy. */
  random: number;
  /** Tokens left for ICMP errors and resets, and when they were last filled up (RFC 1812 §4.3.2.8). */
  errorTokens: number;
  errorFilledMs: number;
  /** Identification of the next IPv4 packet made here. */
  nextIpId: number;
  /** Last overlay peer seen: underlay address, its hop, and the route generation that holds for. */
  readonly peerAddress: Int32Array;
  peerHop: number;
  /** 1 when it is the node's own address on the underlay, 0 when a pod's of the node. */
  peerIsNode: number;
  peerGeneration: number;
}

/** Arena bytes a worker needs: the frame in hand below SCRATCH_AT, what the pipeline builds above it. */
export const ARENA_BYTES: number = 192 * 1024;
export const SCRATCH_AT: number = 96 * 1024;
/** Where a received frame's Ethernet header starts: room for headers in front, and the IP header 4-aligned. */
export const FRAME_AT = 258;

/**
 * Bind a worker to its node's tables.
 * @param worker 0-based number of the worker
 * @param seed any number; workers get different ones
 * @throws Error when a buffer does not hold the table it should (set-up only, never on the path)
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
  if (!conntrack || !services || !node || !counters || !fragments) {
    const tables = { conntrack, services, routes: node, counters, fragments };
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
    tunnelOffload: features.tunnelOffload,
    udpSegmentation: features.udpSegmentation,
    timeouts: conntrack.settings,
    nowMs: 0,
    random: Math.imul(seed, 0x9e3779b1) | 1,
    errorTokens: 0,
    errorFilledMs: 0,
    nextIpId: seed & 0xffff,
    peerAddress: new Int32Array(ADDRESS_WORDS),
    peerHop: -1,
    peerIsNode: 0,
    peerGeneration: -1,
  };
}

/** Next random int32 of a worker: xorshift32 (Marsaglia, 2003). Spreads load; nothing secret hangs on it. */
export function nextRandom(dp: Dataplane): number {
  let x = dp.random;
  x ^= x << 13;
  x ^= x >>> 17;
  x ^= x << 5;
  dp.random = x;
  return x;
}
