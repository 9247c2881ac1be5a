/**
 * The clock of everything in shared memory: CLOCK_MONOTONIC. It is the same for every thread and process and goes on when
 * an agent is started again, so a connection's end means the same to all of them.
 *
 * It is read through koffi into numeric memory, because Node's own clocks put a number on the heap at every call
 * (performance.now(): 16 bytes, 44 to 62 ns; this: nothing, about 60 ns). Milliseconds outgrow V8's small integers when the
 * machine has been up for 25 days: from then on they are one such number a batch, still none a frame.
 */
import { clockGetTime, mapPrivate } from './ffi.ts';

const CLOCK_MONOTONIC = 1;
/** Where `microseconds` begins again. */
const WRAP_SECONDS = 1024;
const WRAP = WRAP_SECONDS * 1_000_000;

// struct timespec, two 64-bit words: the lower half of the seconds lasts 68 years. The page is the thread's for its life.
const memory = mapPrivate(16);
const words = new Int32Array(memory.buffer);

/** Milliseconds since the machine booted, whole. */
export function monotonicMs(): number {
  clockGetTime(CLOCK_MONOTONIC, memory.address);
  return (words[0] as number) * 1000 + (((words[2] as number) / 1e6) | 0);
}

/** Microseconds, from 0 again every 1024 seconds, so that they stay a small integer: for `microsecondsSince`. */
export function microseconds(): number {
  clockGetTime(CLOCK_MONOTONIC, memory.address);
  return ((words[0] as number) % WRAP_SECONDS) * 1_000_000 + (((words[2] as number) / 1000) | 0);
}

/** How long ago `start`, an answer of `microseconds`, was; for less than 1024 seconds. */
export function microsecondsSince(start: number): number {
  const passed = microseconds() - start;
  return passed < 0 ? passed + WRAP : passed;
}
