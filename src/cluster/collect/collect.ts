/** Writes what is known about a cluster into files. Every item is bounded in time and size, and none depends on another. */
import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ApiClient } from '../../api/client/client.ts';
import { apiTarget } from '../state.ts';
import { hostFiles, nodeFiles } from './machine-files.ts';
import { objectFiles } from './object-files.ts';

export interface CollectOptions {
  readonly directory: string;
  readonly stateDir: string;
  readonly nodes: readonly string[];
  /** The command line of `dataplane`. */
  readonly program: readonly string[];
  readonly onProgress: (text: string) => void;
}

const PROGRAM_MS = 20_000;
const MAX_BYTES = 32 * 1024 * 1024;
const AT_A_TIME = 4;

/** @returns how many files were written, and how many items are listed in missing.txt */
export async function collect(options: CollectOptions): Promise<{ files: number; missing: number }> {
  const { directory, onProgress } = options;
  const [node, main] = options.program as [string, string];
  const dataplane = (...words: string[]) => run(node, [main, ...words]);
  const missing: string[] = [];
  const items = [...hostFiles(run), ...nodeFiles(options, run, dataplane)];
  const client = new ApiClient(apiTarget());
  try {
    items.push(...(await objectFiles(client, dataplane, options.stateDir)));
  } catch (error) {
    missing.push(`objects, events, descriptions: ${(error as Error).message}`);
  } finally {
    client.close();
  }
  let files = 0;
  const queue = [...items];
  const work = async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) {
      onProgress(`${files} of ${items.length} files…`);
      try {
        const content = await item.read();
        const path = join(directory, item.path);
        mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
        writeFileSync(path, content, { mode: 0o600 });
        files++;
      } catch (error) {
        missing.push(`${item.path}: ${(error as Error).message}`);
      }
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, work));
  if (missing.length > 0) writeFileSync(join(directory, 'missing.txt'), `${missing.join('\n')}\n`, { mode: 0o600 });
  return { files, missing: missing.length };
}

function run(program: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = {
      timeout: PROGRAM_MS,
      maxBuffer: MAX_BYTES,
      env: { ...process.env, NO_COLOR: '1', COLUMNS: '160' },
    };
    execFile(program, args, options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else if (error.killed) reject(new Error(`no result within ${PROGRAM_MS / 1000} s`));
      else reject(new Error(stderr.trim().split('\n').at(-1) || error.message));
    });
  });
}
