/**
 * Runs test files: those of clusters each in a process and in namespaces of its own (in-namespaces.ts), the others one after
 * the other in a process that is kept (in-one-process.ts), because starting Node and loading the sources takes longer than
 * most of them.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';

/** What uvu counted in a file, or in all. */
export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

export interface FileRun extends Counts {
  readonly file: string;
  readonly output: string;
  /** Why it ended early, if it did. */
  readonly why?: string;
  readonly tookMs: number;
  /** Of the file's process and of all that it started, as far as they have ended. */
  readonly processorMs: number;
}

/** The directories of the project, of the compiled tests, and of their sources. */
export interface Places {
  readonly root: string;
  readonly built: string;
  readonly source: string;
}

/** What is printed after each file. */
export const endOfFile = (status: number, processorMs: number): string =>
  `\nend of the file: status ${status}, ${Math.round(processorMs)} ms of processor\n`;
const END = /\nend of the file: status (\d+), (\d+) ms of processor\n/;

/** Of the weight of a process beside others: it runs in what time they leave, and gets a third of a processor at least. */
const LOW_PRIORITY = 5;

const running = new Set<TestProcess>();

/** Ends the processes of all files. */
export function endAll(): void {
  for (const one of running) one.kill();
}

/** A process that runs one file, or one after the other. */
export class TestProcess {
  private readonly child: ChildProcess;
  private readonly kept: boolean;
  private output = '';
  private progress = (): void => {};
  private ended: { code: number; signal: NodeJS.Signals | null } | undefined;

  private constructor([program, ...args]: readonly [string, ...string[]], cwd: string, kept: boolean) {
    this.kept = kept;
    // A group of its own, so that all it started can be ended with it.
    this.child = spawn(program, args, {
      cwd,
      detached: true,
      stdio: [kept ? 'pipe' : 'ignore', 'pipe', 'pipe'],
      env: { ...process.env, FORCE_COLOR: '0', NO_COLOR: '1' },
    });
    running.add(this);
    for (const stream of [this.child.stdout!, this.child.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.output += text;
        this.progress();
      });
    }
    this.child.stdin?.on('error', () => {});
    // 'exit', not 'close': a process left behind may hold the pipes open.
    this.child.once('exit', (code, signal) => {
      this.ended = { code: code ?? 1, signal };
      setTimeout(() => {
        running.delete(this);
        this.child.stdout!.destroy();
        this.child.stderr!.destroy();
        this.progress();
      }, 20);
    });
  }

  /** For one file of clusters. */
  static inNamespaces({ root, built, source }: Places, file: string): TestProcess {
    const program = join(source, 'lib/private-namespaces.sh');
    const runner = join(built, 'lib/test-run/in-namespaces.js');
    return new TestProcess([program, process.execPath, '--enable-source-maps', runner, join(built, file)], root, false);
  }

  /** For any number of other files. */
  static forMany({ root, built }: Places): TestProcess {
    return new TestProcess(
      [process.execPath, '--enable-source-maps', join(built, 'lib/test-run/in-one-process.js')],
      root,
      true,
    );
  }

  get isAlive(): boolean {
    return running.has(this) && this.ended === undefined;
  }

  /** Lets the other processes go first. */
  lowerPriority(): this {
    try {
      setPriority(this.child.pid!, LOW_PRIORITY);
      // The scheduler compares groups of processes, of which this one is one (sched(7), "The autogroup feature").
      writeFileSync(`/proc/${this.child.pid}/autogroup`, `${LOW_PRIORITY}`);
    } catch {
      // It has ended, or there are no such groups here.
    }
    return this;
  }

  /** Runs the file to its end, or until its time is over. */
  async run({ built }: Places, file: string, timeoutMs: number): Promise<FileRun> {
    const started = performance.now();
    this.output = '';
    if (this.kept) this.child.stdin!.write(`${join(built, file)}\n`);
    let late = false;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        late = true;
        this.kill();
      }, timeoutMs);
      this.progress = () => {
        if (running.has(this) && !(this.kept && END.test(this.output))) return;
        clearTimeout(timer);
        resolve();
      };
    });
    // What else has arrived in the other of the two pipes.
    await setImmediate();
    const end = END.exec(this.output);
    const signal = this.ended?.signal ?? undefined;
    const why = late
      ? `not done after ${timeoutMs / 1000} s`
      : signal !== undefined
        ? `killed by ${signal}`
        : undefined;
    const status = this.ended?.code || Number(end?.[1] ?? 1);
    return {
      file,
      output: this.output.replace(END, ''),
      tookMs: Math.round(performance.now() - started),
      processorMs: Number(end?.[2] ?? 0),
      ...(why === undefined ? {} : { why }),
      ...countTests(this.output, status !== 0 || why !== undefined),
    };
  }

  /** Waits for the end of a process without further files. @returns what keeps it from ending */
  async close(): Promise<string | undefined> {
    if (!this.isAlive) return undefined;
    this.output = '';
    this.child.stdin!.end();
    const timer = setTimeout(() => this.kill(), 10_000);
    await once(this.child, 'exit');
    clearTimeout(timer);
    return this.ended?.code === 0 ? undefined : this.output.trim();
  }

  kill(): void {
    try {
      process.kill(-this.child.pid!, 'SIGKILL');
    } catch {
      // It ended meanwhile.
    }
  }
}

/** Adds up what uvu printed of each suite in the file. */
function countTests(output: string, broken: boolean): Counts {
  const sum = (word: string) =>
    [...output.matchAll(new RegExp(`^\\s*${word}:\\s+(\\d+)`, 'gm'))].reduce((n, match) => n + Number(match[1]), 0);
  const [all, passed, skipped] = [sum('Total'), sum('Passed'), sum('Skipped')];
  // uvu does not count skipped tests among all.
  let failed = Math.max(0, all - passed);
  // Crashed, hung, or printed no result: something failed even when no test did.
  if (failed === 0 && (broken || all + skipped === 0)) failed = 1;
  return { passed, failed, skipped };
}
