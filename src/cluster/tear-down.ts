/**
 * Removes a cluster: for `down`, after a failed `up`, after any crash. It uses the kernel's state (namespaces, mounts,
 * the processes in each namespace), so it works without the state directory too. Idempotent.
 */
import { readdirSync, readFileSync, readlinkSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { runIpBatch } from '../linux/ip-command.ts';
import { commandLine, killAll, type ProcessMark, statFields } from '../linux/processes.ts';
import { listShared, unlinkShared } from '../linux/shm-files.ts';
import { SHM_PREFIX } from '../shm-names.ts';
import { findStandby } from '../standby/find.ts';
import { ClusterError } from './errors.ts';
import { markOf, readClusterFile, STATE_DIR } from './state.ts';
import { wayOutMark } from './ways-out/way-out.ts';

const NETNS_DIR = '/run/netns';
const NETNS_PREFIX = 'dp-';
/** How long to wait for processes to end after SIGKILL. */
const GONE_MS = 3000;

export interface TearDownReport {
  controller: boolean;
  agents: number;
  pods: number;
  /** Other processes that were in the cluster's namespaces. */
  strays: number;
  namespaces: number;
  sharedMemory: number;
  stateDirectory: boolean;
}

/**
 * Removes everything. @throws ClusterError TEAR_DOWN that names what could not be removed, after removing everything
 * else
 */
export async function tearDown(): Promise<TearDownReport> {
  const problems: string[] = [];
  const attempt = async <T>(what: string, otherwise: T, work: () => T | Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      problems.push(`${what}: ${(error as Error).message.split('\n')[0]}`);
      return otherwise;
    }
  };
  // The controller first: it would restart the agents. SIGKILL: the state that a clean shutdown would save is removed
  // anyway.
  const controller = await attempt('controller', false, () => killAll(controllers(), GONE_MS).then((n) => n > 0));
  await attempt('egress', 0, () => killAll([wayOutMark()], GONE_MS));
  const agents = await attempt('agents', 0, () => killAll(agentMarks(), GONE_MS));
  // After the agents, which would start them again.
  await attempt('standbys', 0, () => killAll(standbyMarks(), GONE_MS));
  // Read before the pods' namespaces are unmounted: a user's process keeps its namespace alive even without a name.
  const ours = namespaceNumbers();
  const pods = namespaces().filter((name) => name.startsWith('dp-pod-')).length;
  await attempt('pods', undefined, cleanUpPods);
  const strays = await attempt('processes', 0, () => killAll(insiders(ours), GONE_MS));
  const names = namespaces();
  await attempt('namespaces', undefined, () => removeNamespaces(names));
  const sharedMemory = await attempt('shared memory', 0, removeSharedMemory);
  const stateDirectory = await attempt('state', false, removeState);
  const left = namespaces();
  if (left.length > 0) problems.push(`namespaces ${left.join(', ')} could not be removed`);
  if (problems.length > 0) throw new ClusterError('TEAR_DOWN', problems.join('; '));
  return { controller, agents, pods, strays, namespaces: names.length, sharedMemory, stateDirectory };
}

/** Does any part of a cluster exist? */
export function anythingThere(): boolean {
  return namespaces().length > 0 || readClusterFile() !== undefined;
}

/**
 * The recorded controller, its supervisor, and any other controller that uses this state directory (not one of the same
 * path in a container).
 */
function controllers(): ProcessMark[] {
  const { controller, supervisor } = readClusterFile() ?? {};
  const marks = [supervisor, controller].filter((mark) => mark !== undefined);
  const own = namespaceOf('self', 'mnt');
  for (const pid of pids()) {
    const args = commandLine(pid);
    const at = args.indexOf('controller');
    if (at < 1 || !args[at - 1]!.endsWith('/cli/main.js') || !args.includes(STATE_DIR)) continue;
    if (namespaceOf(pid, 'mnt') !== own) continue;
    if (!marks.some((mark) => mark.pid === pid)) marks.push(markOf(pid));
  }
  return marks;
}

