/** CPU time and memory of processes, read from /proc (proc(5)), added up by PID namespace. */
import { readdirSync, readlinkSync } from 'node:fs';
import { statFields } from './processes.ts';
import { readIfPresent } from './read-file.ts';

/** Clock ticks a second in /proc: USER_HZ, which is 100 on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100;

export interface ProcessUsage {
  /** Time of the processes that live, and of children that they have waited for. */
  cpuSeconds: number;
  memoryBytes: number;
}

/** Identifies the PID namespace that a process is in; undefined if the process is gone. */
export function pidNamespaceOf(pid: number | string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch {
    return undefined;
  }
}

/** Usage of each of these PID namespaces that has processes now. */
export function usageOf(namespaces: ReadonlySet<string>): Map<string, ProcessUsage> {
  const sums = new Map<string, ProcessUsage>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const namespace = pidNamespaceOf(name);
    if (namespace === undefined || !namespaces.has(namespace)) continue;
    const usage = usageOfProcess(name);
    if (usage === undefined) continue;
    const sum = sums.get(namespace) ?? { cpuSeconds: 0, memoryBytes: 0 };
    sum.cpuSeconds += usage.cpuSeconds;
    sum.memoryBytes += usage.memoryBytes;
    sums.set(namespace, sum);
  }
  return sums;
}

/** Undefined if the process is gone. */
export function usageOfProcess(pid: string): ProcessUsage | undefined {
  const stat = readIfPresent(`/proc/${pid}/stat`, 'latin1');
  if (stat === undefined) return undefined;
  // utime, stime, cutime and cstime are fields 14 to 17, rss is 24.
  const fields = statFields(stat);
  const ticks = fields.slice(11, 15).reduce((sum, text) => sum + Number(text), 0);
  return { cpuSeconds: ticks / TICKS_PER_SECOND, memoryBytes: memoryOf(pid) ?? Number(fields[21]) * 4096 };
}

/** The proportional set size: a page that several processes share counts once in their sum. */
function memoryOf(pid: string): number | undefined {
  try {
    const kilobytes = /^Pss:\s+(\d+) kB/m.exec(readIfPresent(`/proc/${pid}/smaps_rollup`, 'latin1') ?? '')?.[1];
    return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
  } catch {
    return undefined; // Another user's process, or one that is ending.
  }
}
