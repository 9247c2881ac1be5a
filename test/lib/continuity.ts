/** Starts the two programs that watch whether a path goes on (continuity-client.ts, continuity-server.ts), inside namespaces. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ROOT } from './cluster.ts';
import type { Continuity } from './continuity-client.ts';

const DESCRIPTORS = 20_000;

function start(netns: string, program: string, ...args: string[]): ChildProcess {
  const own = ['sh', '-c', `ulimit -n ${DESCRIPTORS}; exec "$@"`, 'sh', process.execPath];
  const path = join(ROOT, 'dist/test/lib', program);
  return spawn('ip', ['netns', 'exec', netns, ...own, path, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
}

/** The server's program, for pods that run it themselves. */
export const CONTINUITY_SERVER = [process.execPath, join(ROOT, 'dist/test/lib/continuity-server.js')];

/** A client in one namespace and a server in another. */
export class ContinuityWatch {
  private readonly server: ChildProcess | undefined;
  private readonly client: ChildProcess;
  private readonly lines: AsyncIterator<string>;

  /**
   * @param to undefined if the server runs already
   * @param host the server's address, as the client connects to it
   * @param ports of TCP and UDP, if not the server's own
   */
  constructor(from: string, to: string | undefined, host: string, connections: number, ports: readonly number[] = []) {
    this.server = to === undefined ? undefined : start(to, 'continuity-server.js');
    this.client = start(from, 'continuity-client.js', host, ...[connections, ...ports].map(String));
    this.lines = createInterface(this.client.stdout!)[Symbol.asyncIterator]();
  }

  /** Resolves when all connections are established. */
  async ready(): Promise<void> {
    await this.line();
  }

  /** What has happened since the last call. With `check`, every connection is used first. */
  async report(what: 'report' | 'check' = 'report'): Promise<Continuity> {
    this.client.stdin!.write(`${what}\n`);
    return JSON.parse(await this.line()) as Continuity;
  }

  end(): void {
    this.client.kill('SIGKILL');
    this.server?.kill('SIGKILL');
  }

  private async line(): Promise<string> {
    const { value, done } = await this.lines.next();
    if (done) throw new Error('the client has ended');
    return value;
  }
}
