/**
 * A lock that is released when its holder dies, however it dies: flock(2) on a file. The kernel ties it to the open
 * file, so there is no stale lock to detect, and no pid that another process may have been given since.
 */
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { EAGAIN, errno, flock, SystemError } from './ffi.ts';

const LOCK_SH_NB = 1 | 4;
const LOCK_EX_NB = 2 | 4;

/** A lock that this process holds. */
export interface HeldLock {
  /** Release the lock. The file stays: removing it would let two holders have a lock each. */
  release(): void;
}

/**
 * Try to take the lock, without waiting. The holder's pid is written into the file, for people to read.
 * @returns the lock, or the text that its current holder wrote
 * @throws SystemError, or an Error if the file cannot be opened
 */
export function takeLock(path: string): HeldLock | string {
  // Node opens with O_CLOEXEC, so no child process keeps the lock after its parent has died.
  const fd = openSync(path, 'a+', 0o600);
  if (flock(fd, LOCK_EX_NB) !== 0) {
    const number = errno();
    const holder = number === EAGAIN ? readFileSync(path, 'utf8').trim() : '';
    closeSync(fd);
    if (number !== EAGAIN) throw new SystemError('flock', path, number);
    return holder;
  }
  try {
    ftruncateSync(fd);
    writeSync(fd, `${process.pid}\n`);
  } catch {
    // The disk is full. The lock is held all the same.
  }
  return { release: () => closeSync(fd) };
}

/** Does a process hold the lock? False if the file does not exist. */
export function isLocked(path: string): boolean {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch {
    return false;
  }
  const free = flock(fd, LOCK_SH_NB) === 0;
  closeSync(fd);
  return !free;
}
