/** A controller in a process of its own, as it runs in a cluster, and clients of its API. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ApiClient } from '../../../src/api/client/client.ts';

const MODULE = new URL('../../../src/controllers/controller.js', import.meta.url).href;
const PROGRAM = `import { startController } from ${JSON.stringify(MODULE)};
const controller = await startController({ stateDir: process.argv[1], socketPath: process.argv[1] + '/api.sock',
  insecure: { host: '127.0.0.1', port: 0 }, options: { dns: 'external' }, nodeSilenceMs: 3_600_000 });
process.send(controller.insecurePort);`;

export class MeasuredController {
  readonly directory: string = mkdtempSync(join(tmpdir(), 'dataplane-bench-'));
  readonly socketPath: string = join(this.directory, 'api.sock');
  readonly client: ApiClient = new ApiClient(this.socketPath);
  port = 0;
  private child: ChildProcess | undefined;

  /**
   * Resolves when all controllers have started. @returns the milliseconds until the API answered a request, with Node's own
   * start
   */
  async start(): Promise<number> {
    const begin = performance.now();
    const args = ['--input-type=module', '-e', PROGRAM, this.directory];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    this.child = child;
    const started = new Promise<number>((resolve, reject) => {
      child.once('message', (port) => resolve(port as number));
      child.once('exit', (code) => reject(new Error(`the controller ended with ${code}`)));
    });
    const [port, answeredMs] = await Promise.all([started, this.answered(begin)]);
    this.port = port;
    return answeredMs;
  }

  private async answered(begin: number): Promise<number> {
    while (this.child?.exitCode === null) {
      const answer = await this.get('/api/v1/namespaces/default').catch(() => undefined);
      if (answer !== undefined) break;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    return performance.now() - begin;
  }

  get pid(): number {
    return this.child!.pid!;
  }

  /** End it. SIGKILL: as by a crash. */
  async stop(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const { child } = this;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await ended;
  }

  async close(): Promise<void> {
    this.client.close();
    await this.stop();
    rmSync(this.directory, { recursive: true });
  }

  /** Resident memory in MiB. */
  memory(): number {
    const status = readFileSync(`/proc/${this.child!.pid}/status`, 'latin1');
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
  }

  /** The milliseconds and bytes of a GET, until its last byte. */
  get(path: string): Promise<{ ms: number; bytes: number }> {
    const begin = performance.now();
    return new Promise((resolve, reject) => {
      const sent = request({ socketPath: this.socketPath, path, agent: false }, (response) => {
        let bytes = 0;
        response.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
        });
        response.on('end', () => resolve({ ms: performance.now() - begin, bytes }));
      });
      sent.on('error', reject).end();
    });
  }
}
