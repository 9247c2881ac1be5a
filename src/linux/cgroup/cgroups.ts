/**
 * Control groups: created with limits, read, and removed with everything in them (Documentation/admin-guide/cgroup-v2.rst
 * and cgroup-v1/ in the kernel). The same for both versions; a group is named by its path below the roots.
 *
 * With v2 a group that has groups below it may have no processes of its own, so only the innermost are joined.
 */
import { existsSync, mkdirSync, readdirSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isAbsent, readIfPresent } from '../read-file.ts';
import type { CgroupTrees, Controller } from './trees.ts';

export interface CgroupLimits {
  memoryBytes?: number | undefined;
  /** The most processor time, in thousandths of a processor. */
  cpuMillis?: number | undefined;
  /** The share of processor time when there is not enough for all; undefined: the kernel's default. */
  cpuShares?: number | undefined;
  processes?: number | undefined;
  /** If a process is killed for want of memory, so are the others (v2 only). */
  endsAsOne?: boolean;
}

export interface CgroupUsage {
  cpuSeconds: number;
  /** Without files that could be dropped: what kubelet calls the working set. */
  memoryBytes: number;
}

const CPU_PERIOD_US = 100_000;
/** The kernel accepts no less. */
const MIN_QUOTA_US = 1000;
/** Of v1: cpu.shares. */
const MIN_SHARES = 2;
const MAX_SHARES = 262_144;

const GONE_MS = 5_000;

/** The shares of a container that requests so much (kubelet, cm.MilliCPUToShares). */
export const sharesOf = (millis: number): number =>
  Math.min(Math.max(Math.floor((millis * 1024) / 1000), MIN_SHARES), MAX_SHARES);

/** cpu.weight, 1 to 10000, for shares of v1 (kubelet, cm.CpuSharesToCpuWeight). */
const weightOf = (shares: number): number => Math.floor(((shares - 2) * 9999) / 262_142 + 1);

export class Cgroups {
  readonly trees: CgroupTrees;

  constructor(trees: CgroupTrees) {
    this.trees = trees;
  }

  /** Create it, and those around it, or set the limits of one that exists. @throws Error naming the file */
  make(path: string, limits: CgroupLimits): void {
    for (const directory of this.directories(path)) mkdirSync(directory, { recursive: true, mode: 0o755 });
    if (this.trees.version === 2) this.delegate(path);
    this.limitMemory(path, limits);
    this.limitCpu(path, limits);
    if (limits.processes !== undefined) this.write('pids', path, 'pids.max', limits.processes);
  }

  /** A process joins the group by writing 0 to each of these files. */
  joinFiles(path: string): string[] {
    return this.directories(path).map((directory) => join(directory, 'cgroup.procs'));
  }

  /** One in each tree. */
  directories(path: string): string[] {
    return this.roots().map((root) => join(root, path));
  }

  /** The same for the groups that an OCI runtime makes in the other trees. */
  otherJoinFiles(path: string): string[] {
    return this.trees.others.map((root) => join(root, path, 'cgroup.procs'));
  }

  /** Undefined if there is no such group. */
  usage(path: string): CgroupUsage | undefined {
    const v2 = this.trees.version === 2;
    const used = this.read('memory', path, v2 ? 'memory.current' : 'memory.usage_in_bytes');
    const stat = this.read('memory', path, 'memory.stat');
    const time = v2 ? this.read('cpu', path, 'cpu.stat') : this.read('cpuacct', path, 'cpuacct.usage');
    if (used === undefined || stat === undefined || time === undefined) return undefined;
    const unused = valueIn(stat, v2 ? 'inactive_file' : 'total_inactive_file');
    return {
      cpuSeconds: v2 ? valueIn(time, 'usage_usec') / 1e6 : Number(time) / 1e9,
      memoryBytes: Math.max(0, Number(used) - unused),
    };
  }

  /** How often a process of the group was killed because the group had reached its limit of memory. */
  oomKills(path: string): number {
    const name = this.trees.version === 2 ? 'memory.events' : 'memory.oom_control';
    return valueIn(this.read('memory', path, name) ?? '', 'oom_kill');
  }

  /** Remove it with all groups below it; processes in them are killed. @throws Error if that does not succeed */
  async remove(path: string): Promise<void> {
    for (const directory of this.everywhere(path)) await removeTree(directory, Date.now() + GONE_MS);
  }

  /** Remove it, and groups below it, if they have no processes and nothing in them has been created for `idleMs`. */
  removeIdle(path: string, idleMs: number): void {
    const before = Date.now() - idleMs;
    for (const directory of this.everywhere(path)) removeIdleTree(directory, before);
  }

