/**
 * Persistence of the store: snapshots and append-only logs in one directory.
 *
 * Every change is one line, written with write(2) before it is acknowledged, so a killed process loses no acknowledged
 * change. fdatasync follows within a second: only a crash of the machine can lose that second. An incomplete last line
 * was never acknowledged and is truncated when the directory is opened.
 *
 * `snapshot-<v>` holds all objects at version v; `log-<v>` the changes after v. A snapshot is written under a temporary
 * name, synced and renamed while changes already go to the next log; older files are removed after that. At every
 * moment the newest snapshot and the logs from it on are the whole state. The file `begun` exists from the first change
 * on: without it, a log that lost its contents would look like a new one.
 *
 * Lines have checksums. Damaged lines are skipped and reported, the file is kept as `damaged-…`, and the rest is used:
 * an object whose last change is lost has the state before it.
 */
import {
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  fdatasync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { type Change, jsonOf } from './event-log.ts';
import {
  type ChangeLine,
  changeLine,
  encodeChange,
  encodeHead,
  encodeObject,
  type ObjectLine,
  objectLine,
  type Place,
  readLines,
} from './journal-file.ts';
import { type Held, jsonOfHeld } from './stored-text.ts';

const SYNC_DELAY_MS = 1000;
/** A snapshot is written when the log is larger than this and than twice the last snapshot. */
const MIN_LOG_BYTES = 8 * 1024 * 1024;
const SNAPSHOT_BATCH = 256;
const BEGUN = 'begun';

/** The directory has been in use, and none of its contents can be read. */
export class JournalDamagedError extends Error {
  override readonly name = 'JournalDamagedError';
  readonly code = 'ERR_JOURNAL_DAMAGED';
}

export interface LoadedState {
  /** Version of the snapshot; 0 without one. */
  snapshotVersion: number;
  objects: ObjectLine[];
  changes: ChangeLine[];
  /** What could not be read, one sentence each. */
  damages: string[];
}

/** All objects of one kind, by their keys. */
export interface SnapshotPart {
  kind: Place['kind'];
  keys: readonly string[];
  values: readonly Held[];
}

export class Journal {
  private readonly directory: string;
  private readonly minLogBytes: number;
  private fd = -1;
  private bytes = 0;
  private snapshotBytes = 0;
  private syncTimer: NodeJS.Timeout | undefined;
  private snapshotting: Promise<void> | undefined;
  private closed = false;
  private begun = false;

  constructor(directory: string, minLogBytes = MIN_LOG_BYTES) {
    this.directory = directory;
    this.minLogBytes = minLogBytes;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  }

  /** Reads all files and opens the log for appending. Call once, before any other method. */
  load(): LoadedState {
    const names = readdirSync(this.directory);
    for (const name of names) if (name.endsWith('.tmp')) rmSync(join(this.directory, name));
    const versions = (prefix: string) =>
      names
        .filter((name) => new RegExp(`^${prefix}-\\d+$`).test(name))
        .map((name) => Number(name.slice(prefix.length + 1)))
        .sort((a, b) => a - b);
    const snapshotVersion = versions('snapshot').at(-1) ?? 0;
    const state: LoadedState = { snapshotVersion, objects: [], changes: [], damages: [] };
    if (snapshotVersion > 0) this.readSnapshot(snapshotVersion, state);
    const logs = versions('log').filter((version) => version >= snapshotVersion);
    for (const version of logs) this.readLog(version, state);
    this.begun = names.includes(BEGUN);
    const lost = snapshotVersion === 0 || state.damages.length > 0;
    if (this.begun && lost && state.objects.length === 0 && state.changes.length === 0) {
      throw new JournalDamagedError(
        `${this.directory}: none of the stored objects can be read; restore its files from a backup, or remove the ` +
          'directory to start with an empty cluster, which ends every pod that is still running',
      );
    }
    this.openLog(logs.at(-1) ?? snapshotVersion);
    return state;
  }

  /** Persists `change`. If the write fails, throws and leaves the file as it was. */
  append(change: Change, place: Place): void {
    if (!this.begun) this.begin();
    const line = encodeChange(change.version, change.type, place, jsonOf(change));
    try {
      for (let done = 0; done < line.length; )
        done += writeSync(this.fd, line, done, line.length - done, this.bytes + done);
    } catch (error) {
      ftruncateSync(this.fd, this.bytes);
      throw error;
    }
    this.bytes += line.length;
    this.syncTimer ??= setTimeout(() => this.sync(), SYNC_DELAY_MS).unref();
  }

  /** Is the log large enough for a snapshot? */
  wantsSnapshot(): boolean {
    return this.snapshotting === undefined && this.bytes > Math.max(this.minLogBytes, 2 * this.snapshotBytes);
  }

  /** Starts a snapshot of all objects at `version`. They must never change in place. */
  snapshot(version: number, parts: readonly SnapshotPart[]): Promise<void> {
    fsyncSync(this.fd);
    closeSync(this.fd);
    this.openLog(version);
    this.snapshotting = this.writeSnapshot(version, parts).finally(() => {
      this.snapshotting = undefined;
    });
    return this.snapshotting;
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.snapshotting?.catch(() => {});
    clearTimeout(this.syncTimer);
    fsyncSync(this.fd);
    closeSync(this.fd);
    this.fd = -1;
  }

  private openLog(version: number): void {
    this.fd = openSync(join(this.directory, `log-${version}`), constants.O_RDWR | constants.O_CREAT, 0o600);
    this.bytes = fstatSync(this.fd).size;
  }

  private sync(): void {
    this.syncTimer = undefined;
    // An I/O error is reported again, synchronously, by the next append or by close.
    if (this.fd >= 0) fdatasync(this.fd, () => {});
  }

  private begin(): void {
    closeSync(openSync(join(this.directory, BEGUN), 'w', 0o600));
    this.begun = true;
  }

  private readSnapshot(version: number, state: LoadedState): void {
    const path = join(this.directory, `snapshot-${version}`);
    const { values, damaged, end } = readLines(path, objectLine);
    this.snapshotBytes = end;
    const head = values.find((line): line is { count?: number } => !('held' in line));
    for (const line of values) if ('held' in line) state.objects.push(line);
    const missing = (head?.count ?? state.objects.length + damaged.length) - state.objects.length;
    if (missing > 0 || damaged.length > 0) {
      state.damages.push(`${this.setAside(path)}: ${Math.max(missing, damaged.length)} objects are unreadable`);
    }
  }

  private readLog(version: number, state: LoadedState): void {
    const path = join(this.directory, `log-${version}`);
    const { values, damaged, end } = readLines(path, changeLine);
    for (const change of values) if (change.version > state.snapshotVersion) state.changes.push(change);
    if (damaged.length > 0) {
      const where = damaged.slice(0, 5).join(', ');
      state.damages.push(`${this.setAside(path)}: ${damaged.length} changes are unreadable, at byte ${where}`);
    }
    truncate(path, end);
  }

  /** Keeps a damaged file for examination; returns its new name. */
  private setAside(path: string): string {
    const copy = join(this.directory, `damaged-${basename(path)}`);
    if (!existsSync(copy)) copyFileSync(path, copy);
    return copy;
  }

  private async writeSnapshot(version: number, parts: readonly SnapshotPart[]): Promise<void> {
    const path = join(this.directory, `snapshot-${version}`);
    const fd = openSync(`${path}.tmp`, 'w', 0o600);
    let size = 0;
    const write = (bytes: Buffer) => {
      for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
      size += bytes.length;
    };
    const count = parts.reduce((sum, { keys }) => sum + keys.length, 0);
    try {
      write(encodeHead({ version, count }));
      for (const { kind, keys, values } of parts) {
        for (let i = 0; i < keys.length; i += SNAPSHOT_BATCH) {
          const lines = values
            .slice(i, i + SNAPSHOT_BATCH)
            .map((held, j) => encodeObject({ kind, key: keys[i + j]! }, jsonOfHeld(held)));
          write(Buffer.concat(lines));
          await new Promise((resolve) => setImmediate(resolve));
        }
      }
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(`${path}.tmp`, path);
    this.syncDirectory();
    this.snapshotBytes = size;
    for (const name of readdirSync(this.directory)) {
      const match = /^(?:snapshot|log)-(\d+)$/.exec(name);
      if (match && Number(match[1]) < version) rmSync(join(this.directory, name));
    }
  }

  private syncDirectory(): void {
    const fd = openSync(this.directory, 'r');
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  }
}

function truncate(path: string, bytes: number): void {
  const fd = openSync(path, 'r+');
  try {
    ftruncateSync(fd, bytes);
  } finally {
    closeSync(fd);
  }
}
