/**
 * Milliseconds since the machine booted: the clock of everything in shared memory. It is the same for every thread and
 * process and goes on when an agent is started again, so a connection's end means the same to all of them.
 */

/** CLOCK_MONOTONIC in milliseconds. */
export function monotonicMs(): number {
  // process.hrtime() counts from CLOCK_MONOTONIC's own zero on Linux (uv_hrtime); performance.now() does not.
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1000 + Math.floor(nanoseconds / 1e6);
}
