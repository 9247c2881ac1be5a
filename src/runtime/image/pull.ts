/** Fetches an image from a registry by a program of the host's, as an archive to load. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findProgram } from '../../linux/find-program.ts';
import { canonicalName } from './reference.ts';

const run = promisify(execFile);

/** The commands that write the image `name` to the archive `file`. */
const COMMANDS: Record<string, (name: string, file: string) => string[][]> = {
  skopeo: (name, file) => [['copy', '--quiet', `docker://${name}`, `docker-archive:${file}`]],
  podman: (name, file) => [
    ['pull', '--quiet', name],
    ['save', '--quiet', '--output', file, name],
  ],
  docker: (name, file) => [
    ['pull', '--quiet', name],
    ['save', '--output', file, name],
  ],
};

export interface Puller {
  name: string;
  path: string;
}

/** The first of them on `searchPath`; undefined if there is none. skopeo needs neither a daemon nor a store of its own. */
export function puller(searchPath: string): Puller | undefined {
  for (const name of Object.keys(COMMANDS)) {
    const path = findProgram(name, searchPath);
    if (path !== undefined) return { name, path };
  }
  return undefined;
}

/** @param load called with the archive, which is removed afterwards. @throws Error with the program's last line */
export async function fetchImage(
  { name: program, path }: Puller,
  image: string,
  load: (archive: string) => Promise<void>,
): Promise<void> {
  const name = canonicalName(image);
  const directory = mkdtempSync(join(tmpdir(), 'dataplane-pull-'));
  try {
    const archive = join(directory, 'image.tar');
    for (const args of COMMANDS[program]!(name, archive)) {
      await run(path, args).catch((error: Error & { stderr?: string }) => {
        throw new Error(`${program}: ${error.stderr?.trim().split('\n').at(-1) || error.message}`);
      });
    }
    await load(archive);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
