/**
 * Signs of life between processes: one writes a number that grows every second, another watches it and the kernel's state
 * of the process. A process that is stopped, or whose main thread no longer runs, can only be ended: its watcher restarts it.
 *
 * Durations are counted in looks, not in time, so that a change of the clock means nothing, and neither does a pause of the
 * watcher or of the machine.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { statFields } from './processes.ts';

const PERIOD_MS = 1000;

/** How often to look, milliseconds. */
export const LOOK_MS = 50;
/** Looks after which a process counts as hung: stopped by SIGSTOP; by a debugger, which also stops it to print its stack. */
const STOPPED_LOOKS = 2;
const TRACED_LOOKS = 35;
/** Signs are read at every so many looks; without a new one in so many readings, the process counts as hung. */
const LOOKS_PER_READING = 5;
const SILENT_READINGS = 60;

/** Give signs of life in a file. @returns ends it, and removes the file: the process ends as it should */
export function giveLifeSigns(path: string): () => void {
  let signs = 0;
  const give = (): void => {
    try {
      writeFileSync(path, `${++signs}\n`, { mode: 0o600 });
    } catch {
      // The disk is full: the file is empty then, which the watcher does not count as silence.
    }
  };
  // What an earlier process left would count as a sign of this one.
  rmSync(path, { force: true });
  give();
  const timer = setInterval(give, PERIOD_MS).unref();
  return () => {
    clearInterval(timer);
    rmSync(path, { force: true });
  };
}

/** Watches one process. */
export class LifeWatch {
  private readonly pid: number;
  private readonly path: string;
  private last = '';
  private looks = 0;
  private silentReadings = 0;
  private stoppedLooks = 0;
  private tracedLooks = 0;

  /** @param path the file of its signs */
  constructor(pid: number, path: string) {
    this.pid = pid;
    this.path = path;
  }

  /** @returns why the process counts as hung; undefined if it does not, or has not begun to give signs */
  look(): string | undefined {
    const [letter] = statFields(read(`/proc/${this.pid}/stat`));
    this.stoppedLooks = letter === 'T' ? this.stoppedLooks + 1 : 0;
    this.tracedLooks = letter === 't' ? this.tracedLooks + 1 : 0;
    if (this.stoppedLooks >= STOPPED_LOOKS || this.tracedLooks >= TRACED_LOOKS) return 'is stopped';
    if (this.looks++ % LOOKS_PER_READING === 0) this.readSign();
    return this.silentReadings >= SILENT_READINGS ? 'no longer responds' : undefined;
  }

  private readSign(): void {
    const sign = read(this.path);
    this.silentReadings = sign === '' || sign !== this.last ? 0 : this.silentReadings + 1;
    this.last = sign;
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
