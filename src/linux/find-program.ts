/** Finds a program of this machine by its name. */
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';

/**
 * The path of a program. Only absolute directories are searched: the caller runs as root, in any directory.
 * @returns undefined if there is no such program
 */
export function findProgram(name: string, searchPath: string = process.env.PATH ?? ''): string | undefined {
  return searchPath
    .split(':')
    .filter((directory) => directory.startsWith('/'))
    .map((directory) => join(directory, name))
    .find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
