/** Namespaces of control groups (cgroup_namespaces(7)): a process sees its own group as the root of all. */
import { SystemError, unshare } from '../ffi.ts';
import { enterNamespace } from '../namespaces.ts';

const CLONE_NEWCGROUP = 0x0200_0000;

/** A new one, whose root is the group that the process is in now. @throws SystemError */
export function newCgroupNamespace(): void {
  if (unshare(CLONE_NEWCGROUP) !== 0) throw new SystemError('unshare', 'CLONE_NEWCGROUP');
}

/** @param path such as /proc/PID/ns/cgroup. @throws SystemError */
export function enterCgroupNamespace(path: string): void {
  enterNamespace(path, CLONE_NEWCGROUP);
}
