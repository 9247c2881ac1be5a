/**
 * Processes identified unambiguously: by pid and start time (proc_pid_stat(5), field 22), read from /proc. A process
 * counts as gone only if the kernel reports so: an agent that has run out of descriptors cannot read /proc, and must
 * not conclude that its pods have died.
 */
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { isAbsent, readIfPresent } from './read-file.ts';
import { statusMask } from './status-mask.ts';

/** SIGKILL in a bitmap of signals. */
const SIGKILL_BIT = 1 << 8;
/** linux include/linux/sched.h */
const PF_EXITING = 4;

/** Identifies a process, even if its pid is reused later. */
export interface ProcessMark {
  pid: number;
  /** Clock ticks since boot, as text. */
  startTime: string;
}

/** The fields of a line of /proc/pid/stat from the third on, the state (proc_pid_stat(5)). */
export function statFields(line: string): string[] {
  // The command's name is in parentheses and may itself contain blanks and parentheses.
  return line.slice(line.lastIndexOf(')') + 2).split(' ');
}

/** The mark in a line of /proc/pid/stat; undefined for a zombie, which counts as gone. */
export function parseStat(line: string): ProcessMark | undefined {
  const fields = statFields(line);
  const pid = Number.parseInt(line, 10);
  const startTime = fields[19];
  if (!(pid > 0) || startTime === undefined || fields[0] === 'Z' || fields[0] === 'X') return undefined;
  return { pid, startTime };
}

/** The live process with this pid. @throws if /proc cannot be read, so that nothing is known */
export function findProcess(pid: number): ProcessMark | undefined {
  const line = readIfPresent(`/proc/${pid}/stat`, 'latin1');
  return line === undefined ? undefined : parseStat(line);
}

/** Program and arguments of a process, each followed by '' at the end of the list; empty if it has ended. */
export function commandLine(pid: number): string[] {
  try {
    return findProcess(pid) === undefined ? [] : readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    return [];
  }
}

/** Is the process still running? True if that cannot be determined. */
export function isAlive(mark: ProcessMark | undefined): boolean {
  if (mark === undefined) return false;
  try {
    return findProcess(mark.pid)?.startTime === mark.startTime;
  } catch {
    return true;
  }
}

/** Send a signal if the process is known to be the one that was marked. @returns whether it was sent */
export function signalProcess(mark: ProcessMark | undefined, signal: NodeJS.Signals): boolean {
  try {
    // Not isAlive: a signal to a pid of unknown owner could end an unrelated process.
    if (mark === undefined || findProcess(mark.pid)?.startTime !== mark.startTime) return false;
    return process.kill(mark.pid, signal);
  } catch {
    return false; // It ended in between, or /proc cannot be read.
  }
}

/**
 * Would this signal (by number) have no effect because the process has no handler? False if it is ignored on purpose.
 */
export function lacksHandler(pid: number, signal: number): boolean {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1');
    const bit = 1n << BigInt(signal - 1);
    return ((statusMask(status, 'SigCgt') | statusMask(status, 'SigIgn')) & bit) === 0n;
  } catch {
    return false;
  }
}

/**
 * The processes of a sandbox: those in its network namespace that are not in our own UTS namespace. A process started
 * with `ip netns exec` stays in the host's UTS namespace and is not included. This holds after any crash, because the
 * mount at `netnsPath` keeps the namespace's number from being reused.
 * @throws if /proc cannot be read
 */
export function sandboxProcesses(netnsPath: string): ProcessMark[] {
  const namespace = statSync(netnsPath, { throwIfNoEntry: false });
  if (namespace === undefined) return [];
  const net = `net:[${namespace.ino}]`;
  const ownUts = namespaceOf('self', 'uts');
  return processesWhere((pid) => namespaceOf(pid, 'net') === net && namespaceOf(pid, 'uts') !== ownUts);
}

/** The processes in a namespace, named as by `namespaceOf`. @throws if /proc cannot be read */
export function processesInNamespace(namespace: string): ProcessMark[] {
  const type = namespace.slice(0, namespace.indexOf(':'));
  return processesWhere((pid) => namespaceOf(pid, type) === namespace);
}

/**
 * A namespace of a process, such as `mnt:[4026531841]`; undefined if it has ended, or has capabilities that this process
 * lacks. The kernel does not show such a process (linux security/commoncap.c cap_ptrace_access_check), and it is nothing that
 * we or our containers have started, because capabilities beyond the bounding set are never gained (capabilities(7)).
 * @throws if it cannot be read
 */
export function namespaceOf(pid: number | 'self', type: string): string | undefined {
  const path = `/proc/${pid}/ns/${type}`;
  try {
    return readLinkIfPresent(path);
  } catch (error) {
    // Also the answer about a process that ends while the link is read (linux fs/proc/namespaces.c proc_ns_readlink).
    if ((error as NodeJS.ErrnoException).code !== 'EACCES') throw error;
    return hasMoreCapabilities(pid) ? undefined : readLinkIfPresent(path);
  }
}

function hasMoreCapabilities(pid: number | 'self'): boolean {
  const permitted = (of: number | 'self') => statusMask(readIfPresent(`/proc/${of}/status`, 'latin1') ?? '', 'CapPrm');
  return (permitted(pid) & ~permitted('self')) !== 0n;
}

function readLinkIfPresent(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

/**
 * Does no thread of the process run its program any more: has each ended, begun to exit, or been sent SIGKILL? The kernel sends
 * that to all threads when one of them receives a fatal signal, or ends the process (linux kernel/signal.c complete_signal,
 * zap_other_threads).
 */
export function isBeingKilled(pid: number): boolean {
  const directory = `/proc/${pid}/task`;
  try {
    return readdirSync(directory).every((thread) => {
      const line = readIfPresent(`${directory}/${thread}/stat`, 'latin1');
      return line === undefined || isThreadOver(line);
    });
  } catch (error) {
    return isAbsent(error);
  }
}

/** @param line contents of /proc/pid/stat (proc_pid_stat(5): state, flags and signal are fields 3, 9 and 31) */
function isThreadOver(line: string): boolean {
  const fields = statFields(line);
  const isExiting = (Number(fields[6]) & PF_EXITING) !== 0;
  return fields[0] === 'Z' || fields[0] === 'X' || isExiting || (Number(fields[28]) & SIGKILL_BIT) !== 0;
}

function processesWhere(selects: (pid: number) => boolean): ProcessMark[] {
  return readdirSync('/proc').flatMap((name) => {
    const pid = Number(name);
    return pid > 0 && selects(pid) ? (findProcess(pid) ?? []) : [];
  });
}

/**
 * Send SIGKILL to the processes that still exist, and wait until they have ended.
 * @returns their number
 * @throws Error naming one that has not ended after `timeoutMs`
 */
export async function killAll(marks: readonly (ProcessMark | undefined)[], timeoutMs: number): Promise<number> {
  const alive = marks.filter((mark) => mark !== undefined).filter(isAlive);
  for (const mark of alive) signalProcess(mark, 'SIGKILL');
  if (!(await waitGone(alive, timeoutMs))) throw new Error(`process ${alive.find(isAlive)?.pid} does not end`);
  return alive.length;
}

/** Wait until all have ended. @returns false if `timeoutMs` passed first */
export async function waitGone(marks: readonly ProcessMark[], timeoutMs: number): Promise<boolean> {
  const end = Date.now() + timeoutMs;
  for (let pause = 1; marks.some(isAlive); pause = Math.min(pause * 2, 50)) {
    if (Date.now() > end) return false;
    await sleep(pause);
  }
  return true;
}
