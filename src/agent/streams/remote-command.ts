/** Runs a command in a container for a remote client: pipes or a terminal, its size, and the exit status. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, fchownSync } from 'node:fs';
import { constants } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import { ReadStream } from 'node:tty';
import { openTerminal, setTerminalSize } from '../../linux/terminal.ts';
import type { ContainerCommand } from '../../runtime/container/exec.ts';
import type { CommandChannels, Outcome } from './command-channels.ts';

/** After a command has ended, how long to wait for output that its children still hold open. */
const DRAIN_MS = 1000;
/** If its client disconnects, a command gets SIGHUP, and this long to exit. */
const HANG_UP_MS = 2000;

/** Resolves when the outcome has been sent to the client. */
export async function runRemoteCommand(line: ContainerCommand, channels: CommandChannels, tty: boolean): Promise<void> {
  let outcome: Outcome;
  try {
    outcome = await (tty ? runInTerminal(line, channels) : runWithPipes(line, channels));
  } catch (error) {
    outcome = { failure: (error as Error).message };
  }
  await channels.finish(outcome);
}

async function runWithPipes(line: ContainerCommand, channels: CommandChannels): Promise<Outcome> {
  const { stdin, stdout, stderr } = channels;
  const wire = (channel: Readable | Writable | undefined) => (channel === undefined ? 'ignore' : 'pipe');
  // A process group of its own: `nsenter` forks, and all processes have to end when the client disconnects.
  const child = spawn(line.file, line.args, { detached: true, stdio: [wire(stdin), wire(stdout), wire(stderr)] });
  if (stdin !== undefined && child.stdin) {
    child.stdin.on('error', () => stdin.resume()); // It has stopped reading: discard the rest.
    stdin.pipe(child.stdin);
  }
  const outputs = [copy(child.stdout, stdout), copy(child.stderr, stderr)];
  return followed(child, channels, outputs);
}

async function runInTerminal(line: ContainerCommand, channels: CommandChannels): Promise<Outcome> {
  const { stdin, stdout } = channels;
  // The container's own devpts, so that the command finds its terminal under /dev/pts.
  const { master, slave } = openTerminal(`/proc/${line.mainPid}/root/dev/pts`);
  let child: ChildProcess;
  try {
    fchownSync(slave, line.uid, -1);
    const args = ['--ctty', '--wait', line.file, ...line.args];
    child = spawn('setsid', args, { stdio: [slave, slave, slave] });
  } finally {
    closeSync(slave);
  }
  channels.onResize(({ columns, rows }) => setTerminalSize(master, columns, rows));
  const terminal = new ReadStream(master);
  // EIO: no process has the other side open any more.
  terminal.on('error', () => terminal.destroy());
  stdin?.on('data', (chunk: Buffer) => {
    if (!terminal.destroyed && !terminal.write(chunk)) {
      stdin.pause();
      terminal.once('drain', () => stdin.resume());
    }
  });
  const output = copy(terminal, stdout);
  try {
    return await followed(child, channels, [output]);
  } finally {
    terminal.destroy();
  }
}

/** Copies until the source ends or breaks; never rejects. */
function copy(source: Readable | null, target: Writable | undefined): Promise<void> {
  if (source === null) return Promise.resolve();
  return new Promise((resolve) => {
    for (const event of ['end', 'close', 'error'] as const) source.once(event, () => resolve());
    if (target === undefined) source.resume();
    else {
      target.on('error', () => source.resume());
      source.pipe(target, { end: false });
    }
  });
}

function followed(child: ChildProcess, { gone }: CommandChannels, outputs: Promise<void>[]): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    let kill: NodeJS.Timeout | undefined;
    const hangUp = () => {
      signalGroup(child, 'SIGHUP');
      kill = setTimeout(() => signalGroup(child, 'SIGKILL'), HANG_UP_MS);
    };
    if (gone.aborted) hangUp();
    else gone.addEventListener('abort', hangUp, { once: true });
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      clearTimeout(kill);
      gone.removeEventListener('abort', hangUp);
      const exitCode = code ?? 128 + (signal === null ? 0 : constants.signals[signal]);
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((stop) => {
        timer = setTimeout(stop, DRAIN_MS);
      });
      void Promise.race([Promise.all(outputs), late]).then(() => {
        clearTimeout(timer);
        resolve({ exitCode });
      });
    });
  });
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    process.kill(-child.pid!, signal);
  } catch {
    child.kill(signal);
  }
}
