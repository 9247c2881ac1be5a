/**
 * Hops: every place a packet can be sent to next. Hop 0 is the node itself (dp0); hops below `firstNodeHop` are the
 * pods' ports (hop number = port number); above them are the other nodes of the cluster, the overlay's FDB.
 *
 * One table for ports and VTEPs, so that a flow remembers one small number and an established packet needs no other
 * look-up. The agent writes hops; workers only ever lower an MTU. A hop is emptied (kind NONE) before its words are
 * reused, and the node table's generation moves on, so a flow that still names it looks again. An MTU that a worker
 * lowers at that very moment may meet the hop's next owner, until the agent writes it anew (forgetPathMtus).
 */
import { HOP_WORDS, HopWord, type NodeTable, nextGeneration } from './config.ts';

export const HopKind = { NONE: 0, HOST: 1, POD: 2, NODE: 3 } as const;
export type HopKind = (typeof HopKind)[keyof typeof HopKind];

export const HOST_HOP = 0;
/** Result of a route look-up that found nothing. */
export const NO_HOP: number = -1;

/** First hop number used for other nodes: half of the table is for pods. */
export function firstNodeHop(table: NodeTable): number {
  return table.maxHops >> 1;
}

/** Port number of the hand-over to an overlay's raw socket: the last of those for pods, which no pod gets. */
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

export interface HopContents {
  readonly kind: HopKind;
  readonly macHigh: number;
  readonly macLow: number;
  readonly mtu: number;
  readonly address: Int32Array;
  readonly address2?: Int32Array;
  /** For another node: overlay/outer-ipv4.ts, outerSum. */
  readonly outerSum?: number;
}

/** Fill a hop. The kind goes in last: until then it is not a place to send to. */
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

/** Take a hop away. */
export function clearHop(table: NodeTable, hop: number): void {
  Atomics.store(table.hops, hopAt(hop) + HopWord.KIND, HopKind.NONE);
  nextGeneration(table);
}

/** A hop that is free, at or above `from` and below `to`; NO_HOP when there is none. */
export function freeHop(table: NodeTable, from: number, to: number): number {
  for (let hop = from; hop < to; hop++) if (hopKind(table, hop) === HopKind.NONE) return hop;
  return NO_HOP;
}
