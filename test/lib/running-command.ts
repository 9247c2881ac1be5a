/** `dataplane …` that runs beside a test, until it ends by itself or is stopped. */
import { type ChildProcess, spawn } from 'node:child_process';
import { eventually, MAIN, type Ran } from './cluster.ts';

/** Starting Node and opening a node's memory, on a busy machine. */
const START_MS = 30_000;

export class RunningCommand {
  readonly ended: Promise<Ran>;
  stdout = '';
  stderr = '';
  private readonly child: ChildProcess;

  constructor(...args: readonly string[]) {
    const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text: string) => {
        this[name] += text;
      });
    }
    this.child = child;
    this.ended = new Promise((resolve) => {
      child.once('close', (code) => resolve({ status: code ?? 128, stdout: this.stdout, stderr: this.stderr }));
    });
  }

  /** Waits for the line on standard error by which the command reports that it has begun. @throws Error if it ends before */
  async started(line: RegExp): Promise<this> {
    const { child } = this;
    await eventually(async () => line.test(this.stderr) || child.exitCode !== null || undefined, START_MS);
    if (!line.test(this.stderr)) throw new Error(`it ended before ${line}: ${this.stderr}`);
    return this;
  }

  /** Sends the signal, and waits for the end. */
  stop(signal: NodeJS.Signals = 'SIGINT'): Promise<Ran> {
    this.child.kill(signal);
    return this.ended;
  }
}
