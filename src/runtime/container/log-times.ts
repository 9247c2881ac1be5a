/**
 * When the bytes of a log were written. Containers write their logs themselves (logs.ts), so no process in between can
 * timestamp every line. Instead the kernel notifies the agent when the file grows, and the agent records the length
 * with the time. Output written while no agent runs gets the time at which the next agent first looks.
 *
 * The records are a file beside the log: pairs of (length, milliseconds since 1970), both little-endian doubles, both
 * increasing. A byte was written shortly before the time of the first record whose length includes it.
 */
import { appendFileSync, type FSWatcher, readFileSync, renameSync, rmSync, statSync, watch } from 'node:fs';
import { join } from 'node:path';

const NOTE_BYTES = 16;
/** Growth within this time is one record. */
const GRAIN_MS = 10;
/** Beyond this many records for a log, only one per second is kept. */
const FINE_NOTES = 32 * 1024;
const COARSE_GRAIN_MS = 1000;
/** 4 MiB; a log itself is bounded to 10. */
const MAX_NOTES = 256 * 1024;

const timesPath = (directory: string, container: string, suffix = ''): string =>
  join(directory, `${container}${suffix}.log.times`);

/** Records the times of one log until it is closed. */
export class LogTimes {
  private readonly log: string;
  private readonly path: string;
  private readonly watcher: FSWatcher | undefined;
  private noted = 0;
  private count = 0;
  private lastMs = 0;
  private timer: NodeJS.Timeout | undefined;

  constructor(directory: string, container: string) {
    this.log = join(directory, `${container}.log`);
    this.path = timesPath(directory, container);
    const known = readNotes(this.path);
    this.count = known.length / 2;
    this.noted = known.at(-2) ?? 0;
    try {
      this.watcher = watch(this.log, { persistent: false }, () => this.look());
      this.watcher.on('error', () => this.watcher?.close());
    } catch {
      // No inotify watch is left on this machine: the agent's periodic check has to suffice.
    }
    this.look();
  }

  /** Record the log's current length. */
  look(nowMs = Date.now()): void {
    const size = sizeOf(this.log);
    if (size < this.noted) this.begin(); // It was truncated.
    if (size <= this.noted || this.count >= MAX_NOTES) return;
    const grain = this.count < FINE_NOTES ? GRAIN_MS : COARSE_GRAIN_MS;
    if (nowMs - this.lastMs < grain) {
      this.timer ??= setTimeout(() => {
        this.timer = undefined;
        this.look();
      }, grain).unref();
      return;
    }
    const note = Buffer.alloc(NOTE_BYTES);
    note.writeDoubleLE(size, 0);
    note.writeDoubleLE(nowMs, 8);
    try {
      appendFileSync(this.path, note, { mode: 0o640 });
    } catch {
      return; // The disk is full, or the pod is gone: what is written now gets the time of the next record.
    }
    this.noted = size;
    this.count++;
    this.lastMs = nowMs;
  }

  close(): void {
    clearTimeout(this.timer);
    this.watcher?.close();
    this.look(Math.max(Date.now(), this.lastMs + COARSE_GRAIN_MS));
  }

  private begin(): void {
    rmSync(this.path, { force: true });
    this.noted = 0;
    this.count = 0;
  }
}

/** Rotate the times with the log they belong to. */
export function rotateLogTimes(directory: string, container: string): void {
  try {
    renameSync(timesPath(directory, container), timesPath(directory, container, '.previous'));
  } catch {
    rmSync(timesPath(directory, container, '.previous'), { force: true });
  }
}

/** When the byte at `offset` was written, in milliseconds; the log's modification time if nothing was recorded. */
export type TimeOfByte = (offset: number) => number;

export function readLogTimes(directory: string, container: string, previous: boolean): TimeOfByte {
  const suffix = previous ? '.previous' : '';
  const notes = readNotes(timesPath(directory, container, suffix));
  const count = notes.length / 2;
  const fallback = statSync(join(directory, `${container}${suffix}.log`), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  return (offset) => {
    let low = 0;
    let high = count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (notes[2 * middle]! <= offset) low = middle + 1;
      else high = middle;
    }
    return low === count ? fallback : notes[2 * low + 1]!;
  };
}

function readNotes(path: string): Float64Array {
  try {
    const bytes = readFileSync(path);
    const whole = bytes.length - (bytes.length % NOTE_BYTES);
    return new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + whole));
  } catch {
    return new Float64Array(0);
  }
}

const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;
