/** iproute2, many commands in one process: a batch costs one fork, not one a line. */
import { spawnSync } from 'node:child_process';

/** `ip` refused: what it was told, and what it said. `code` is stable. */
export class IpCommandError extends Error {
  readonly code = 'IP_COMMAND';
  constructor(what: string, said: string) {
    super(`ip ${what}: ${said.trim() || 'failed'}`);
    this.name = 'IpCommandError';
  }
}

/**
 * Run lines of `ip` commands (without the word ip) in the calling thread's network namespace.
 * @param force go on after a line that fails, and do not throw
 * @throws IpCommandError with what ip said
 */
export function ipBatch(lines: readonly string[], force = false): void {
  const args = force ? ['-force', '-batch', '-'] : ['-batch', '-'];
  const result = spawnSync('ip', args, { input: `${lines.join('\n')}\n`, encoding: 'utf8' });
  if (result.error) throw new IpCommandError('-batch', `${result.error.message} (is iproute2 installed?)`);
  if (result.status !== 0 && !force) throw new IpCommandError(lines.join('; '), result.stderr);
}

/** Run one `ip` command and give back what it printed. @throws IpCommandError */
export function ipOutput(args: readonly string[]): string {
  const result = spawnSync('ip', args, { encoding: 'utf8' });
  if (result.error) throw new IpCommandError(args.join(' '), `${result.error.message} (is iproute2 installed?)`);
  if (result.status !== 0) throw new IpCommandError(args.join(' '), result.stderr);
  return result.stdout;
}
