/** Named shared memory as files: listed and removed without mapping any. */
import { readdirSync, unlinkSync } from 'node:fs';

export const SHM_DIRECTORY = '/dev/shm';

/** Remove the name; whoever has it mapped keeps it. Nothing happens when it is not there. */
export function unlinkShared(name: string): void {
  try {
    unlinkSync(`${SHM_DIRECTORY}/${name}`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

/** Names that begin with `prefix`; none where there is no shared memory at all. */
export function listShared(prefix: string): string[] {
  try {
    return readdirSync(SHM_DIRECTORY).filter((name) => name.startsWith(prefix));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return [];
  }
}
