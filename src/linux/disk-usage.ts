/** How much of a disk files take, by du(1): in a process of its own, because there may be very many of them. */
import { execFile } from 'node:child_process';

const TIMEOUT_MS = 20_000;

/** What to count: bytes in blocks, or files. */
export type Counted = 'bytes' | 'inodes';

/**
 * The usage of each directory, with everything below it on the same file system. One that is not there, or cannot be read
 * in time, is left out.
 */
export function diskUsage(directories: readonly string[], counted: Counted = 'bytes'): Promise<Map<string, number>> {
  if (directories.length === 0) return Promise.resolve(new Map());
  return new Promise((resolve) => {
    const unit = counted === 'bytes' ? '--block-size=1' : '--inodes';
    const args = ['-s', '-x', unit, '--null', '--', ...directories];
    execFile('du', args, { timeout: TIMEOUT_MS, encoding: 'utf8' }, (_error, stdout) => {
      // It reports files that disappear meanwhile as errors; the sums are printed all the same.
      const lines = stdout
        .split('\0')
        .filter(Boolean)
        .map((line) => line.split('\t'));
      resolve(new Map(lines.map(([usage, ...path]) => [path.join('\t'), Number(usage)])));
    });
  });
}
