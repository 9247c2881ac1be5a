/** The controller's process: starting and supervising it, and waiting until the API responds. */
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
 * Restarts a command that fails or is killed: after 0.1 s, and after a growing delay if it runs for less than ten
 * seconds. Ends when the command exits with status 0 (it was stopped), when its first start fails (there never was a
 * socket), or when the cluster is gone. It is a shell script because that needs a thirtieth of the memory of a Node.js
 * process.
 *
 * $1 is the state directory; the other arguments are the command.
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
 * Starts the controller under its supervisor, in a new session, so that both survive this process.
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

/** @throws ClusterError CONTROLLER with the last line of its log if it has ended or does not respond */
export async function waitForApi(supervisor: ProcessMark, deadline: number, signal: AbortSignal): Promise<void> {
  for (;;) {
    signal.throwIfAborted();
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(API_SOCKET, () => resolve(true));
      socket.on('error', () => resolve(false));
      socket.on('connect', () => socket.destroy());
    });
    if (open) return;
    if (!isAlive(supervisor)) throw new ClusterError('CONTROLLER', `the controller failed to start: ${lastLogLine()}`);
    if (Date.now() > deadline)
      throw new ClusterError('CONTROLLER', `the controller does not respond: ${lastLogLine()}`);
    await sleep(LOOK_MS);
  }
}

const lastLogLine = (): string => readFileSync(LOG, 'utf8').trim().split('\n').at(-1) || 'its log is empty';
