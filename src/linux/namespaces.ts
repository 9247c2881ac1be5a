/** Entering another namespace (setns(2)). */
import { closeSync, openSync } from 'node:fs';
import { SystemError, setns } from './ffi.ts';

/**
 * Move the calling thread into a namespace.
 * @param path such as /proc/PID/ns/net
 * @param kind CLONE_NEW… (linux/sched.h)
 * @throws SystemError
 */
export function enterNamespace(path: string, kind: number): void {
  const fd = openSync(path, 'r');
  try {
    if (setns(fd, kind) !== 0) throw new SystemError('setns', path);
  } finally {
    closeSync(fd);
  }
}
