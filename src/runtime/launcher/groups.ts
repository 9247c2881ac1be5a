/**
 * Joining the control groups of a container. The files are opened while the host's root is still the root, and written at
 * the very end: what Node needs until then must not count against a container that may have little memory.
 */
import { closeSync, openSync, writeSync } from 'node:fs';

export const openGroups = (files: readonly string[]): number[] => files.map((file) => openSync(file, 'w'));

/** @param groups from `openGroups`; they are closed. @throws Error */
export function joinGroups(groups: readonly number[]): void {
  for (const fd of groups) {
    writeSync(fd, '0');
    closeSync(fd);
  }
}
