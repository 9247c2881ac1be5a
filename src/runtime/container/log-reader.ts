/**
 * A container's log as requested by a client: the last lines, lines since a time, with timestamps, with a size limit,
 * and following new output (kubelet, pkg/kubelet/kuberuntime/logs).
 */
import { closeSync, fstatSync, openSync, readSync, statSync, watch } from 'node:fs';
import { readLogTimes, type TimeOfByte } from './log-times.ts';
import { logPath, podDirectory } from './logs.ts';

const CHUNK_BYTES = 64 * 1024;
const NEWLINE = 0x0a;
/** Poll interval for changes without notification: the end of the container, a replaced log. */
const POLL_MS = 250;

export interface LogOptions {
  follow?: boolean;
  tailLines?: number | undefined;
  /** Lines written earlier are omitted. */
  sinceMs?: number | undefined;
  timestamps?: boolean;
  previous?: boolean;
  limitBytes?: number | undefined;
}

export interface LogPlace {
  stateDir: string;
  namespace: string;
  pod: string;
  container: string;
}

/** Does the log exist? */
export function hasLog({ stateDir, namespace, pod, container }: LogPlace, previous: boolean): boolean {
  return statSync(logPath(stateDir, namespace, pod, container, previous), { throwIfNoEntry: false }) !== undefined;
}

/**
 * The log, piece by piece, at the reader's pace. With `follow` it continues until `ended` returns true (checked before
 * each read) or `signal` is aborted.
 * @throws Error if there is no log
 */
export async function* readLog(
  place: LogPlace,
  options: LogOptions,
  ended: () => boolean,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const { stateDir, namespace, pod, container } = place;
  const previous = options.previous === true;
  const path = logPath(stateDir, namespace, pod, container, previous);
  const file = openSync(path, 'r');
  const directory = podDirectory(stateDir, namespace, pod);
  const timed = options.timestamps === true || options.sinceMs !== undefined;
  const times = (): TimeOfByte => readLogTimes(directory, container, previous);
  try {
    const lines = new LineStamps(options.timestamps === true ? times : undefined);
    let left = options.limitBytes ?? Number.POSITIVE_INFINITY;
    let at = firstByte(file, options, timed ? times() : undefined);
    for (;;) {
      const over = !options.follow || previous || ended(); // Checked before reading, so that nothing is missed.
      if (fstatSync(file).size < at) at = 0; // It was truncated.
      lines.refresh();
      for (;;) {
        const chunk = Buffer.alloc(CHUNK_BYTES);
        const count = readSync(file, chunk, 0, chunk.length, at);
        if (count === 0) break;
        const text = lines.stamp(chunk.subarray(0, count), at);
        at += count;
        const piece = text.length > left ? text.subarray(0, left) : text;
        left -= piece.length;
        if (piece.length > 0) yield piece;
        if (left <= 0 || signal.aborted) return;
      }
      if (over || signal.aborted) return;
      await grown(path, signal);
    }
  } finally {
    closeSync(file);
  }
}

/** Resolves when the file may have grown, or after a moment. */
function grown(path: string, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      watcher?.close();
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, POLL_MS);
    signal.addEventListener('abort', done, { once: true });
    let watcher: ReturnType<typeof watch> | undefined;
    try {
      watcher = watch(path, { persistent: false }, done);
      watcher.on('error', done);
    } catch {
      // The file was replaced, or no inotify watch is left: the timer takes over.
    }
  });
}

/** Start offset: the later of the last lines and the first line since the given time. */
function firstByte(file: number, { tailLines, sinceMs }: LogOptions, timeOf: TimeOfByte | undefined): number {
  const { size } = fstatSync(file);
  const tail = tailLines === undefined ? 0 : startOfTail(file, size, tailLines);
  if (sinceMs === undefined || timeOf === undefined) return tail;
  // Times increase with the offset: find the first byte that is new enough, then the start of the next line.
  let low = 0;
  let high = size;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (timeOf(middle) < sinceMs) low = middle + 1;
    else high = middle;
  }
  return Math.max(tail, low === 0 || low >= size ? low : startOfLine(file, low));
}

/** Offset of the last `lines` lines. */
function startOfTail(file: number, size: number, lines: number): number {
  if (lines === 0) return size;
  const chunk = Buffer.alloc(CHUNK_BYTES);
  let wanted = lines;
  for (let end = size; end > 0; end -= CHUNK_BYTES) {
    const start = Math.max(0, end - CHUNK_BYTES);
    const count = readSync(file, chunk, 0, end - start, start);
    for (let i = count - 1; i >= 0; i--) {
      const last = start + i === size - 1;
      if (chunk[i] === NEWLINE && !last && --wanted <= 0) return start + i + 1;
    }
  }
  return 0;
}

/** Start of the line that contains the byte at `offset`. */
function startOfLine(file: number, offset: number): number {
  const chunk = Buffer.alloc(CHUNK_BYTES);
  for (let end = offset; end > 0; end -= CHUNK_BYTES) {
    const start = Math.max(0, end - CHUNK_BYTES);
    const count = readSync(file, chunk, 0, end - start, start);
    const newline = chunk.lastIndexOf(NEWLINE, count - 1);
    if (newline >= 0 && count > 0) return start + newline + 1;
  }
  return 0;
}

/** Prefixes every line with its time; passes everything through if timestamps are not requested. */
class LineStamps {
  private readonly times: (() => TimeOfByte) | undefined;
  private timeOf: TimeOfByte | undefined;
  private atStart = true;

  constructor(times: (() => TimeOfByte) | undefined) {
    this.times = times;
  }

  refresh(): void {
    this.timeOf = this.times?.();
  }

  /** @param offset of the chunk in the log */
  stamp(chunk: Buffer, offset: number): Buffer {
    const { timeOf } = this;
    if (timeOf === undefined) return chunk;
    const pieces: Buffer[] = [];
    for (let at = 0; at < chunk.length; ) {
      if (this.atStart) pieces.push(Buffer.from(`${logTimestamp(timeOf(offset + at))} `));
      const newline = chunk.indexOf(NEWLINE, at);
      const end = newline < 0 ? chunk.length : newline + 1;
      pieces.push(chunk.subarray(at, end));
      this.atStart = newline >= 0;
      at = end;
    }
    return Buffer.concat(pieces);
  }
}

/** RFC 3339 with nanoseconds, in kubelet's format. */
function logTimestamp(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '000000Z');
}
