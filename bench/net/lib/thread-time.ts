/** Processor time of one thread, from /proc (proc(5)). */
import { readdirSync, readFileSync } from 'node:fs';

/** Time so far, nanoseconds: all of it exactly, and the part in the kernel by sampling 100 to 1000 times a second. */
export interface ThreadTime {
  readonly total: number;
  readonly kernelShare: number;
}

interface Ticks {
  readonly nanoseconds: number;
  readonly user: number;
  readonly kernel: number;
}

function ticksOf(pid: number, thread: number): Ticks {
  const base = `/proc/${pid}/task/${thread}`;
  const text = readFileSync(`${base}/stat`, 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return {
    nanoseconds: Number(readFileSync(`${base}/schedstat`, 'utf8').split(' ')[0]),
    user: Number(fields[11]),
    kernel: Number(fields[12]),
  };
}

/** Measures the busiest thread of a process while `work` runs: a forwarder's worker, or a C program's only thread. */
export async function busiestThread(pid: number, work: () => Promise<void>): Promise<ThreadTime> {
  const before = new Map(
    readdirSync(`/proc/${pid}/task`).map((name) => [Number(name), ticksOf(pid, Number(name))] as const),
  );
  await work();
  let most: ThreadTime = { total: 0, kernelShare: 0 };
  for (const [thread, from] of before) {
    const to = ticksOf(pid, thread);
    const total = to.nanoseconds - from.nanoseconds;
    const [user, kernel] = [to.user - from.user, to.kernel - from.kernel];
    if (total > most.total) most = { total, kernelShare: kernel / Math.max(1, user + kernel) };
  }
  return most;
}
