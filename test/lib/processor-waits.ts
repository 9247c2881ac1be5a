/**
 * How long the threads of a process have waited for a processor, from the second number of their `schedstat`
 * (linux/Documentation/scheduler/sched-stats.rst). On a busy machine this is most of what anything takes.
 */
import { readdirSync, readFileSync } from 'node:fs';

export class ProcessorWaits {
  private readonly pid: number;
  private readonly first = new Map<string, number>();
  private readonly last = new Map<string, number>();

  constructor(pid: number) {
    this.pid = pid;
    this.sample();
  }

  /** Reads the present numbers. A thread's last one is lost when it ends, so this is called now and then. */
  sample(): void {
    for (const thread of readdirSync(`/proc/${this.pid}/task`)) {
      const ms = waitedMs(`/proc/${this.pid}/task/${thread}/schedstat`);
      if (ms === undefined) continue;
      if (!this.first.has(thread)) this.first.set(thread, ms);
      this.last.set(thread, ms);
    }
  }

  /** Of these threads together since the construction, milliseconds. */
  ms(...threads: number[]): number {
    let sum = 0;
    for (const thread of new Set(threads.map(String)))
      sum += (this.last.get(thread) ?? 0) - (this.first.get(thread) ?? 0);
    return sum;
  }
}

/** Undefined if the thread has ended. */
function waitedMs(path: string): number | undefined {
  try {
    return Number(readFileSync(path, 'latin1').split(' ')[1]) / 1e6;
  } catch {
    return undefined;
  }
}
