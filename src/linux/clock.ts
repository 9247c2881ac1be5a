/**
 * Milliseconds since the machine booted: the clock of everything in shared memory. It is the same for every thread and
 * process and goes on when an agent is started again, so a connection's end means the same to all of them.
 */

// performance.now() allocates nothing and counts on the same clock from another zero: CLOCK_MONOTONIC's own is what
// process.hrtime() counts from on Linux (uv_hrtime).
const [seconds, nanoseconds] = process.hrtime();
const zero = seconds * 1000 + nanoseconds / 1e6 - performance.now();

/** CLOCK_MONOTONIC in whole milliseconds. */
export function monotonicMs(): number {
  return Math.floor(performance.now() + zero);
}
