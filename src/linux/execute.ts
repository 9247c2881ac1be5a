/** Executing other programs: in this process' place (execve(2)), as a shell's `exec` does, and what they inherit. */
import { closeSync, fstatSync, readdirSync } from 'node:fs';
import { constants } from 'node:os';
import koffi from 'koffi';
import { errno, errorText } from './ffi.ts';

/** The same on every architecture (unistd.h). */
const SYS_CLOSE_RANGE = 436;
const CLOSE_RANGE_CLOEXEC = 4;
const FIRST_OWN_FD = 3;
const MAX_FD = 0xffff_ffff;
const F_SETFD = 2;
const SIG_DFL = 0;
const SIGNALS = 64;

const libc = koffi.load('libc.so.6');
const execve = libc.func('int execve(const char *path, const char **args, const char **environment)') as (
  path: string,
  args: (string | null)[],
  environment: (string | null)[],
) => number;
const closeRange = libc.func(
  'long syscall(long number, unsigned int first, unsigned int last, unsigned int flags)',
) as (number: number, first: number, last: number, flags: number) => number;
const fcntl = libc.func('int fcntl(int fd, int command, long argument)') as (
  fd: number,
  command: number,
  argument: number,
) => number;
const signal = libc.func('intptr_t signal(int number, intptr_t handler)') as (
  number: number,
  handler: number,
) => number;
const exitNow = libc.func('void _exit(int status)') as (status: number) => void;

/**
 * Close every descriptor of a file or directory, except standard input, output, error and `kept`. What remains, pipes and
 * the descriptors of Node's own threads, is closed when a program is executed. @throws Error
 */
export function closeFilesBut(kept: readonly number[]): void {
  for (const name of readdirSync('/proc/self/fd')) {
    const fd = Number(name);
    if (fd < FIRST_OWN_FD || kept.includes(fd)) continue;
    try {
      const stat = fstatSync(fd);
      if (stat.isFile() || stat.isDirectory()) closeSync(fd);
    } catch (error) {
      // The descriptor of the directory that was just read.
      if ((error as NodeJS.ErrnoException).code !== 'EBADF') throw error;
    }
  }
}

/**
 * Keep the descriptors that this process has now, except standard input, output and error, from every program that it
 * starts. Node.js does that with those it opens, but not with what it was started with: a shell's pipe, a file of CI's
 * runner. Kernels before 5.11 refuse it.
 */
export function keepDescriptors(): void {
  closeRange(SYS_CLOSE_RANGE, FIRST_OWN_FD, MAX_FD, CLOSE_RANGE_CLOEXEC);
}

/** Does not return if it succeeds. @returns the reason why not */
export function execute(path: string, args: readonly string[], environment: readonly string[]): string {
  // Node ignores SIGPIPE, and a new program would inherit that.
  for (let number = 1; number <= SIGNALS; number++) {
    if (number !== constants.signals.SIGKILL && number !== constants.signals.SIGSTOP) signal(number, SIG_DFL);
  }
  // Node keeps its own standard input, output and error from programs that are executed.
  for (let fd = 0; fd < FIRST_OWN_FD; fd++) fcntl(fd, F_SETFD, 0);
  if (closeRange(SYS_CLOSE_RANGE, FIRST_OWN_FD, MAX_FD, CLOSE_RANGE_CLOEXEC) !== 0) return errorText(errno());
  execve(path, [...args, null], [...environment, null]);
  return errorText(errno());
}

/** End at once, without Node's own clean-up. */
export function leave(status: number): never {
  exitNow(status);
  throw new Error('not reached');
}