/** `net:[4026531840]`; undefined when the process is gone. */
function namespaceOf(pid: number | 'self', kind: 'net' | 'mnt'): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/${kind}`);
  } catch {
    return undefined;
  }
}

function agentMarks(): ProcessMark[] {
  const directory = join(STATE_DIR, 'nodes');
  return entries(directory).flatMap((node) => {
    try {
      return [JSON.parse(readFileSync(join(directory, node, 'agent.json'), 'utf8')) as ProcessMark];
    } catch {
      return [];
    }
  });
}

/** The processes that forward while a node has no agent. */
function standbyMarks(): ProcessMark[] {
  const directory = join(STATE_DIR, 'nodes');
  return entries(directory).flatMap((node) => findStandby(join(directory, node)) ?? []);
}

/** Containers and their sandboxes, by the runtime's own clean-up. */
async function cleanUpPods(): Promise<void> {
  if (entries(STATE_DIR).length === 0) return;
  const { cleanupAll } = await import('../runtime/cleanup.ts');
  await cleanupAll(STATE_DIR);
}

/** The cluster's network namespaces, in the form of namespaceOf(). */
function namespaceNumbers(): Set<string> {
  const ours = new Set<string>();
  for (const name of namespaces()) {
    try {
      ours.add(`net:[${statSync(join(NETNS_DIR, name)).ino}]`);
    } catch {
      // It was removed meanwhile.
    }
  }
  return ours;
}

/** Every process in one of these network namespaces, except this process and its ancestors. */
function insiders(ours: ReadonlySet<string>): ProcessMark[] {
  if (ours.size === 0) return [];
  const spared = ancestors();
  return pids().flatMap((pid) => {
    const netns = spared.has(pid) ? undefined : namespaceOf(pid, 'net');
    return netns !== undefined && ours.has(netns) ? [markOf(pid)] : [];
  });
}

function ancestors(): Set<number> {
  const found = new Set<number>();
  let pid = process.pid;
  while (pid > 1 && !found.has(pid)) {
    found.add(pid);
    try {
      pid = Number(statFields(readFileSync(`/proc/${pid}/stat`, 'latin1'))[1]);
    } catch {
      break;
    }
  }
  return found;
}

async function removeNamespaces(names: readonly string[]): Promise<void> {
  if (names.length === 0) return;
  // -force: continue after a failure; the caller lists the namespaces that remain.
  await runIpBatch(
    [],
    names.map((name) => `netns delete ${name}`),
    true,
  );
}

function removeSharedMemory(): number {
  const names = listShared(SHM_PREFIX);
  for (const name of names) unlinkShared(name);
  return names.length;
}

async function removeState(): Promise<boolean> {
  try {
    statSync(STATE_DIR);
  } catch {
    return false;
  }
  // Never descend into a mount: that would delete the contents of hostPath volumes.
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((path) => path.startsWith(`${STATE_DIR}/`));
  if (mounts.length > 0) {
    const { execFileSync } = await import('node:child_process');
    execFileSync('umount', ['-l', ...mounts.reverse().map(unescapeMount)], { stdio: 'pipe' });
  }
  for (const name of readdirSync(STATE_DIR)) rmSync(join(STATE_DIR, name), { recursive: true, force: true });
  try {
    rmdirSync(STATE_DIR);
  } catch (error) {
    // The operator has mounted a file system there, for instance one of limited size, which stays.
    if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error;
  }
  return true;
}

/** mountinfo escapes white space as \ooo (proc(5)). */
const unescapeMount = (path: string): string =>
  path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));

export function namespaces(): string[] {
  return entries(NETNS_DIR).filter((name) => name.startsWith(NETNS_PREFIX));
}

function entries(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

const pids = (): number[] =>
  entries('/proc')
    .map(Number)
    .filter((pid) => pid > 0);
