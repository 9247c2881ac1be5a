/** iproute2 with many commands in one process: a batch costs one fork, not one per line. */
import { execFile, spawnSync } from 'node:child_process';

/** A batch takes milliseconds; after this long it is considered hung. */
const BATCH_TIMEOUT_MS = 20_000;

/** `ip` failed: the command, and its error message. `code` is stable. */
export class IpCommandError extends Error {
  readonly code = 'IP_COMMAND';
  constructor(what: string, said: string) {
    super(`ip ${what}: ${said.trim() || 'failed'}`);
    this.name = 'IpCommandError';
  }
}

/**
 * Run lines of `ip` commands (without the word `ip`) in the calling thread's network namespace.
 * @param force continue after a line that fails, and do not throw
 * @throws IpCommandError with ip's error message
 */
export function ipBatch(lines: readonly string[], force = false): void {
  const args = force ? ['-force', '-batch', '-'] : ['-batch', '-'];
  const result = spawnSync('ip', args, { input: `${lines.join('\n')}\n`, encoding: 'utf8' });
  if (result.error) throw new IpCommandError('-batch', `${result.error.message} (is iproute2 installed?)`);
  if (result.status !== 0 && !force) throw new IpCommandError(lines.join('; '), result.stderr);
}

/**
 * Run lines of `ip` commands without blocking.
 * @param options of the one `ip` process, such as `-n NETNS`
 * @param force continue after a line that fails, and do not throw
 * @throws IpCommandError with ip's error message and the line that failed
 */
export function runIpBatch(options: readonly string[], lines: readonly string[], force = false): Promise<void> {
  return new Promise((resolve, reject) => {
    const args = [...options, ...(force ? ['-force'] : []), '-batch', '-'];
    const child = execFile('ip', args, { timeout: BATCH_TIMEOUT_MS }, (error, _stdout, stderr) => {
      if (error === null || force) return resolve();
      const said = stderr.trim().split('\n');
      const refused = /^Command failed -:(\d+)/.exec(said.at(-1) ?? '')?.[1];
      const line = refused === undefined ? '-batch' : (lines[Number(refused) - 1] ?? '');
      reject(new IpCommandError([...options, line].join(' '), said[0] || error.message));
    });
    child.stdin?.on('error', () => {}); // `ip` may end before it has read everything.
    child.stdin?.end(`${lines.join('\n')}\n`);
  });
}

/** Run one `ip` command and return its output. @throws IpCommandError */
export function ipOutput(args: readonly string[]): string {
  const result = spawnSync('ip', args, { encoding: 'utf8' });
  if (result.error) throw new IpCommandError(args.join(' '), `${result.error.message} (is iproute2 installed?)`);
  if (result.status !== 0) throw new IpCommandError(args.join(' '), result.stderr);
  return result.stdout;
}
