/** Copies the parts of a sparse file that hold data: shared tables are mostly holes, which read as zeros. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { lseek } from './ffi.ts';

/** linux include/uapi/linux/fs.h */
const SEEK_DATA = 3;
const SEEK_HOLE = 4;

/** Bytes of a file from a position on; everything between extents is zero. */
export interface Extent {
  readonly at: number;
  readonly bytes: Uint8Array;
}

export interface SparseCopy {
  /** Bytes of the whole file. */
  readonly size: number;
  readonly extents: readonly Extent[];
}

/** @throws Error of open(2) or read(2) */
export function copySparse(path: string): SparseCopy {
  const fd = openSync(path, 'r');
  try {
    const { size } = fstatSync(fd);
    const extents: Extent[] = [];
    for (let at = lseek(fd, 0, SEEK_DATA); at >= 0 && at < size; ) {
      const end = Math.min(lseek(fd, at, SEEK_HOLE), size);
      const bytes = Buffer.allocUnsafeSlow(end - at);
      for (let read = 0; read < bytes.length; ) {
        const more = readSync(fd, bytes, read, bytes.length - read, at + read);
        if (more === 0) throw new Error(`${path} became shorter while it was read`);
        read += more;
      }
      extents.push({ at, bytes });
      at = lseek(fd, end, SEEK_DATA);
    }
    return { size, extents };
  } finally {
    closeSync(fd);
  }
}

/** The whole file in plain memory. */
export function expand({ size, extents }: SparseCopy): ArrayBuffer {
  const buffer = new ArrayBuffer(size);
  const all = new Uint8Array(buffer);
  for (const { at, bytes } of extents) all.set(bytes, at);
  return buffer;
}
