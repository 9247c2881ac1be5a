/**
 * Hops: every destination a packet can be sent to next. Hop 0 is the node's kernel (dp0). Hops below `firstNodeHop` are
 * the pods' ports (hop number = port number). Hops from there on are the other nodes of the cluster: the overlay's FDB.
 * The last hop is the node's own sockets, reached through dp0 like hop 0, but by local delivery instead of forwarding.
 *
 * Ports and VTEPs share one table, so that a flow stores one small number and an established packet needs no other
 * look-up. The agent writes hops; workers only lower an MTU. A hop is cleared (kind NONE) before its words are reused,
 * and the node table's generation is incremented, so a flow that still refers to it repeats its look-up. An MTU that a
 * worker lowers at that very moment may apply to the hop's next owner until the agent rewrites it (forgetPathMtus).
 */
import { HOP_WORDS, HopWord, type NodeTable, nextGeneration } from './config.ts';

/** LOCAL: the node's own sockets. HOST: whatever the node's kernel forwards to. Both are reached through dp0. */
export const HopKind = { NONE: 0, HOST: 1, POD: 2, NODE: 3, LOCAL: 4 } as const;
export type HopKind = (typeof HopKind)[keyof typeof HopKind];

export const HOST_HOP = 0;
/** Result of a route look-up without a match. */
export const NO_HOP: number = -1;
/** In place of a connection's hops: the policies that are in force now deny it. */
export const DENIED_EGRESS: number = -2;
export const DENIED_INGRESS: number = -3;

/** First hop number used for other nodes: the lower half of the table is for pods. */
export function firstNodeHop(table: NodeTable): number {
  return table.maxHops >> 1;
}

/** The hop of the node's own sockets. */
export function localHop(table: NodeTable): number {
  return table.maxHops - 1;
}

/** Port number of the hand-over to an overlay's raw socket: the last pod port, which is never given to a pod. */
export function tunnelPort(table: NodeTable): number {
  return firstNodeHop(table) - 1;
}

/** Kind of a hop. */
export function hopKind(table: NodeTable, hop: number): number {
  return table.hops[hop * HOP_WORDS + HopWord.KIND];
}

/** Index of a hop's first word in `table.hops`. */
export function hopAt(hop: number): number {
  return hop * HOP_WORDS;
}

/** The fields of a hop (HopWord). */
export interface HopContents {
  readonly kind: HopKind;
  /** Upper 16 and lower 32 bits of the Ethernet destination. */
  readonly macHigh: number;
  readonly macLow: number;
  /** Largest network-layer packet, in bytes. */
  readonly mtu: number;
  /** Four words: the pod's address, or the other node's underlay address. */
  readonly address: Int32Array;
  /** The pod's address of the other family. */
  readonly address2?: Int32Array;
  /** For another node: outerSum of overlay/outer-ipv4.ts. */
  readonly outerSum?: number;
}

/** Fill a hop. The kind is stored last: until then no packet is sent to it. */
export function setHop(table: NodeTable, hop: number, contents: HopContents): void {
  const { hops } = table;
  const at = hopAt(hop);
  Atomics.store(hops, at + HopWord.KIND, HopKind.NONE);
  hops[at + HopWord.MAC_HIGH] = contents.macHigh;
  hops[at + HopWord.MAC_LOW] = contents.macLow;
  hops[at + HopWord.MTU] = contents.mtu;
  hops.set(contents.address, at + HopWord.ADDRESS);
  if (contents.address2) hops.set(contents.address2, at + HopWord.ADDRESS_2);
  else hops.fill(0, at + HopWord.ADDRESS_2, at + HopWord.ADDRESS_2 + 4);
  hops[at + HopWord.OUTER_SUM] = contents.outerSum ?? 0;
  Atomics.store(hops, at + HopWord.KIND, contents.kind);
  nextGeneration(table);
}

/** Clear a hop. */
export function clearHop(table: NodeTable, hop: number): void {
  Atomics.store(table.hops, hopAt(hop) + HopWord.KIND, HopKind.NONE);
  nextGeneration(table);
}

/** The first free hop in from..to-1; NO_HOP if there is none. */
export function freeHop(table: NodeTable, from: number, to: number): number {
  for (let hop = from; hop < to; hop++) if (hopKind(table, hop) === HopKind.NONE) return hop;
  return NO_HOP;
}
