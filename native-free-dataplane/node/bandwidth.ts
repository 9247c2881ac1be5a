/**
 * Limits on the traffic of a pod, in each direction: a token bucket, kept as the time at which it will be empty of debt (the
 * generic cell rate algorithm, ITU-T I.371 annex A). A packet within the burst passes and moves that time on; another is
 * dropped, as by a policer of tc.
 *
 * Pods without a limit cost one comparison of a word of their hop, which is loaded anyway (HopWord.LIMITED). Rates are
 * written by the agent, times by any worker with plain stores: while one direction of a pod's traffic is on several
 * workers, it may get a little more than its rate.
 */
import { HopWord, LIMIT_DOUBLES, type NodeTable } from './config.ts';
import { hopAt } from './hops.ts';

/** To the pod, and from it; the bits of HopWord.LIMITED are 1 shifted by these. */
export const Toward = { POD: 0, NETWORK: 1 } as const;
export type Toward = (typeof Toward)[keyof typeof Toward];

/** Doubles for each direction of a hop: bytes a millisecond, milliseconds of burst, time at which no debt is left. */
const RATE = 0;
const BURST_MS = 1;
const CLEAR_AT = 2;
const DIRECTION_DOUBLES = 4;

/**
 * The burst is four super-packets, and at least what arrives in this time. TCP gets its rate only if it does not lose a
 * super-packet at each round trip: with 50 ms it got a third.
 */
const LEAST_BURST_BYTES = 262_144;
const LEAST_BURST_MS = 500;

/** Limit a pod's traffic in one direction. @param bytesPerMs 0: no limit */
export function setBandwidth(table: NodeTable, port: number, toward: Toward, bytesPerMs: number): void {
  const { limits } = table;
  const at = port * LIMIT_DOUBLES + toward * DIRECTION_DOUBLES;
  if (limits[at + RATE] !== bytesPerMs) {
    limits[at + RATE] = bytesPerMs;
    limits[at + BURST_MS] = bytesPerMs === 0 ? 0 : Math.max(LEAST_BURST_MS, LEAST_BURST_BYTES / bytesPerMs);
    limits[at + CLEAR_AT] = 0;
  }
  setLimited(table, port, toward, bytesPerMs !== 0);
}

/** Has the pod of this port this limit? @param limit a direction, or a budget (budgets.ts) */
export function isLimited(table: NodeTable, port: number, limit: number): boolean {
  return (table.hops[hopAt(port) + HopWord.LIMITED] & (1 << limit)) !== 0;
}

/** The pod of this port has this limit, or has it no longer. @param limit as in isLimited */
export function setLimited({ hops }: NodeTable, port: number, limit: number, has: boolean): void {
  const word = hopAt(port) + HopWord.LIMITED;
  if (has) Atomics.or(hops, word, 1 << limit);
  else Atomics.and(hops, word, ~(1 << limit));
}

/** May another packet of the pod of this port pass in this direction? Charges nothing: it may be dropped for other reasons. */
export function hasBandwidth({ limits }: NodeTable, port: number, toward: Toward, nowMs: number): boolean {
  const at = port * LIMIT_DOUBLES + toward * DIRECTION_DOUBLES;
  return limits[at + RATE] === 0 || limits[at + CLEAR_AT] - nowMs <= limits[at + BURST_MS];
}

/** Charge a packet that is sent to the limit of the pod of this port in this direction. */
export function chargeBandwidth(table: NodeTable, port: number, toward: Toward, bytes: number, nowMs: number): void {
  const { limits } = table;
  const at = port * LIMIT_DOUBLES + toward * DIRECTION_DOUBLES;
  const rate = limits[at + RATE];
  if (rate === 0) return;
  const clear = limits[at + CLEAR_AT];
  limits[at + CLEAR_AT] = (clear > nowMs ? clear : nowMs) + bytes / rate;
}
