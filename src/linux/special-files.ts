/** What Node cannot create: device nodes, pipes, extended attributes. */
import type { Stats } from 'node:fs';
import koffi from 'koffi';
import { errno, SystemError } from './ffi.ts';

/** include/uapi/linux/stat.h */
const S_IFIFO = 0o010000;
const S_IFCHR = 0o020000;
const ENOTSUP = 95;

const libc = koffi.load('libc.so.6');
const mknod = libc.func('int mknod(const char *path, unsigned int mode, unsigned long device)') as (
  path: string,
  mode: number,
  device: number,
) => number;
const lsetxattr = libc.func(
  'int lsetxattr(const char *path, const char *name, void *value, size_t bytes, int flags)',
) as (path: string, name: string, value: Buffer, bytes: number, flags: number) => number;
const lgetxattr = libc.func('long lgetxattr(const char *path, const char *name, void *value, size_t bytes)') as (
  path: string,
  name: string,
  value: Buffer,
  bytes: number,
) => number;

const OPAQUE = 'trusted.overlay.opaque';

/** A named pipe. @throws SystemError */
export function makePipe(path: string, mode: number): void {
  if (mknod(path, S_IFIFO | mode, 0) !== 0) throw new SystemError('mkfifo', path);
}

/** In a layer of overlayfs: the file of the layers below does not exist (overlayfs.rst, "whiteouts"). @throws SystemError */
export function makeWhiteout(path: string): void {
  if (mknod(path, S_IFCHR, 0) !== 0) throw new SystemError('mknod', path);
}

/** In a layer of overlayfs: the directory hides those of the layers below. @throws SystemError */
export function makeOpaque(directory: string): void {
  if (!setAttribute(directory, OPAQUE, Buffer.from('y'))) {
    throw new SystemError('setxattr', directory, ENOTSUP);
  }
}

export const isWhiteout = (stat: Stats): boolean => stat.isCharacterDevice() && stat.rdev === 0;

/** Does the directory hide those of the layers below? */
export function isOpaque(directory: string): boolean {
  const value = Buffer.alloc(1);
  return lgetxattr(directory, OPAQUE, value, value.length) === 1 && value.toString() === 'y';
}

/** Does not follow links. @returns false if the file system has no extended attributes. @throws SystemError */
export function setAttribute(path: string, name: string, value: Buffer): boolean {
  if (lsetxattr(path, name, value, value.length, 0) === 0) return true;
  if (errno() === ENOTSUP) return false;
  throw new SystemError(`setxattr ${name}`, path);
}
