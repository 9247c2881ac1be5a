/** Where a capture is written to: one file, standard output, or a ring of files of which the oldest is overwritten. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { extname } from 'node:path';
import { sleepSync } from '../../linux/sleep.ts';

/** Pause before a full pipe is tried again, in milliseconds. */
const RETRY_MS = 2;
const STDOUT = 1;

/** Thrown when the program that reads the capture has ended. */
export class OutputClosed extends Error {
  override readonly name = 'OutputClosed';
}

export class OutputFile {
  private readonly fd: number;
  bytes = 0;

  /** @param path '-' is standard output @throws Error with the path */
  constructor(path: string) {
    try {
      this.fd = path === '-' ? STDOUT : openSync(path, 'w', 0o600);
    } catch (error) {
      throw new Error(`${path} cannot be written: ${(error as Error).message}`, { cause: error });
    }
  }

  /** @throws OutputClosed, or Error of write(2) */
  write(blocks: readonly Uint8Array[]): void {
    const [first] = blocks;
    const all = blocks.length === 1 && first !== undefined ? first : Buffer.concat(blocks);
    for (let at = 0; at < all.length; ) {
      try {
        at += writeSync(this.fd, all, at);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'EPIPE') throw new OutputClosed('the reader of the capture has ended');
        if (code !== 'EAGAIN') throw error;
        // Standard output may be a pipe that does not block.
        sleepSync(RETRY_MS);
      }
    }
    this.bytes += all.length;
  }

  close(): void {
    if (this.fd !== STDOUT) closeSync(this.fd);
  }
}

/** Name of a file of a ring: `trace.pcapng` → `trace-1.pcapng`. */
export function ringFile(path: string, number: number): string {
  const ending = extname(path);
  return `${path.slice(0, path.length - ending.length)}-${number}${ending}`;
}
