/**
 * Budgets of a pod: how many connections a second it may open, and how many replies (resets, ICMP errors) a second are made
 * for it. Each is a token bucket like those of bandwidth.ts, with a burst of one second. What is refused is counted for each
 * pod, and so are connections that it is refused because it holds its share of the connection table (conntrack/shares.ts), or
 * because no source port is free.
 *
 * Pods without a budget of connections cost nothing: pkt.limited has been read for the limits of bandwidth. Times and counts
 * are stored plainly: while several workers serve one pod, it may get a little more, and a count may miss some.
 */
import { isLimited, setLimited } from './bandwidth.ts';
import { LIMIT_DOUBLES, type NodeTable } from './config.ts';
import { firstNodeHop } from './hops.ts';

/** What has a budget; the bits of HopWord.LIMITED are 1 shifted by these, beside those of Toward (bandwidth.ts). */
export const Budget = { CONNECTIONS: 2, REPLIES: 3 } as const;
export type Budget = (typeof Budget)[keyof typeof Budget];

/** Doubles of each budget: milliseconds for one, time at which no debt is left, how many were refused. */
const INTERVAL_MS = 0;
const CLEAR_AT = 1;
const REFUSED = 2;
/** Unused by the bucket: connections over the pod's share (of CONNECTIONS), or without a source port (of REPLIES). */
const REFUSED_OTHERWISE = 3;
const BUDGET_DOUBLES = 4;
const BURST_MS = 1000;

/** Where a budget of a port starts; those of Toward come first. */
const budgetAt = (port: number, budget: Budget): number => port * LIMIT_DOUBLES + budget * BUDGET_DOUBLES;

/** Set a budget. @param perSecond 0: no limit */
export function setBudget(table: NodeTable, port: number, budget: Budget, perSecond: number): void {
  const { limits } = table;
  const at = budgetAt(port, budget);
  const interval = perSecond === 0 ? 0 : 1000 / perSecond;
  if (limits[at + INTERVAL_MS] !== interval) {
    limits[at + INTERVAL_MS] = interval;
    limits[at + CLEAR_AT] = 0;
  }
  setLimited(table, port, budget, perSecond !== 0);
}

/** May the pod of this port have another one? If not, that is counted. Charges nothing. */
export function isInBudget(table: NodeTable, port: number, budget: Budget, nowMs: number): boolean {
  if (!isLimited(table, port, budget)) return true;
  const { limits } = table;
  const at = budgetAt(port, budget);
  const interval = limits[at + INTERVAL_MS];
  // At least one, also of a budget below one a second.
  if (limits[at + CLEAR_AT] - nowMs <= (interval < BURST_MS ? BURST_MS - interval : 0)) return true;
  limits[at + REFUSED]++;
  return false;
}

/** Charge one to the budget of the pod of this port, if it has one. */
export function chargeBudget({ limits }: NodeTable, port: number, budget: Budget, nowMs: number): void {
  const at = budgetAt(port, budget);
  const clear = limits[at + CLEAR_AT];
  limits[at + CLEAR_AT] = (clear > nowMs ? clear : nowMs) + limits[at + INTERVAL_MS];
}

/** Count a reply that was not made because there are too many for this hop, whatever its budget. */
export function noteUnmadeReply(table: NodeTable, hop: number): void {
  if (hop < firstNodeHop(table)) table.limits[budgetAt(hop, Budget.REPLIES) + REFUSED]++;
}

/** Count a connection refused to the pod of this hop because it holds its share of the connection table. */
export function noteShareUsed(table: NodeTable, hop: number): void {
  if (hop < firstNodeHop(table)) table.limits[budgetAt(hop, Budget.CONNECTIONS) + REFUSED_OTHERWISE]++;
}

/** Count a connection refused to the pod of this hop because no source port is free. */
export function noteNoSourcePort(table: NodeTable, hop: number): void {
  if (hop < firstNodeHop(table)) table.limits[budgetAt(hop, Budget.REPLIES) + REFUSED_OTHERWISE]++;
}

/** Connections over the share of the pod that has this port. */
export function overShareOf({ limits }: NodeTable, port: number): number {
  return limits[budgetAt(port, Budget.CONNECTIONS) + REFUSED_OTHERWISE];
}

/** Connections of the pod that has this port for which no source port was free. */
export function withoutSourcePortOf({ limits }: NodeTable, port: number): number {
  return limits[budgetAt(port, Budget.REPLIES) + REFUSED_OTHERWISE];
}

/** How many were refused since the pod got this port. */
export function refusedOf({ limits }: NodeTable, port: number, budget: Budget): number {
  return limits[budgetAt(port, budget) + REFUSED];
}

/** The port has another pod. */
export function clearBudgets(table: NodeTable, port: number): void {
  for (const budget of [Budget.CONNECTIONS, Budget.REPLIES] as const) {
    setBudget(table, port, budget, 0);
    table.limits[budgetAt(port, budget) + REFUSED] = 0;
    table.limits[budgetAt(port, budget) + REFUSED_OTHERWISE] = 0;
  }
}
