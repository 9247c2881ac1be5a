/**
 * Named memory under /dev/shm, shared by threads and processes, which outlives them. Readable only by root: it holds
 * connections and the secret that keys their hashes.
 */
import { closeSync, fstatSync, openSync } from 'node:fs';
import { ftruncate, mapShared, munmap, SystemError } from './ffi.ts';
import { SHM_DIRECTORY } from './shm-files.ts';

/** Mapped shared memory. */
export interface SharedMemory {
  readonly buffer: ArrayBuffer;
  readonly address: number;
  readonly bytes: number;
  /** Unmap. The buffer must not be touched afterwards. */
  close(): void;
}

/**
 * Map /dev/shm/<name>. With `create` it is created (zeroed) or enlarged to `bytes`; without, it must exist, and
 * omitting `bytes` maps all of it.
 * @throws SystemError, or an Error with code ENOENT if it does not exist
 */
export function openShared(name: string, options: { bytes?: number; create?: boolean } = {}): SharedMemory {
  const path = `${SHM_DIRECTORY}/${name}`;
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
