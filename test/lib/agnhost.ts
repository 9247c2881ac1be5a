/** The program agnhost in a process of its own, as compiled. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { eventually, type Ran, run } from './cluster.ts';

const PROGRAM = fileURLToPath(new URL('../../src/agnhost/main.js', import.meta.url));
const running = new Set<ChildProcess>();

export const agnhost = (...args: string[]): Promise<Ran> => run([process.execPath, PROGRAM, ...args]);

/** A port that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

export interface Started {
  readonly child: ChildProcess;
  /** What it has logged so far. */
  log(): string;
  readonly ended: Promise<number | null>;
}

/** Starts it and leaves it running until `stopAll`. */
export function startAgnhost(args: readonly string[], env: NodeJS.ProcessEnv = {}): Started {
  const child = spawn(process.execPath, [PROGRAM, ...args], { env: { ...process.env, ...env }, stdio: 'pipe' });
  running.add(child);
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
  }
  const ended = new Promise<number | null>((resolve) => {
    child.once('exit', (code) => {
      running.delete(child);
      resolve(code);
    });
  });
  return { child, log: () => text, ended };
}

/** The status and text of a page, once it can be fetched. */
export const page = (url: string, init?: RequestInit): Promise<{ status: number; text: string }> =>
  eventually(async () => {
    const response = await fetch(url, init);
    return { status: response.status, text: await response.text() };
  });

export function stopAll(): void {
  for (const child of running) child.kill('SIGKILL');
}
