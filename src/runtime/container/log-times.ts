/**
 * When the bytes of a log were written. Containers write their logs themselves (logs.ts), so nothing stands between that
 * could stamp every line; instead the agent is told by the kernel when the file grows, and notes how long it was then.
 * What is written while no agent runs has the time at which the next one looked.
 *
 * The notes are a file beside the log: pairs of (length, milliseconds since 1970), both little-endian doubles, both
 * growing. A byte was written shortly before the time of the first note whose length includes it.
 */
import { appendFileSync, type FSWatcher, readFileSync, renameSync, rmSync, statSync, watch } from 'node:fs';
import { join } from 'node:path';

const NOTE_BYTES = 16;
/** Growth within this time is one note. */
const GRAIN_MS = 10;
/** Past this many notes on one log only every second is noted. */
const FINE_NOTES = 32 * 1024;
const COARSE_GRAIN_MS = 1000;
/** 4 MiB; a log itself is bounded to 10. */
const MAX_NOTES = 256 * 1024;

const timesPath = (directory: string, container: string, suffix = ''): string =>
  join(directory, `${container}${suffix}.log.times`);

/** Takes notes on one log until it is closed. */
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
      // No more inotify watches on this machine: the agent's regular look has to do.
    }
    this.look();
  }

  /** Notes how far the log has come. */
  look(nowMs = Date.now()): void {
    const size = sizeOf(this.log);
    if (size < this.noted) this.begin(); // It was cut.
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
    appendFileSync(this.path, note, { mode: 0o640 });
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

/** The notes go aside with the log they belong to. */
export function rotateLogTimes(directory: string, container: string): void {
  try {
    renameSync(timesPath(directory, container), timesPath(directory, container, '.previous'));
  } catch {
    rmSync(timesPath(directory, container, '.previous'), { force: true });
  }
}

/** When the byte at `offset` was written, in milliseconds; the log's own time when nobody took notes. */
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
