/**
 * Where control groups can be made on this machine: in one tree (cgroup v2), or in one for each controller (v1), as
 * cgroups(7) describes. A machine may have both mounted; a controller belongs to one of them.
 */
import { accessSync, constants, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseMounts } from '../mountinfo.ts';

/** `cpuacct` counts processor time, which v2 does without a controller. */
const CONTROLLERS = ['memory', 'cpu', 'cpuacct', 'pids'] as const;
export type Controller = (typeof CONTROLLERS)[number];

export interface CgroupTrees {
  readonly version: 1 | 2;
  /** The root of each controller's tree; with v2 the same for all. */
  readonly roots: Readonly<Record<Controller, string>>;
  /** Roots of the other trees of this machine, where an OCI runtime makes groups of the same path (v1). */
  readonly others: readonly string[];
}

/** @returns the trees, or why groups with limits cannot be made */
export function findCgroupTrees(
  mountinfo: string = readFileSync('/proc/self/mountinfo', 'utf8'),
): CgroupTrees | string {
  const mounts = parseMounts(mountinfo);
  const reasons: string[] = [];
  for (const { path, fileSystem, options } of mounts) {
    if (fileSystem !== 'cgroup2') continue;
    const missing = missingControllers(path);
    if (missing.length > 0) reasons.push(`cgroup v2 at ${path} lacks ${missing.join(', ')}`);
    else if (options.includes('ro') || !isWritable(path)) reasons.push(`cgroup v2 at ${path} is read-only`);
    else return { version: 2, roots: { memory: path, cpu: path, cpuacct: path, pids: path }, others: [] };
  }
  const found: Partial<Record<Controller, string>> = {};
  for (const controller of CONTROLLERS) {
    const mount = mounts.find(
      ({ fileSystem, superOptions }) => fileSystem === 'cgroup' && superOptions.includes(controller),
    );
    if (mount === undefined) continue;
    const { path, options } = mount;
    if (options.includes('ro') || !isWritable(path)) reasons.push(`cgroup v1 at ${path} is read-only`);
    else found[controller] = path;
  }
  const { memory, cpu, cpuacct, pids } = found;
  if (memory && cpu && cpuacct && pids) {
    const roots = { memory, cpu, cpuacct, pids };
    const all = mounts.filter(({ fileSystem }) => fileSystem === 'cgroup' || fileSystem === 'cgroup2');
    const others = all.map(({ path }) => path).filter((path) => !Object.values(roots).includes(path));
    return { version: 1, roots, others };
  }
  if (reasons.length === 0) reasons.push('no cgroup file system with cpu, memory and pids is mounted');
  return reasons.join('; ');
}

function missingControllers(root: string): string[] {
  try {
    const there = readFileSync(join(root, 'cgroup.controllers'), 'utf8').trim().split(' ');
    return ['cpu', 'memory', 'pids'].filter((name) => !there.includes(name));
  } catch (error) {
    return [(error as Error).message];
  }
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
