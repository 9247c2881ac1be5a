/** What `npm run floods -- --report` writes: docs/reliability.md is made from it. */

/** One flood, and what it did to others. */
export interface FloodRow {
  readonly flood: string;
  /** Packets, or connections that were opened. */
  readonly sent: number;
  /** 99th percentile of round trips just before, and meanwhile. */
  readonly quietP99Ms: number;
  readonly p99Ms: number;
  /** Connections that were open, and how many were lost. */
  readonly held: number;
  readonly lost: number;
  /** Connections that were opened meanwhile, and how many failed. */
  readonly opened: number;
  readonly failed: number;
}

export interface FloodReport {
  readonly date: string;
  readonly seconds: number;
  readonly rows: readonly FloodRow[];
}

/** What a flood may do to others: round trips, connections that are open, and new ones. */
const MAX_TIMES_SLOWER = 3;
const MIN_OPENED = 0.99;

/** What a flood did that it may not, as lines of text. */
export function harmOf({ flood, quietP99Ms, p99Ms, lost, opened, failed }: FloodRow): string[] {
  const harm: string[] = [];
  if (p99Ms > MAX_TIMES_SLOWER * quietP99Ms) harm.push(`${flood}: p99 ${p99Ms} ms, ${quietP99Ms} ms before`);
  if (lost > 0) harm.push(`${flood}: ${lost} connections lost`);
  if (failed > opened * (1 - MIN_OPENED)) harm.push(`${flood}: ${failed} of ${opened} new connections failed`);
  return harm;
}
