/**
 * Processes named so that no other is ever taken for them: by pid and start time (proc_pid_stat(5), field 22), read from /proc.
 */
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

export interface ProcessMark {
  pid: number;
  /** Clock ticks since boot, as text. */
  startTime: string;
}

/** The mark in a line of /proc/pid/stat; undefined for a zombie, which is as good as gone. */
export function parseStat(line: string): ProcessMark | undefined {
  // The command's name is in parentheses and may itself contain blanks and parentheses.
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ');
  const pid = Number.parseInt(line, 10);
  const startTime = fields[19];
  if (!(pid > 0) || startTime === undefined || fields[0] === 'Z' || fields[0] === 'X') return undefined;
  return { pid, startTime };
}

/** The living process with this pid. */
export function findProcess(pid: number): ProcessMark | undefined {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return undefined;
  }
}

export function isAlive(mark: ProcessMark | undefined): boolean {
  return mark !== undefined && findProcess(mark.pid)?.startTime === mark.startTime;
}

/** Send a signal, if the process is still the one it was. */
export function signalProcess(mark: ProcessMark | undefined, signal: NodeJS.Signals): boolean {
  if (mark === undefined || !isAlive(mark)) return false;
  try {
    return process.kill(mark.pid, signal);
  } catch {
    return false; // It ended in between.
  }
}

/** Would this signal (by number) do nothing because the process has no handler? False when it is ignored on purpose. */
export function lacksHandler(pid: number, signal: number): boolean {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1');
    const mask = (name: string) => BigInt(`0x${new RegExp(`^${name}:\\s*([0-9a-f]+)`, 'm').exec(status)?.[1] ?? '0'}`);
    const bit = 1n << BigInt(signal - 1);
    return ((mask('SigCgt') | mask('SigIgn')) & bit) === 0n;
  } catch {
    return false;
  }
}

/**
 * The processes of a sandbox: in its network namespace, and not in our own UTS namespace. Somebody who went there with
 * `ip netns exec` stays in the host's and is none of them. Holds after any crash, as the mount at `netnsPath` keeps the
 * namespace's number from being used again.
 */
export function sandboxProcesses(netnsPath: string): ProcessMark[] {
  let net: string;
  try {
    net = `net:[${statSync(netnsPath).ino}]`;
  } catch {
    return [];
  }
  const ownUts = readlinkSync('/proc/self/ns/uts');
  return readdirSync('/proc').flatMap((name) => {
    const pid = Number(name);
    if (!(pid > 0)) return [];
    try {
      if (readlinkSync(`/proc/${pid}/ns/net`) !== net || readlinkSync(`/proc/${pid}/ns/uts`) === ownUts) return [];
    } catch {
      return [];
    }
    return findProcess(pid) ?? [];
  });
}

/** Wait until all are gone. @returns false when `timeoutMs` passed first */
export async function waitGone(marks: readonly ProcessMark[], timeoutMs: number): Promise<boolean> {
  const end = Date.now() + timeoutMs;
  for (let pause = 1; marks.some(isAlive); pause = Math.min(pause * 2, 50)) {
    if (Date.now() > end) return false;
    await sleep(pause);
  }
  return true;
}
