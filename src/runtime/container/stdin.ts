/**
 * The standard input of a container that requests one (`stdin: true` or `tty: true`): a named pipe beside its other
 * files, into which attached clients write. It never ends, unless the manifest sets `stdinOnce`: then it ends with the
 * first client, or with the agent that started the container.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, constants, existsSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Container } from '../../api/types/objects.ts';

const FILE = 'stdin';

/** Write ends held open, so that a container with `stdinOnce` waits for its client. By directory. */
const held = new Map<string, number>();

const hasStdin = (container: Container): boolean => container.stdin === true || container.tty === true;

/** Create a new pipe. @returns the descriptor for the container's standard input; the caller closes it */
export function openStdin(directory: string, container: Container): number | undefined {
  releaseStdin(directory);
  const path = join(directory, FILE);
  rmSync(path, { force: true });
  if (!hasStdin(container)) return undefined;
  execFileSync('mkfifo', ['-m', '0600', path], { stdio: 'pipe' });
  // Linux opens a FIFO for reading and writing without blocking (fifo(7)).
  const both = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  if (container.stdinOnce !== true || container.tty === true) {
    closeSync(both);
    return openSync(path, constants.O_RDWR);
  }
  held.set(directory, both);
  return openSync(path, constants.O_RDONLY);
}

/** The pipe that clients write to; undefined if the container has no input. */
export function stdinPipeOf(directory: string): string | undefined {
  const path = join(directory, FILE);
  return existsSync(path) ? path : undefined;
}

/** With `stdinOnce`: the client has closed its input. */
export function releaseStdin(directory: string): void {
  const fd = held.get(directory);
  if (fd === undefined) return;
  held.delete(directory);
  closeSync(fd);
}
