/**
 * Named memory under /dev/shm that threads and processes share, and that outlives them. Readable by root alone: it
 * holds connections and the secret their hashes are keyed with.
 */
import { closeSync, fstatSync, openSync, readdirSync, unlinkSync } from 'node:fs';
import { ftruncate, mapShared, munmap, SystemError } from './ffi.ts';

const DIRECTORY = '/dev/shm';

export interface SharedMemory {
  readonly buffer: ArrayBuffer;
  readonly address: number;
  readonly bytes: number;
  /** Unmap. The buffer must not be touched afterwards. */
  close(): void;
}

/**
 * Map /dev/shm/<name>. With `create` it is made (zeroed) or grown to `bytes`; without, it must be there and `bytes`
 * left out means all of it.
 * @throws SystemError, or an Error with code ENOENT when it is not there
 */
export function openShared(name: string, options: { bytes?: number; create?: boolean } = {}): SharedMemory {
  const path = `${DIRECTORY}/${name}`;
  const fd = openSync(path, options.create ? 0o102 : 0o2, 0o600);
  try {
    let bytes = fstatSync(fd).size;
    if (options.bytes !== undefined && bytes < options.bytes) {
      if (!options.create) throw new RangeError(`${path}: has ${bytes} bytes, expected ${options.bytes}`);
      if (ftruncate(fd, options.bytes) !== 0) throw new SystemError('ftruncate', path);
      bytes = options.bytes;
    }
    if (bytes === 0) throw new RangeError(`${path}: is empty`);
    const mapping = mapShared(fd, bytes, path);
    return { ...mapping, close: () => void munmap(mapping.address, mapping.bytes) };
  } finally {
    closeSync(fd);
  }
}

/** Remove the name; whoever has it mapped keeps it. Nothing happens when it is not there. */
export function unlinkShared(name: string): void {
  try {
    unlinkSync(`${DIRECTORY}/${name}`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

/** Names under /dev/shm that begin with `prefix`. */
export function listShared(prefix: string): string[] {
  return readdirSync(DIRECTORY).filter((name) => name.startsWith(prefix));
}
