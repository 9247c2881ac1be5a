/**
 * Container logs: files that the containers write themselves, so that no line is lost while no agent runs. Their size
 * is limited by copy and truncate, which works on a file that other processes have open for appending.
 */
import {
  closeSync,
  fstatSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileName } from '../shell.ts';
import { rotateLogTimes } from './log-times.ts';

const MAX_LOG_BYTES = 10 * 1024 * 1024;
/** The part of a log that kubelet uses as a termination message (pkg/kubelet/kuberuntime: 80 lines, 2048 bytes). */
const TAIL_LINES = 80;
const TAIL_BYTES = 2048;

export const podDirectory = (stateDir: string, namespace: string, pod: string): string =>
  join(stateDir, 'pods', fileName(`${namespace}_${pod}`));

/** @param previous the log of the instance before the current one */
export function logPath(stateDir: string, namespace: string, pod: string, container: string, previous = false): string {
  return join(podDirectory(stateDir, namespace, pod), `${container}${previous ? '.previous' : ''}.log`);
}

/** Rotate the last instance's log and start a new one. @returns a descriptor for appending */
export function beginLog(directory: string, container: string): number {
  const path = join(directory, `${container}.log`);
  try {
    renameSync(path, join(directory, `${container}.previous.log`));
  } catch {
    // This is the first instance.
  }
  rotateLogTimes(directory, container);
  return openSync(path, 'a', 0o640);
}

/**
 * Limit the size of a log: beyond it, the last `maxBytes` move to `<container>.log.1`, replacing that. A container may
 * have written many times as much since the last call.
 */
export function boundLog(directory: string, container: string, maxBytes = MAX_LOG_BYTES): void {
  const path = join(directory, `${container}.log`);
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size <= maxBytes) return;
  const log = openSync(path, 'r');
  try {
    const kept = Buffer.alloc(maxBytes);
    const length = readSync(log, kept, 0, maxBytes, size - maxBytes);
    truncateSync(path);
    try {
      writeFileSync(`${path}.1`, kept.subarray(0, length), { mode: 0o640 });
    } catch {
      // The container has filled the disk meanwhile. Half of an old log is worth less than room for others.
      rmSync(`${path}.1`, { force: true });
    }
  } finally {
    closeSync(log);
  }
}

/** The last lines of a log, as a termination message; empty if there is none. */
export function logTail(directory: string, container: string): string {
  try {
    const file = openSync(join(directory, `${container}.log`), 'r');
    try {
      const { size } = fstatSync(file);
      const bytes = Buffer.alloc(Math.min(size, TAIL_BYTES));
      readSync(file, bytes, 0, bytes.length, size - bytes.length);
      return bytes
        .toString('utf8')
        .split('\n')
        .slice(-TAIL_LINES - 1)
        .join('\n');
    } finally {
      closeSync(file);
    }
  } catch {
    return '';
  }
}
