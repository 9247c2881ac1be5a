/** Processor time and memory, from /proc. The machine's total includes everything that ran meanwhile, also the programs that
 * generate the traffic and the kernel's softirqs; a process's figure includes only its threads. */
import { readFileSync } from 'node:fs';

/** USER_HZ: /proc counts in hundredths of a second on every architecture Linux runs Node on. */
const TICKS_PER_SECOND = 100;

export interface CpuReading {
  atMs: number;
  machineTicks: number;
  processTicks: number;
}

/** Busy time of the whole machine (proc(5), /proc/stat: all but idle and iowait) and of the processes `pids` so far. */
export function readCpu(pids: readonly number[]): CpuReading {
  const fields = readFileSync('/proc/stat', 'utf8').split('\n')[0]!.trim().split(/\s+/).slice(1, 9).map(Number);
  const machineTicks = fields.reduce((sum, ticks, at) => (at === 3 || at === 4 ? sum : sum + ticks), 0);
  return { atMs: performance.now(), machineTicks, processTicks: pids.reduce((sum, pid) => sum + ticksOf(pid), 0) };
}

/** Busy cores between two readings: of the whole machine, and of the processes. */
export function coresBetween(before: CpuReading, after: CpuReading): { machine: number; process: number } {
  const ticks = ((after.atMs - before.atMs) / 1000) * TICKS_PER_SECOND;
  return {
    machine: (after.machineTicks - before.machineTicks) / ticks,
    process: (after.processTicks - before.processTicks) / ticks,
  };
}

/** Resident memory of `pids` together, in MiB. */
export function residentMiB(pids: readonly number[]): number {
  let kilobytes = 0;
  for (const pid of pids) {
    const match = /^VmRSS:\s+(\d+) kB/m.exec(read(`/proc/${pid}/status`));
    kilobytes += match ? Number(match[1]) : 0;
  }
  return kilobytes / 1024;
}

function ticksOf(pid: number): number {
  // proc(5), /proc/pid/stat: the name in parentheses may contain blanks; utime and stime are fields 14 and 15.
  const text = read(`/proc/${pid}/stat`);
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return fields.length > 12 ? Number(fields[11]) + Number(fields[12]) : 0;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
