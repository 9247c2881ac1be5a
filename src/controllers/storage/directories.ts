/**
 * The directories of dynamically provisioned volumes, below a directory that only root can enter: pods of any user may
 * write to them, but no other user of the machine.
 */
import { chmodSync, mkdirSync, readdirSync, renameSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';

/** Suffix of a directory whose volume is gone and whose files are being removed. */
const REMOVED = '.removed';

export class VolumeDirectories {
  private readonly root: string;
  private readonly log: (line: string) => void;

  /** Resumes removals that an earlier process did not finish. */
  constructor(root: string, log: (line: string) => void) {
    this.root = root;
    this.log = log;
    mkdirSync(root, { recursive: true, mode: 0o700 });
    chmodSync(root, 0o700);
    for (const name of readdirSync(root)) if (name.endsWith(REMOVED)) this.erase(join(root, name));
  }

  pathOf(volume: string): string {
    return join(this.root, volume);
  }

  /** Creates the directory of a volume, unless it exists. @returns its path */
  make(volume: string): string {
    const path = this.pathOf(volume);
    mkdirSync(path, { recursive: true });
    chmodSync(path, 0o777);
    return path;
  }

  /** Renames the directory at once, and removes its files in the background. */
  remove(volume: string): void {
    const aside = `${this.pathOf(volume)}${REMOVED}`;
    try {
      renameSync(this.pathOf(volume), aside);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw error;
    }
    this.erase(aside);
  }

  private erase(path: string): void {
    rm(path, { recursive: true, force: true }).catch((error: Error) => this.log(`volumes: ${error.message}`));
  }
}
