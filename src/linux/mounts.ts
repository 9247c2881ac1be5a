/**
 * Mounting without path tricks: a part of the host's tree is cloned to a descriptor where its path is still valid, and
 * attached after the root has changed, so that no path of the host is ever resolved inside a container's root, nor one
 * of a container in the host's.
 *
 * Linux 5.12 or later (mount_setattr); the numbers of these calls are the same on every architecture (unistd.h).
 */
import { chdir } from 'node:process';
import koffi from 'koffi';
import { SystemError, unshare } from './ffi.ts';
import { enterNamespace } from './namespaces.ts';

const SYS_OPEN_TREE = 428;
const SYS_MOVE_MOUNT = 429;
const SYS_MOUNT_SETATTR = 442;
/** arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h. */
const SYS_PIVOT_ROOT = process.arch === 'x64' ? 155 : 41;

const AT_FDCWD = -100;
const AT_RECURSIVE = 0x8000;
const AT_EMPTY_PATH = 0x1000;
const OPEN_TREE_CLONE = 1;
const OPEN_TREE_CLOEXEC = 0o2000000;
const MOVE_MOUNT_F_EMPTY_PATH = 4;
const MNT_DETACH = 2;
const CLONE_FS = 0x200;
const CLONE_NEWNS = 0x20000;
/** struct mount_attr: attr_set, attr_clr, propagation, userns_fd, 8 bytes each. */
const MOUNT_ATTR_BYTES = 32;

/** Flags of mount(2), and attributes of mount_setattr(2), which have the same values. */
export const MountFlag = { RDONLY: 1, NOSUID: 2, NODEV: 4, NOEXEC: 8 } as const;

const libc = koffi.load('libc.so.6');
const mountCall = libc.func(
  'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)',
) as (source: string, target: string, type: string, flags: number, data: string | null) => number;
const umount2 = libc.func('int umount2(const char *target, int flags)') as (target: string, flags: number) => number;
const openTreeCall = libc.func('long syscall(long number, int directory, const char *path, unsigned int flags)') as (
  number: number,
  directory: number,
  path: string,
  flags: number,
) => number;
const moveMountCall = libc.func(
  'long syscall(long number, int from, const char *fromPath, int to, const char *toPath, unsigned int flags)',
) as (number: number, from: number, fromPath: string, to: number, toPath: string, flags: number) => number;
const setAttributesCall = libc.func(
  'long syscall(long number, int fd, const char *path, unsigned int flags, void *attributes, size_t bytes)',
) as (number: number, fd: number, path: string, flags: number, attributes: Buffer, bytes: number) => number;
const pivotRootCall = libc.func('long syscall(long number, const char *newRoot, const char *oldRoot)') as (
  number: number,
  newRoot: string,
  oldRoot: string,
) => number;

/** mount(2). @throws SystemError */
export function mount(type: string, target: string, flags: number, data: string | null = null): void {
  if (mountCall(type, target, type, flags, data) !== 0) throw new SystemError(`mount ${type} on`, target);
}

/** Detach it now; it disappears when nobody uses it any more. @throws SystemError */
export function unmount(path: string): void {
  if (umount2(path, MNT_DETACH) !== 0) throw new SystemError('umount', path);
}

/** A copy of the mounts at `path` and below, attached nowhere, as a descriptor. @throws SystemError */
export function cloneTree(path: string): number {
  const fd = openTreeCall(SYS_OPEN_TREE, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
  if (fd < 0) throw new SystemError('open_tree', path);
  return fd;
}

/** Set and clear attributes of all mounts of a tree. @throws SystemError */
export function changeTree(tree: number, set: number, clear: number): void {
  const attributes = Buffer.alloc(MOUNT_ATTR_BYTES);
  attributes.writeUInt32LE(set, 0);
  attributes.writeUInt32LE(clear, 8);
  const flags = AT_EMPTY_PATH | AT_RECURSIVE;
  if (setAttributesCall(SYS_MOUNT_SETATTR, tree, '', flags, attributes, MOUNT_ATTR_BYTES) !== 0) {
    throw new SystemError('mount_setattr', `descriptor ${tree}`);
  }
}

/** The mount at `/`, and none below it. @throws SystemError */
export function makeRootReadOnly(): void {
  const attributes = Buffer.alloc(MOUNT_ATTR_BYTES);
  attributes.writeUInt32LE(MountFlag.RDONLY, 0);
  if (setAttributesCall(SYS_MOUNT_SETATTR, AT_FDCWD, '/', 0, attributes, MOUNT_ATTR_BYTES) !== 0) {
    throw new SystemError('mount_setattr', '/');
  }
}

/** Attach a cloned tree. @throws SystemError */
export function attachTree(tree: number, target: string): void {
  if (moveMountCall(SYS_MOVE_MOUNT, tree, '', AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) !== 0) {
    throw new SystemError('mount on', target);
  }
}

/**
 * Make the mount at `newRoot` the root of this mount namespace; nothing of the old root can be reached by a path
 * afterwards. The old root is stacked on the new one and detached (pivot_root(2), "pivot_root(".", ".")"), so that no
 * directory is needed for it.
 * @throws SystemError
 */
export function changeRoot(newRoot: string): void {
  chdir(newRoot);
  if (pivotRootCall(SYS_PIVOT_ROOT, '.', '.') !== 0) throw new SystemError('pivot_root', newRoot);
  if (umount2('.', MNT_DETACH) !== 0) throw new SystemError('umount', 'the old root');
  chdir('/');
}

/**
 * Move the calling thread, with its root and working directory, into the mount namespace at `path`. Other threads stay,
 * so only synchronous calls of this thread see it; there is no way back. @throws SystemError
 */
export function enterMounts(path: string): void {
  // A thread that shares its root with others may not change its mount namespace (setns(2)).
  if (unshare(CLONE_FS) !== 0) throw new SystemError('unshare', 'CLONE_FS');
  enterNamespace(path, CLONE_NEWNS);
}
