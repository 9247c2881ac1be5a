/** Processor time of processes, as the kernel counts it (proc_pid_stat(5)). */
import { readFileSync } from 'node:fs';

/** Of a clock tick; USER_HZ is 100 on all architectures of Node. */
const TICK_MS = 10;

/** utime, stime, and those of the children that were waited for: cutime, cstime. */
function ticks(pid: number | 'self'): [number, number, number, number] {
  const [, fields = ''] = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ');
  const [user = 0, system = 0, childUser = 0, childSystem = 0] = fields.split(' ').slice(11, 15).map(Number);
  return [user, system, childUser, childSystem];
}

/** Of this process and of the children that it waited for, with theirs. */
export const processorMs = (): number => ticks('self').reduce((sum, n) => sum + n, 0) * TICK_MS;

/** Of the children that another process waited for, with theirs. */
export const childrenMs = (pid: number): number => {
  const [, , user, system] = ticks(pid);
  return (user + system) * TICK_MS;
};
