/** Reads files that may not exist, distinguishing "cannot be read now" from "does not exist". */
import { readFileSync } from 'node:fs';

/** No such file, a path component that is not a directory, or a process that ended while its file in /proc was read. */
const ABSENT = new Set(['ENOENT', 'ENOTDIR', 'ESRCH']);

/** Does this error mean that the file does not exist? EMFILE, EIO or EACCES do not. */
export function isAbsent(error: unknown): boolean {
  return ABSENT.has((error as NodeJS.ErrnoException).code ?? '');
}

/**
 * The file's text; undefined if there is no such file.
 * @throws any other error: too many open files, no permission, an I/O error
 */
export function readIfPresent(path: string, encoding: 'utf8' | 'latin1' = 'utf8'): string | undefined {
  try {
    return readFileSync(path, encoding);
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

/** The last line of a log, or why there is none. */
export function lastLineOf(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim().split('\n').at(-1) || 'its log is empty';
  } catch (error) {
    return (error as Error).message;
  }
}
