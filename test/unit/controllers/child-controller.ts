/** A controller in a process of its own, which a test can kill and measure; and the full form of tests under load. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** `API_LOAD_FULL=1`: as many writes and kills as the figures in bench/README.md state, which takes minutes. */
export const FULL: boolean = process.env.API_LOAD_FULL === '1';

const MODULE = new URL('../../../src/controllers/controller.js', import.meta.url).href;
const PROGRAM = `import { startController } from ${JSON.stringify(MODULE)};
await startController({ stateDir: process.argv[1], socketPath: process.argv[1] + '/api.sock', options: { dns: 'external' } });
process.send('up');`;

/** Resolves when its API is served at `<directory>/api.sock`. */
export function startChild(directory: string): Promise<ChildProcess> {
  const args = ['--input-type=module', '-e', PROGRAM, directory];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  return new Promise((resolve, reject) => {
    child.once('message', () => resolve(child));
    child.once('exit', (code) => reject(new Error(`the controller ended with ${code}`)));
  });
}

/** Resident memory in MiB. */
export function memoryOf(child: ChildProcess): number {
  const status = readFileSync(`/proc/${child.pid}/status`, 'latin1');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
}
