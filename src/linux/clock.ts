/**
 * The clock of everything in shared memory: CLOCK_MONOTONIC. It is the same for every thread and process and continues
 * across restarts of the agent, so an expiry time means the same to all of them.
 *
 * It is read through koffi into numeric memory, because Node's own clocks allocate a number on the heap at every call
 * (performance.now(): 16 bytes, 44 to 62 ns; this: nothing, about 60 ns). Milliseconds exceed V8's small integers after
 * 25 days of uptime: from then on there is one heap number per batch, still none per frame.
 */
import { clockGetTime, mapPrivate } from './ffi.ts';

const CLOCK_REALTIME = 0;
const CLOCK_MONOTONIC = 1;
/** Period after which `microseconds` wraps. */
const WRAP_SECONDS = 1024;
const WRAP = WRAP_SECONDS * 1_000_000;

// struct timespec is two 64-bit words; the lower half of the seconds lasts 68 years. The page belongs to the thread and
// is never unmapped.
const memory = mapPrivate(16);
const words = new Int32Array(memory.buffer);

/** Milliseconds since boot, as a whole number. */
export function monotonicMs(): number {
  clockGetTime(CLOCK_MONOTONIC, memory.address);
  return (words[0] as number) * 1000 + (((words[2] as number) / 1e6) | 0);
}

/** Microseconds within the millisecond that `monotonicMs` has just returned. */
export function monotonicMicros(): number {
  return (((words[2] as number) / 1000) | 0) % 1000;
}

/** Microseconds, wrapping every 1024 seconds so that they stay a small integer: for `microsecondsSince`. */
export function microseconds(): number {
  clockGetTime(CLOCK_MONOTONIC, memory.address);
  return ((words[0] as number) % WRAP_SECONDS) * 1_000_000 + (((words[2] as number) / 1000) | 0);
}

/** Microseconds since `start`, a result of `microseconds` less than 1024 seconds ago. */
export function microsecondsSince(start: number): number {
  const passed = microseconds() - start;
  return passed < 0 ? passed + WRAP : passed;
}

/** The time since 1970 when `stampTime` was last called: whole seconds, and nanoseconds within. Int32. */
export const stamp = { seconds: 0, nanoseconds: 0 };

/** Read the time since 1970 into `stamp`, without allocation. */
export function stampTime(): void {
  clockGetTime(CLOCK_REALTIME, memory.address);
  stamp.seconds = words[0] as number;
  stamp.nanoseconds = words[2] as number;
}
