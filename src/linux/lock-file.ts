/**
 * A lock that its holder's death releases, however it died: flock(2) on a file. The kernel keeps it with the open file,
 * so there is no stale lock to judge, and no pid that another process may have by now.
 */
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { EAGAIN, errno, flock, SystemError } from './ffi.ts';

const LOCK_EX_NB = 2 | 4;

export interface HeldLock {
  /** Give the lock back. The file stays: removing it would let two holders have a lock each. */
  release(): void;
}

/**
 * Take the lock at once or not at all. The holder's pid is written into the file, for people.
 * @returns the lock, or the text that its present holder wrote
 * @throws SystemError, or an Error when the file cannot be opened
 */
export function takeLock(path: string): HeldLock | string {
  // Node opens with O_CLOEXEC, so no child keeps the lock after its parent died.
  const fd = openSync(path, 'a+', 0o600);
  if (flock(fd, LOCK_EX_NB) !== 0) {
    const number = errno();
    const holder = number === EAGAIN ? readFileSync(path, 'utf8').trim() : '';
    closeSync(fd);
    if (number !== EAGAIN) throw new SystemError('flock', path, number);
    return holder;
  }
  ftruncateSync(fd);
  writeSync(fd, `${process.pid}\n`);
  return { release: () => closeSync(fd) };
}
