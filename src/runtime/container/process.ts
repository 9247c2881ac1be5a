/**
 * A container's processes: starting them, recognizing them, reading their exit status. The keeper (a shell) waits for
 * PID 1 of the container and writes its status to a file; see launch-script.ts.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { constants, mkdirSync, openSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { constants as os } from 'node:os';
import { join } from 'node:path';
import {
  isAlive,
  lacksHandler,
  namespaceOf,
  type ProcessMark,
  parseStat,
  processesInNamespace,
  signalProcess,
  waitGone,
} from '../../linux/processes.ts';
import { readIfPresent } from '../../linux/read-file.ts';
import { OCI_LOG, ociFiles, READY } from '../oci/bundle.ts';
import { whyNotStarted } from '../oci/errors.ts';
import { imageLaunchFiles } from './image-launch.ts';
import { firstLine } from './launch.ts';
import { type LaunchPlan, launchFiles, ownMounts, SCRIPT_FILE } from './launch-script.ts';

const START_MS = 20_000;
const KILLED_MS = 10_000;
const EXIT_KILLED = 137;

export interface ContainerProcess {
  keeper: ProcessMark;
  /** The container's first process, by its host pid: PID 1 unless it shares a PID namespace. */
  main: ProcessMark;
  /** Of a container that shares a PID namespace: its mount namespace, by which its processes are recognised. */
  mounts?: string;
}

export interface Exit {
  code: number;
  atMs: number;
}

/** The command could not be started: kubelet's StartError, exit code 128. */
export class StartError extends Error {}

/**
 * Start the plan's command in the namespaces of `pausePid`; `environment` and command are in the plan.
 * @param input descriptor of its standard input; undefined: none
 * @param output descriptor of the log, for stdout and stderr
 * @param onExit called when it has ended, while this process lives
 * @throws StartError with the reason; nothing is left running then
 */
export async function startContainer(
  plan: LaunchPlan,
  pausePid: number,
  input: number | undefined,
  output: number,
  onExit: () => void,
): Promise<ContainerProcess> {
  for (const name of ['keeper', 'pid', 'started', 'error', 'exit']) rmSync(join(plan.directory, name), { force: true });
  mkdirSync(join(plan.directory, 'root'), { recursive: true });
  for (const [name, text] of Object.entries(filesOf(plan))) {
    writeFileSync(join(plan.directory, name), text, { mode: 0o600 }); // The environment may hold secrets.
  }
  const words = ['--target', String(pausePid), '--net', '--uts', '--ipc', '--'];
  words.push(...ownMounts(plan));
  const child: ChildProcess = spawn('nsenter', [...words, 'sh', join(plan.directory, SCRIPT_FILE)], {
    detached: true,
    cwd: '/',
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
    stdio: [input ?? 'ignore', output, output, 'pipe'],
  });
  child.unref();
  child.once('exit', onExit);
  let failure: Error | undefined;
  const ready = plan.root && plan.runtime && openPipe(join(plan.directory, READY));
  await firstLine(child, START_MS, ready).catch((error: Error) => {
    failure = error;
  });
  // A short command may have ended before its message was read here: check the files.
  const found = findContainerProcess(plan.directory);
  if (found !== undefined) return withMounts(found, plan.processesOf !== undefined);
  const marks = [readMark(plan.directory, 'pid'), readMark(plan.directory, 'keeper')].filter((m) => m !== undefined);
  for (const mark of marks) signalProcess(mark, 'SIGKILL');
  if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
  await waitGone(marks, KILLED_MS);
  const complaint =
    read(plan.directory, 'error')?.trim().split('\n').slice(-3).join('; ') ||
    whyNotStarted(read(plan.directory, OCI_LOG) ?? '');
  throw new StartError(complaint || (failure?.message ?? 'it ended at once'));
}

/** What is written to a named pipe. */
function openPipe(path: string): Socket {
  return new Socket({ fd: openSync(path, constants.O_RDWR | constants.O_NONBLOCK), readable: true, writable: false });
}

/** @throws StartError if the image does not have the user */
function filesOf(plan: LaunchPlan): Record<string, string> {
  if (plan.root === undefined) return launchFiles(plan);
  if (plan.runtime === undefined) return imageLaunchFiles(plan);
  try {
    return ociFiles(plan, plan.runtime);
  } catch (error) {
    throw new StartError((error as Error).message);
  }
}

/** The process started from this directory, dead or alive; undefined if the command was never executed. */
export function findContainerProcess(directory: string): ContainerProcess | undefined {
  const keeper = readMark(directory, 'keeper');
  const main = readMark(directory, 'pid');
  return keeper !== undefined && main !== undefined && read(directory, 'started') ? { keeper, main } : undefined;
}

/** The process as it is recorded. @param shares it shares a PID namespace */
export function withMounts(process: ContainerProcess, shares: boolean): ContainerProcess {
  const mounts = shares ? namespaceOf(process.main.pid, 'mnt') : undefined;
  return mounts === undefined ? process : { ...process, mounts };
}

/**
 * Kill what a container has left in a PID namespace that it shares. In one of its own the kernel does that when PID 1
 * ends; runc does the same by the container's cgroup.
 */
export function endRest({ mounts }: ContainerProcess): void {
  if (mounts !== undefined) for (const mark of processesInNamespace(mounts)) signalProcess(mark, 'SIGKILL');
}

/**
 * How it ended; undefined while it runs. A keeper that was killed leaves no status: the remaining processes are killed
 * then.
 */
export function exitOf(directory: string, { keeper, main }: ContainerProcess): Exit | undefined {
  // In this order: the status is written before the keeper ends.
  const keeperAlive = isAlive(keeper);
  const text = read(directory, 'exit');
  if (text?.endsWith('\n')) {
    // A container outlives its OCI runtime if that is killed.
    signalProcess(main, 'SIGKILL');
    return { code: Number.parseInt(text, 10), atMs: statSync(join(directory, 'exit')).mtimeMs };
  }
  if (keeperAlive) return undefined;
  signalProcess(main, 'SIGKILL');
  return { code: EXIT_KILLED, atMs: Date.now() };
}

/**
 * Ask the container to end, then kill it. As PID 1, a command without a handler ignores the signal (pid_namespaces(7));
 * outside a container the signal would have ended it, so it is killed at once instead of after the grace period.
 */
export async function stopContainer(
  { keeper, main, mounts }: ContainerProcess,
  signal: NodeJS.Signals,
  graceMs: number,
): Promise<void> {
  const isFirst = mounts === undefined;
  const deaf = graceMs <= 0 || (isFirst && lacksHandler(main.pid, os.signals[signal]));
  if (!deaf) {
    signalProcess(main, signal);
    if (await waitGone([main], graceMs)) {
      await waitGone([keeper], KILLED_MS);
      return;
    }
  }
  signalProcess(main, 'SIGKILL');
  if (!(await waitGone([main, keeper], KILLED_MS))) throw new Error(`process ${main.pid} does not end`);
}

function readMark(directory: string, name: string): ProcessMark | undefined {
  const line = read(directory, name);
  return line ? parseStat(line) : undefined;
}

const read = (directory: string, name: string): string | undefined => readIfPresent(join(directory, name));
