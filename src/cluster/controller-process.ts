/** The controller as a process of its own: starting it, waiting until it answers, and why it did not. */
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isAlive, type ProcessMark } from '../linux/processes.ts';
import { ClusterError } from './errors.ts';
import { API_SOCKET, markOf, STATE_DIR } from './state.ts';

const LOG = join(STATE_DIR, 'controller.log');
const LOOK_MS = 10;

/**
 * Starts the controller in a session of its own; it outlives this process.
 * @param program the command line of `dataplane`
 * @throws ClusterError CONTROLLER
 */
export function startController(program: readonly string[]): ProcessMark {
  const [file, ...args] = program;
  const log = openSync(LOG, 'a', 0o600);
  const command = [...args, 'controller', '--state', STATE_DIR];
  const child = spawn(file!, command, { detached: true, stdio: ['ignore', log, log], cwd: '/' });
  closeSync(log);
  child.on('error', () => {});
  if (child.pid === undefined) throw new ClusterError('CONTROLLER', 'the controller could not be started');
  child.unref();
  return markOf(child.pid);
}

/** @throws ClusterError CONTROLLER with the last line of its log when it ended or does not answer */
export async function waitForApi(controller: ProcessMark, deadline: number, signal: AbortSignal): Promise<void> {
  for (;;) {
    signal.throwIfAborted();
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(API_SOCKET, () => resolve(true));
      socket.on('error', () => resolve(false));
      socket.on('connect', () => socket.destroy());
    });
    if (open) return;
    if (!isAlive(controller)) throw new ClusterError('CONTROLLER', `the controller ended at once: ${lastLogLine()}`);
    if (Date.now() > deadline) throw new ClusterError('CONTROLLER', `the controller does not answer: ${lastLogLine()}`);
    await sleep(LOOK_MS);
  }
}

const lastLogLine = (): string => readFileSync(LOG, 'utf8').trim().split('\n').at(-1) || 'its log is empty';
