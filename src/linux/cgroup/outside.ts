/**
 * Control groups outside of the container that this process runs in: those of process 1, which is the machine's if the
 * container shares its processes (hostPID) and may see its files (privileged). A container runtime ends every process in the
 * container's groups when the container ends; one that has left them stays.
 */
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { readMounts } from '../mountinfo.ts';

const INIT_ROOT = '/proc/1/root';

/** The roots of all trees (v1 has several). */
const roots = (): string[] =>
  readMounts(1)
    .filter(({ fileSystem }) => fileSystem === 'cgroup' || fileSystem === 'cgroup2')
    .map(({ path }) => INIT_ROOT + path);

/**
 * Move a process into a group of the machine.
 * @throws Error if there is a tree in which it is not possible; the process has left others perhaps
 */
export function moveOutside(pid: number, group: string): void {
  const trees = roots();
  if (trees.length === 0) throw new Error('process 1 sees no control groups');
  for (const root of trees) {
    try {
      mkdirSync(`${root}/${group}`, { recursive: true });
      writeFileSync(`${root}/${group}/cgroup.procs`, `${pid}`);
    } catch {
      // A new group of the tree of cpuset (v1) has no processors yet, and takes no process.
      writeFileSync(`${root}/cgroup.procs`, `${pid}`);
    }
  }
}

/** Remove the group where no process is in it. */
export function removeOutside(group: string): void {
  for (const root of roots()) {
    try {
      rmdirSync(`${root}/${group}`);
    } catch {
      // It has never been made, or another node's process is in it.
    }
  }
}

/** The groups of a process, one line for each tree (proc_pid_cgroup(5)). */
export const groupsOf = (pid: number): string => readFileSync(`/proc/${pid}/cgroup`, 'utf8');