  /** Remove it if there is neither a group nor a process in it. */
  removeEmpty(path: string): void {
    for (const directory of this.everywhere(path)) removeUnlessUsed(directory);
  }

  /** Names of the groups directly below. */
  list(path: string): string[] {
    return groupsIn(join(this.trees.roots.memory, path));
  }

  /** Let the groups from the root to the parent of `path` pass their controllers on. */
  private delegate(path: string): void {
    const above = path.split('/').slice(0, -1);
    for (let depth = 0; depth <= above.length; depth++) {
      this.write('cpu', above.slice(0, depth).join('/'), 'cgroup.subtree_control', '+cpu +memory +pids');
    }
  }

  private limitMemory(path: string, { memoryBytes, endsAsOne }: CgroupLimits): void {
    if (memoryBytes === undefined) return;
    const bytes = Math.floor(memoryBytes);
    if (this.trees.version === 2) {
      this.write('memory', path, 'memory.max', bytes);
      this.writeIfThere('memory', path, 'memory.swap.max', 0);
      if (endsAsOne) this.writeIfThere('memory', path, 'memory.oom.group', 1);
      return;
    }
    this.write('memory', path, 'memory.limit_in_bytes', bytes);
    // Of memory and swap together; the file is missing where the kernel does not account for swap.
    this.writeIfThere('memory', path, 'memory.memsw.limit_in_bytes', bytes);
  }

  private limitCpu(path: string, { cpuMillis, cpuShares }: CgroupLimits): void {
    const v2 = this.trees.version === 2;
    if (cpuShares !== undefined) {
      if (v2) this.write('cpu', path, 'cpu.weight', weightOf(cpuShares));
      else this.write('cpu', path, 'cpu.shares', cpuShares);
    }
    if (cpuMillis === undefined) return;
    const quota = Math.max(Math.floor((cpuMillis * CPU_PERIOD_US) / 1000), MIN_QUOTA_US);
    if (v2) this.write('cpu', path, 'cpu.max', `${quota} ${CPU_PERIOD_US}`);
    else {
      this.write('cpu', path, 'cpu.cfs_period_us', CPU_PERIOD_US);
      this.write('cpu', path, 'cpu.cfs_quota_us', quota);
    }
  }

  private everywhere(path: string): string[] {
    return [...this.directories(path), ...this.trees.others.map((root) => join(root, path))];
  }

  private roots(): string[] {
    return [...new Set(Object.values(this.trees.roots))];
  }

  private write(controller: Controller, path: string, name: string, value: string | number): void {
    const file = join(this.trees.roots[controller], path, name);
    try {
      writeFileSync(file, String(value));
    } catch (error) {
      throw new Error(`${file}: ${(error as NodeJS.ErrnoException).code ?? (error as Error).message}`);
    }
  }

  private writeIfThere(controller: Controller, path: string, name: string, value: number): void {
    if (existsSync(join(this.trees.roots[controller], path, name))) this.write(controller, path, name, value);
  }

  private read(controller: Controller, path: string, name: string): string | undefined {
    return readIfPresent(join(this.trees.roots[controller], path, name));
  }
}

/** Of a file with a name and a number on each line; 0 if it is not there. */
function valueIn(text: string, name: string): number {
  return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1] ?? 0);
}

/** Kill what is in a group and in those below it, and remove them. @throws Error of the file system after `endMs` */
export async function removeTree(directory: string, endMs: number): Promise<void> {
  for (const name of groupsIn(directory)) await removeTree(join(directory, name), endMs);
  for (let pauseMs = 1; ; pauseMs = Math.min(pauseMs * 2, 50)) {
    killAll(directory);
    try {
      rmdirSync(directory);
      return;
    } catch (error) {
      if (isAbsent(error)) return;
      if (Date.now() > endMs) throw error;
    }
    // A process that was killed leaves the group only when it has ended.
    await sleep(pauseMs);
  }
}

/** The time of a group's directory is when a group was last created in it. */
function removeIdleTree(directory: string, beforeMs: number): void {
  if ((statSync(directory, { throwIfNoEntry: false })?.mtimeMs ?? beforeMs) >= beforeMs) return;
  for (const name of groupsIn(directory)) removeIdleTree(join(directory, name), beforeMs);
  removeUnlessUsed(directory);
}

function removeUnlessUsed(directory: string): void {
  try {
    rmdirSync(directory);
  } catch {
    // It is in use, or gone.
  }
}

function killAll(directory: string): void {
  for (const line of readIfPresent(join(directory, 'cgroup.procs'))?.split('\n') ?? []) {
    const pid = Number(line);
    if (!(pid > 0)) continue;
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has just ended.
    }
  }
}

function groupsIn(directory: string): string[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name);
  } catch (error) {
    if (isAbsent(error)) return [];
    throw error;
  }
}
