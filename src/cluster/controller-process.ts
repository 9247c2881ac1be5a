/** The controller's process: starting and supervising it, and waiting until the API responds. */
import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isAlive, type ProcessMark, signalProcess } from '../linux/processes.ts';
import { lastLineOf } from '../linux/read-file.ts';
import { ClusterError } from './errors.ts';
import { API_SOCKET, markOf, readClusterFile, STATE_DIR, writeClusterFile } from './state.ts';
import { CONTROLLER_BUILD } from './upgrade/controller-build.ts';

const LOG = join(STATE_DIR, 'controller.log');
const LOOK_MS = 10;

/** Set in the environment of a controller that has a supervisor. */
const SUPERVISED = 'DATAPLANE_SUPERVISED';
/** How often the controller checks whether its supervisor is still there, milliseconds. */
const SUPERVISOR_LOOK_MS = 500;

/**
 * Restarts a command that fails, is killed or hangs: after 0.1 s, and after a growing delay if it runs for less than ten
 * seconds. It hangs if it is stopped for two seconds, or gives no sign of life for fifteen (linux/life-signs.ts); then it is
 * killed. Ends when the command was stopped, which removes the file of its signs; when its first start fails (there never
 * was a socket); or when the cluster is gone. It is a shell script because that needs a thirtieth of the memory of a Node.js
 * process.
 *
 * $1 is the state directory, $2 the pid of a running controller to begin with, or 0, $3 the program; then node and its options.
 * Another build of the program may be chosen by a file (upgrade/controller-build.ts).
 */
const SUPERVISOR = `
state=$1; child=$2; own=$3; shift 3
choose() {
  main=$own; by=; chosen=; former=
  { read -r by chosen; read -r former; } 2>/dev/null < "$state/${CONTROLLER_BUILD}"
  case $by in
    '') ;;
    0) main=$chosen ;;
    *) if [ -d "/proc/$by" ]; then main=$chosen; else main=\${former:-$own}; fi ;;
  esac
}
watch() {
  stopped=0; silent=0; last=
  while sleep 1; do
    read -r stat 2>/dev/null < "/proc/$1/stat" || return
    case \${stat##*) } in [Tt]*) stopped=$((stopped + 1)) ;; *) stopped=0 ;; esac
    sign=; read -r sign 2>/dev/null < "$state/controller.alive"
    if [ -n "$sign" ] && [ "$sign" = "$last" ]; then silent=$((silent + 1)); else silent=0; fi
    last=$sign
    if [ "$stopped" -ge 2 ] || [ "$silent" -ge 15 ]; then
      echo "the controller no longer responds and is killed"
      kill -KILL "$1"
    fi
  done
}
trap 'trap "" TERM INT; [ "$child" = 0 ] || kill -TERM "$child"; wait "$child"; exit 0' TERM INT
delay=0.1
while [ -e "$state/cluster.json" ]; do
  began=$(date +%s)
  if [ "$child" = 0 ]; then
    choose
    "$@" "$main" controller --state "$state" & child=$!
    watch "$child" & watcher=$!
    wait "$child" && exit 0
    kill "$watcher" 2>/dev/null
  else
    watch "$child"
  fi
  child=0
  [ -e "$state/controller.alive" ] || { [ -S "$state/api.sock" ] && exit 0; exit 1; }
  [ $(($(date +%s) - began)) -lt 10 ] || delay=0.1
  sleep "$delay"
  case $delay in 0.1) delay=0.5 ;; 0.5) delay=2 ;; *) delay=5 ;; esac
done
`;

/**
 * Starts the controller under its supervisor, in a new session, so that both survive this process.
 * @param program the command line of `dataplane`: node, its options, and the program
 * @param running pid of a controller that is already running, whose supervisor has ended
 * @returns the supervisor
 * @throws ClusterError CONTROLLER
 */
export function startController(program: readonly string[], running = 0): ProcessMark {
  const log = openSync(LOG, 'a', 0o600);
  const [main = '', ...node] = [program.at(-1), ...program.slice(0, -1)];
  const child = spawn('sh', ['-c', SUPERVISOR, 'dataplane-supervisor', STATE_DIR, String(running), main, ...node], {
    detached: true,
    stdio: ['ignore', log, log],
    cwd: '/',
    env: { ...process.env, [SUPERVISED]: '1' },
  });
  closeSync(log);
  child.on('error', () => {});
  if (child.pid === undefined) throw new ClusterError('CONTROLLER', 'the controller could not be started');
  child.unref();
  return markOf(child.pid);
}

/**
 * In a controller: start another supervisor if ours has ended. Does nothing in a controller that was started without one.
 * @param program the command line of `dataplane`
 * @returns ends this
 */
export function keepSupervisor(program: readonly string[], log: (line: string) => void): () => void {
  if (process.env[SUPERVISED] === undefined) return () => {};
  const timer = setInterval(() => {
    const cluster = readClusterFile();
    if (cluster?.supervisor === undefined || isAlive(cluster.supervisor)) return;
    const next = startController(program, process.pid);
    try {
      writeClusterFile({ ...cluster, supervisor: next });
    } catch (error) {
      // The next look would start another one beside it.
      signalProcess(next, 'SIGKILL');
      log(`the supervisor has ended, and the next one cannot be recorded yet: ${(error as Error).message}`);
      return;
    }
    log(`the supervisor had ended; ${next.pid} is the new one`);
  }, SUPERVISOR_LOOK_MS).unref();
  return () => clearInterval(timer);
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
    if (!isAlive(supervisor))
      throw new ClusterError('CONTROLLER', `the controller failed to start: ${lastLineOf(LOG)}`);
    if (Date.now() > deadline)
      throw new ClusterError('CONTROLLER', `the controller does not respond: ${lastLineOf(LOG)}`);
    await sleep(LOOK_MS);
  }
}
