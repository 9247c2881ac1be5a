/** Lists and removes named shared memory as files, without mapping it. */
import { readdirSync, statSync, unlinkSync } from 'node:fs';

export const SHM_DIRECTORY = '/dev/shm';

/** Inode of the file of this name: another one if the memory was created anew. 0 if there is none. */
export function sharedInode(name: string): number {
  return statSync(`${SHM_DIRECTORY}/${name}`, { throwIfNoEntry: false })?.ino ?? 0;
}

/** Remove the name, if it exists; processes that have it mapped keep the memory. */
export function unlinkShared(name: string): void {
  try {
    unlinkSync(`${SHM_DIRECTORY}/${name}`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

/** Names that begin with `prefix`; an empty list if there is no shared memory at all. */
export function listShared(prefix: string): string[] {
  try {
    return readdirSync(SHM_DIRECTORY).filter((name) => name.startsWith(prefix));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return [];
  }
}
