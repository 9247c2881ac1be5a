/**
 * How long a thread has run, and how long it was ready and waited for a processor: the kernel counts both for each thread
 * (Documentation/scheduler/sched-stats.rst, /proc/PID/schedstat). On a machine with other load, the second is most of a delay.
 */
import { readFileSync } from 'node:fs';

/** Milliseconds. */
export interface Scheduled {
  readonly ran: number;
  readonly waited: number;
}

/** Of a process's main thread, since it started. */
export function scheduled(pid: number): Scheduled {
  const text = readFileSync(`/proc/${pid}/task/${pid}/schedstat`, 'latin1');
  const [ran = 0, waited = 0] = text.split(' ').map(Number);
  return { ran: ran / 1e6, waited: waited / 1e6 };
}

/** Of a process's main thread, since `before`. */
export function scheduledSince(pid: number, before: Scheduled): Scheduled {
  const now = scheduled(pid);
  return { ran: now.ran - before.ran, waited: now.waited - before.waited };
}
