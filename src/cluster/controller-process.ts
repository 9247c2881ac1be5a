/** The controller as a process of its own: starting and supervising it, waiting until it answers, and why it did not. */
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
 * Starts a command again when it ends by a failure or a signal: after 0.1 s, later each time if it does not last ten
 * seconds. Ends when the command ends with status 0 (it was asked to), when its first start fails (no socket was ever
 * made), or when the cluster is gone. A shell: it needs a thirtieth of the memory of another Node.js.
 *
 * $1 is the state directory, what follows is the command.
 */
const SUPERVISOR = `
state=$1; shift
child=
trap 'trap "" TERM INT; [ -z "$child" ] || kill -TERM "$child"; wait; exit 0' TERM INT
delay=0.1
while [ -e "$state/cluster.json" ]; do
  began=$(date +%s)
  "$@" & child=$!
  wait "$child" && exit 0
  [ -S "$state/api.sock" ] || exit 1
  [ $(($(date +%s) - began)) -lt 10 ] || delay=0.1
  sleep "$delay"
  case $delay in 0.1) delay=0.5 ;; 0.5) delay=2 ;; *) delay=5 ;; esac
done
`;

/**
 * Starts the controller under its supervisor, in a session of their own; they outlive this process.
 * @param program the command line of `dataplane`
 * @returns the supervisor
 * @throws ClusterError CONTROLLER
 */
export function startController(program: readonly string[]): ProcessMark {
  const log = openSync(LOG, 'a', 0o600);
  const command = ['-c', SUPERVISOR, 'dataplane-supervisor', STATE_DIR, ...program, 'controller', '--state', STATE_DIR];
  const child = spawn('sh', command, { detached: true, stdio: ['ignore', log, log], cwd: '/' });
  closeSync(log);
  child.on('error', () => {});
  if (child.pid === undefined) throw new ClusterError('CONTROLLER', 'the controller could not be started');
  child.unref();
  return markOf(child.pid);
}

/** @throws ClusterError CONTROLLER with the last line of its log when it ended or does not answer */
export async function waitForApi(supervisor: ProcessMark, deadline: number, signal: AbortSignal): Promise<void> {
  for (;;) {
    signal.throwIfAborted();
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(API_SOCKET, () => resolve(true));
      socket.on('error', () => resolve(false));
      socket.on('connect', () => socket.destroy());
    });
    if (open) return;
    if (!isAlive(supervisor)) throw new ClusterError('CONTROLLER', `the controller ended at once: ${lastLogLine()}`);
    if (Date.now() > deadline) throw new ClusterError('CONTROLLER', `the controller does not answer: ${lastLogLine()}`);
    await sleep(LOOK_MS);
  }
}

const lastLogLine = (): string => readFileSync(LOG, 'utf8').trim().split('\n').at(-1) || 'its log is empty';
