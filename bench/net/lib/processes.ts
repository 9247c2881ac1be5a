/**
 * Runs other programs: to their end, for a while, or until the benchmark ends; and guarantees that nothing is left
 * behind.
 *
 * Whatever a benchmark creates (processes, namespaces, directories) registers its removal. `cleanUp()` runs these
 * newest first; it also runs on SIGINT, SIGTERM and on an exception, so an interrupted run leaves the machine as it
 * was.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { Readable } from 'node:stream';

const undo: { name: string; run: () => void }[] = [];
const children = new Set<ChildProcess>();

/** A program that failed, with its output. */
class CommandError extends Error {
  readonly output: string;
  constructor(words: readonly string[], output: string) {
    super(`${words.join(' ').slice(0, 300)}: ${output.trim().slice(0, 2000) || 'failed'}`);
    this.output = output;
  }
}

export interface Finished {
  stdout: string;
  stderr: string;
  /** Exit status; null if a signal ended it (sent after the time limit). */
  status: number | null;
  milliseconds: number;
}

/**
 * Registers `run` to be called at the end, before everything registered earlier. Returns a function that calls it now.
 */
export function onCleanUp(name: string, run: () => void): () => void {
  const entry = { name, run };
  undo.push(entry);
  return () => {
    const at = undo.indexOf(entry);
    if (at < 0) return;
    undo.splice(at, 1);
    run();
  };
}

/** Stops every child and runs every registered removal. Never throws: failures are reported on stderr. */
function cleanUp(): void {
  for (const child of children) child.kill('SIGKILL');
  children.clear();
  while (undo.length > 0) {
    const entry = undo.pop()!;
    try {
      entry.run();
    } catch (error) {
      process.stderr.write(`could not clean up ${entry.name}: ${(error as Error).message}\n`);
    }
  }
}

/** Runs `main` as a script: cleans up however it ends, and prints one line to stderr if it fails. */
export async function runScript(main: () => Promise<void>): Promise<void> {
  const interrupted = (signal: NodeJS.Signals) => {
    process.stderr.write(`\n${signal}: cleaning up\n`);
    cleanUp();
    process.exit(signal === 'SIGINT' ? 130 : 143);
  };
  process.on('SIGINT', interrupted);
  process.on('SIGTERM', interrupted);
  try {
    await main();
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    process.exitCode ||= 1;
  } finally {
    cleanUp();
  }
}

/** Runs a short command and returns its output. @throws {CommandError} if it fails */
export function run(words: readonly string[], input?: string, timeoutMs = 60_000): string {
  const [program, ...args] = words;
  try {
    return execFileSync(program!, args, {
      input,
      encoding: 'utf8',
      timeout: timeoutMs,
      maxBuffer: 1 << 28,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
  } catch (error) {
    const { stderr, message } = error as { stderr?: string; message: string };
    throw new CommandError(words, stderr || message);
  }
}

/** Starts a program in the background. If `ready` is given, waits until the output matches it, at most 15 s. */
export async function background(words: readonly string[], ready?: RegExp): Promise<ChildProcess> {
  const [program, ...args] = words;
  const child = spawn(program!, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  children.add(child);
  let said = '';
  await new Promise<void>((resolve, reject) => {
    const late = setTimeout(() => reject(new CommandError(words, `not ready after 15 s: ${said}`)), 15_000);
    const done = () => {
      clearTimeout(late);
      resolve();
    };
    const listen = (chunk: Buffer) => {
      if (said.length < 10_000) said += chunk.toString();
      if (ready?.test(said)) done();
    };
    child.stdout!.on('data', listen);
    child.stderr!.on('data', listen);
    child.on('error', (error) => {
      clearTimeout(late);
      reject(new CommandError(words, error.message));
    });
    child.on('exit', () => {
      children.delete(child);
      clearTimeout(late);
      reject(new CommandError(words, `ended at once: ${said}`));
    });
    if (!ready) done();
  });
  return child;
}

/** Ends a child that `background` or `finish` started, and waits until it is gone. */
export async function end(child: ChildProcess | undefined, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  await new Promise<void>((resolve) => {
    const force = setTimeout(() => child.kill('SIGKILL'), 3000);
    child.once('exit', () => {
      clearTimeout(force);
      resolve();
    });
    child.kill(signal);
  });
}

/**
 * Runs a program to its end without blocking, for at most `timeoutMs`. A failure is in the result, not an exception.
 */
export function finish(
  words: readonly string[],
  timeoutMs: number,
  input?: string | Iterable<string>,
): Promise<Finished> {
  const [program, ...args] = words;
  const begin = performance.now();
  const child = spawn(program!, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  children.add(child);
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
  child.stdin.on('error', () => {});
  if (input === undefined || typeof input === 'string') child.stdin.end(input);
  else Readable.from(input).pipe(child.stdin);
  return new Promise((resolve) => {
    const late = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    const settle = (status: number | null, extra: string) => {
      clearTimeout(late);
      children.delete(child);
      const stderr = Buffer.concat(err).toString() + extra;
      resolve({ stdout: Buffer.concat(out).toString(), stderr, status, milliseconds: performance.now() - begin });
    };
    child.on('error', (error) => settle(127, error.message));
    child.on('close', (status) => settle(status, status === null ? `no end within ${timeoutMs / 1000} s` : ''));
  });
}

export function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
