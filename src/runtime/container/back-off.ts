/** Restart delay of a container that ended (kubelet: 10 s, doubling to 5 min, reset after 10 min of running). */
import type { ContainerRecord } from '../state.ts';

export const DEFAULT_BACK_OFF_MS = 10_000;
const MAX_FACTOR = 30;
/** In units of the base delay, so that tests can scale everything: 10 minutes by default. */
const GOOD_RUN_FACTOR = 60;

/**
 * Compute the delay after an exit: none the first time, then the base, doubling. Sets `notBeforeMs` and the next delay.
 */
export function backOff(record: ContainerRecord, ranMs: number, finishedAtMs: number, baseMs: number): void {
  if (ranMs >= GOOD_RUN_FACTOR * baseMs) record.backOffMs = 0;
  record.notBeforeMs = finishedAtMs + record.backOffMs;
  record.backOffMs = record.backOffMs === 0 ? baseMs : Math.min(record.backOffMs * 2, MAX_FACTOR * baseMs);
}

/** `10s`, `2m40s`: the format of Go durations. */
export function printDelay(ms: number): string {
  if (ms < 1000) return `${ms}ms`;
  const seconds = Math.round(ms / 1000);
  return seconds < 60 ? `${seconds}s` : `${Math.floor(seconds / 60)}m${seconds % 60}s`;
}
