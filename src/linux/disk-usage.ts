/** How much of a disk files take, by du(1): in a process of its own, because there may be very many of them. */
import { execFile } from 'node:child_process';

const TIMEOUT_MS = 20_000;

/**
 * Bytes in blocks of each directory, with everything below it on the same file system. One that is not there, or cannot
 * be read in time, is left out.
 */
export function diskUsage(directories: readonly string[]): Promise<Map<string, number>> {
  if (directories.length === 0) return Promise.resolve(new Map());
  return new Promise((resolve) => {
    const args = ['-s', '-x', '--block-size=1', '--null', '--', ...directories];
    execFile('du', args, { timeout: TIMEOUT_MS, encoding: 'utf8' }, (_error, stdout) => {
      // It reports files that disappear meanwhile as errors; the sums are printed all the same.
      const lines = stdout
        .split('\0')
        .filter(Boolean)
        .map((line) => line.split('\t'));
      resolve(new Map(lines.map(([bytes, ...path]) => [path.join('\t'), Number(bytes)])));
    });
  });
}
