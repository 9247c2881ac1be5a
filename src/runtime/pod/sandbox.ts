/**
 * The sandbox of a pod: a named network namespace, and the pause process that holds it together with the pod's UTS and
 * IPC namespaces. It starts before the containers, which join it, and outlives them. With hostNetwork the network
 * namespace is the node's, which is that of this process.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import {
  findProcess,
  isAlive,
  killAll,
  type ProcessMark,
  parseStat,
  sandboxProcesses,
  signalProcess,
} from '../../linux/processes.ts';
import { firstLine } from '../container/launch.ts';
import { fileName, quote } from '../shell.ts';

export interface Sandbox {
  namespace: string;
  name: string;
  uid: string;
  /** `dp-pod-<namespace>-<pod>` */
  netnsName: string;
  netnsPath: string;
  podIP: string;
  pausePid: number;
}

const NETNS_DIR = '/run/netns';
const READY_MS = 10_000;
const GONE_MS = 5_000;
const run = promisify(execFile);

/** @param suffix distinguishes two pods whose joined names are equal (`a-b`/`c` and `a`/`b-c`) */
export function netnsNameOf(namespace: string, pod: string, suffix = ''): string {
  return fileName(`dp-pod-${namespace}-${pod}${suffix}`);
}

export const netnsPathOf = (netnsName: string): string => join(NETNS_DIR, netnsName);

export interface PauseProcess {
  mark: ProcessMark;
  child: ChildProcess;
}

/** Prefix of marker files in a pod's directory; each permits one script to create a sandbox. */
const SETUP_MARKER = 'making-sandbox-';
let setups = 0;

/**
 * Stop every script that is creating a sandbox for this pod, even one that outlived its agent: each script checks its
 * marker after the namespace exists and before pause starts, and undoes its work if the marker is gone.
 */
export function cancelSetups(podDirectory: string): void {
  if (!existsSync(podDirectory)) return;
  for (const name of readdirSync(podDirectory)) if (name.startsWith(SETUP_MARKER)) rmSync(join(podDirectory, name));
}

export interface SandboxSpec {
  hostname: string;
  /** The containers share a PID namespace, whose first process is pause. */
  shareProcesses: boolean;
  /** The IPC namespace is that of this process. */
  hostIpc: boolean;
  stateDir: string;
  podDirectory: string;
}

/**
 * Create the namespaces and start their pause process, after removing any earlier sandbox of this name.
 * @param netnsName undefined: in the network namespace of this process
 * @throws Error with the tools' error messages
 */
export async function startSandbox(netnsName: string | undefined, spec: SandboxSpec): Promise<PauseProcess> {
  const { hostname, shareProcesses, hostIpc, stateDir, podDirectory } = spec;
  cancelSetups(podDirectory);
  if (netnsName !== undefined && existsSync(netnsPathOf(netnsName))) await removeSandbox(netnsName);
  const marker = join(podDirectory, `${SETUP_MARKER}${process.pid}-${++setups}`);
  writeFileSync(marker, '');
  const statFile = join(podDirectory, 'pause');
  // As PID 1 it inherits the children of others, which the kernel reaps if their parent ignores the signal (wait(2)).
  const reaper = shareProcesses ? 'env --ignore-signal=CHLD ' : '';
  const inside = [
    `echo ${quote(hostname)} > /proc/sys/kernel/hostname`,
    ...(netnsName === undefined ? [] : OWN_NETWORK),
    `test -e ${quote(marker)}`,
    `read -r stat < /proc/self/stat; echo "$stat" > ${quote(statFile)}`,
    'echo ok >&3',
    `exec ${reaper}${quote(pauseProgram(stateDir))} infinity 2>/dev/null 3>&-`,
  ];
  const own = ['--uts', ...(hostIpc ? [] : ['--ipc']), ...(shareProcesses ? ['--pid', '--fork'] : [])].join(' ');
  const enter = netnsName === undefined ? '' : `nsenter --net=${quote(netnsPathOf(netnsName))} -- `;
  const outside = [
    ...(netnsName === undefined ? [] : makeNetwork(netnsName, marker)),
    `exec ${enter}unshare ${own} -- sh -ec ${quote(inside.join('\n'))}`,
  ];
  const child = spawn('sh', ['-ec', outside.join('\n')], {
    detached: true,
    cwd: '/',
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
  });
  child.unref();
  try {
    await firstLine(child, READY_MS);
    const mark = parseStat(readFileSync(statFile, 'latin1'));
    if (!isAlive(mark) || mark === undefined) throw new Error('the pause process ended at once');
    return { mark, child };
  } catch (error) {
    if (child.pid !== undefined) signalProcess(findProcess(child.pid), 'SIGKILL');
    if (netnsName !== undefined) await removeSandbox(netnsName);
    throw error;
  } finally {
    child.stderr?.destroy();
    rmSync(marker, { force: true });
  }
}

const OWN_NETWORK = [
  // As containerd does: low ports and ping need no privilege inside a pod.
  'echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start',
  "echo '0 2147483647' > /proc/sys/net/ipv4/ping_group_range",
  'ip link set lo up',
];

const makeNetwork = (netnsName: string, marker: string): string[] => [
  `ip netns add ${quote(netnsName)}`,
  `test -e ${quote(marker)} || { ip netns delete ${quote(netnsName)}; exit 1; }`,
];

/** End the pause process of a pod with hostNetwork; its containers have been ended by their own records. */
export async function endPause(pause: ProcessMark | undefined): Promise<void> {
  await killAll([pause], GONE_MS);
}

/** Kill everything in the sandbox and delete its namespace. @throws Error if a process does not end */
export async function removeSandbox(netnsName: string, pause?: ProcessMark): Promise<void> {
  const path = netnsPathOf(netnsName);
  if (isAlive(pause)) signalProcess(pause, 'SIGKILL');
  // Twice: a launch in progress may fork in between.
  for (let round = 0; round < 2; round++) {
    const marks = sandboxProcesses(path);
    if (marks.length === 0) break;
    await killAll(marks, GONE_MS);
  }
  if (existsSync(path)) await run('ip', ['netns', 'delete', netnsName]);
}

/**
 * coreutils' sleep under the name pause, so that `ps` shows the difference; under its own name on systems where one
 * binary provides all commands.
 */
function pauseProgram(stateDir: string): string {
  const sleep = ['/usr/bin/sleep', '/bin/sleep'].find(existsSync) ?? 'sleep';
  if (sleep === 'sleep' || basename(realpathSync(sleep)) !== 'sleep') return sleep;
  const path = join(stateDir, 'pause');
  if (!existsSync(path)) {
    mkdirSync(stateDir, { recursive: true });
    try {
      symlinkSync(sleep, path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error; // Another agent has just created it.
    }
  }
  return path;
}
