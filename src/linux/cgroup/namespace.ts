/** Namespaces of control groups (cgroup_namespaces(7)): a process sees its own group as the root of all. */
import { closeSync, openSync } from 'node:fs';
import koffi from 'koffi';
import { SystemError, setns } from '../ffi.ts';

const CLONE_NEWCGROUP = 0x0200_0000;

const unshare = koffi.load('libc.so.6').func('int unshare(int flags)') as (flags: number) => number;

/** A new one, whose root is the group that the process is in now. @throws SystemError */
export function newCgroupNamespace(): void {
  if (unshare(CLONE_NEWCGROUP) !== 0) throw new SystemError('unshare', 'CLONE_NEWCGROUP');
}

/** @param path such as /proc/PID/ns/cgroup. @throws SystemError */
export function enterCgroupNamespace(path: string): void {
  const fd = openSync(path, 'r');
  try {
    if (setns(fd, CLONE_NEWCGROUP) !== 0) throw new SystemError('setns', path);
  } finally {
    closeSync(fd);
  }
}
