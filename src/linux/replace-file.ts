/** Replaces files as a whole. */
import { closeSync, fchmodSync, fsyncSync, openSync, renameSync, writeFileSync } from 'node:fs';

export interface ReplaceOptions {
  /** Default: only for root. */
  readonly mode?: number;
  /** Return only when the content is on the disk. */
  readonly flush?: boolean;
}

/**
 * Write a file so that whoever reads it finds the former content or all of the new, whatever happens meanwhile.
 * @throws Error of the file system; the file is as before then
 */
export function replaceFile(path: string, text: string, { mode = 0o600, flush = false }: ReplaceOptions = {}): void {
  const fd = openSync(`${path}.new`, 'w', mode);
  try {
    writeFileSync(fd, text);
    fchmodSync(fd, mode); // Whatever the umask, and the mode of a file that an earlier attempt has left.
    if (flush) fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(`${path}.new`, path);
}
