/**
 * Where control groups can be made on this machine: in one tree (cgroup v2), or in one for each controller (v1), as
 * cgroups(7) describes. A machine may have both mounted; a controller belongs to one of them.
 */
import { accessSync, constants, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** `cpuacct` counts processor time, which v2 does without a controller. */
const CONTROLLERS = ['memory', 'cpu', 'cpuacct', 'pids'] as const;
export type Controller = (typeof CONTROLLERS)[number];

export interface CgroupTrees {
  readonly version: 1 | 2;
  /** The root of each controller's tree; with v2 the same for all. */
  readonly roots: Readonly<Record<Controller, string>>;
}

/** @returns the trees, or why groups with limits cannot be made */
export function findCgroupTrees(
  mountinfo: string = readFileSync('/proc/self/mountinfo', 'utf8'),
): CgroupTrees | string {
  const mounts = mountinfo.split('\n').flatMap(parseMount);
  const reasons: string[] = [];
  for (const { path, type, readOnly } of mounts) {
    if (type !== 'cgroup2') continue;
    const missing = missingControllers(path);
    if (missing.length > 0) reasons.push(`cgroup v2 at ${path} lacks ${missing.join(', ')}`);
    else if (readOnly || !isWritable(path)) reasons.push(`cgroup v2 at ${path} is read-only`);
    else return { version: 2, roots: { memory: path, cpu: path, cpuacct: path, pids: path } };
  }
  const found: Partial<Record<Controller, string>> = {};
  for (const controller of CONTROLLERS) {
    const mount = mounts.find(({ type, options }) => type === 'cgroup' && options.includes(controller));
    if (mount === undefined) continue;
    if (mount.readOnly || !isWritable(mount.path)) reasons.push(`cgroup v1 at ${mount.path} is read-only`);
    else found[controller] = mount.path;
  }
  const { memory, cpu, cpuacct, pids } = found;
  if (memory && cpu && cpuacct && pids) return { version: 1, roots: { memory, cpu, cpuacct, pids } };
  if (reasons.length === 0) reasons.push('no cgroup file system with cpu, memory and pids is mounted');
  return reasons.join('; ');
}

interface Mount {
  path: string;
  type: string;
  readOnly: boolean;
  /** Of the file system: the controllers, with v1. */
  options: readonly string[];
}

/** proc_pid_mountinfo(5). */
function parseMount(line: string): Mount[] {
  const [before = '', after = ''] = line.split(' - ');
  const fields = before.split(' ');
  const [type = '', , options = ''] = after.split(' ');
  const path = fields[4]?.replace(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
  if (path === undefined || !type.startsWith('cgroup')) return [];
  return [{ path, type, readOnly: fields[5]!.split(',').includes('ro'), options: options.split(',') }];
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
