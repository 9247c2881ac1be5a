/**
 * The store's memory on disk: snapshots and append-only logs in one directory.
 *
 * Every change is one line, handed to the kernel by write(2) before anybody is told of it, so a killed process loses
 * nothing it has acknowledged. fdatasync follows within a second: only a crash of the whole machine can cost that second.
 * A half-written last line was never acknowledged and is cut off when the directory is opened.
 *
 * `snapshot-<v>` holds all objects at version v; `log-<v>` the changes after v. A snapshot is written under another name,
 * synced and renamed while changes already go to the next log; older files go only after that. So at every moment the
 * newest snapshot plus the logs from it on is the whole state.
 */
import {
  closeSync,
  constants,
  fdatasync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import type { KubeObject } from '../types/objects.ts';
import { type Change, type ChangeType, jsonOf } from './event-log.ts';

const SYNC_DELAY_MS = 1000;
/** A snapshot is due when the log is larger than this and than twice the last snapshot. */
const MIN_LOG_BYTES = 8 * 1024 * 1024;
const SNAPSHOT_BATCH = 256;

/** The directory holds something that cannot be the journal's own doing. */
export class JournalDamagedError extends Error {
  override readonly name = 'JournalDamagedError';
  readonly code = 'ERR_JOURNAL_DAMAGED';
}

export interface LoadedState {
  /** Version of the snapshot; 0 without one. */
  snapshotVersion: number;
  objects: KubeObject[];
  changes: { version: number; type: ChangeType; object: KubeObject }[];
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

  constructor(directory: string, minLogBytes = MIN_LOG_BYTES) {
    this.directory = directory;
    this.minLogBytes = minLogBytes;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  }

  /** Reads everything and opens the log for appending. Call once, before anything else. */
  load(): LoadedState {
    const names = readdirSync(this.directory);
    for (const name of names) if (name.endsWith('.tmp')) rmSync(join(this.directory, name));
    const versions = (prefix: string) =>
      names
        .filter((name) => new RegExp(`^${prefix}-\\d+$`).test(name))
        .map((name) => Number(name.slice(prefix.length + 1)))
        .sort((a, b) => a - b);
    const snapshotVersion = versions('snapshot').at(-1) ?? 0;
    const state: LoadedState = { snapshotVersion, objects: [], changes: [] };
    if (snapshotVersion > 0) state.objects = this.readSnapshot(snapshotVersion);
    const logs = versions('log').filter((version) => version >= snapshotVersion);
    logs.forEach((version, i) => {
      this.readLog(version, i === logs.length - 1, state);
    });
    this.openLog(logs.at(-1) ?? snapshotVersion);
    return state;
  }

  /** Makes `change` last. Throws, with the file as it was, when the disk refuses. */
  append(change: Change): void {
    const line = Buffer.from(`{"v":${change.version},"t":"${change.type}","o":${jsonOf(change)}}\n`);
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

  /** Has the log grown enough to be replaced by a snapshot? */
  wantsSnapshot(): boolean {
    return this.snapshotting === undefined && this.bytes > Math.max(this.minLogBytes, 2 * this.snapshotBytes);
  }

  /** Starts a snapshot of `objects`, all objects at `version`. They must never change in place. */
  snapshot(version: number, objects: readonly KubeObject[]): Promise<void> {
    fsyncSync(this.fd);
    closeSync(this.fd);
    this.openLog(version);
    this.snapshotting = this.writeSnapshot(version, objects).finally(() => {
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
    // A failure here shows again, synchronously, at the next append or at close.
    if (this.fd >= 0) fdatasync(this.fd, () => {});
  }

  private readSnapshot(version: number): KubeObject[] {
    const path = join(this.directory, `snapshot-${version}`);
    const lines = readFileSync(path, 'utf8').split('\n');
    this.snapshotBytes = lines.reduce((sum, line) => sum + line.length + 1, 0);
    const { count } = JSON.parse(lines[0]!) as { count: number };
    if (lines.length !== count + 2) throw new JournalDamagedError(`${path}: expected ${count} objects, cut short`);
    return lines.slice(1, -1).map((line) => JSON.parse(line) as KubeObject);
  }

  private readLog(version: number, newest: boolean, state: LoadedState): void {
    const path = join(this.directory, `log-${version}`);
    const bytes = readFileSync(path);
    let at = 0;
    while (at < bytes.length) {
      const end = bytes.indexOf(10, at);
      const record = end < 0 ? undefined : parseRecord(bytes.toString('utf8', at, end));
      if (record === undefined) {
        if (!newest || (end >= 0 && end < bytes.length - 1)) {
          throw new JournalDamagedError(`${path}: unreadable at byte ${at}; move the directory away to start afresh`);
        }
        truncate(path, at);
        return;
      }
      if (record.version > state.snapshotVersion) state.changes.push(record);
      at = end + 1;
    }
  }

  private async writeSnapshot(version: number, objects: readonly KubeObject[]): Promise<void> {
    const path = join(this.directory, `snapshot-${version}`);
    const fd = openSync(`${path}.tmp`, 'w', 0o600);
    let size = 0;
    const write = (text: string) => {
      const bytes = Buffer.from(text);
      for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
      size += bytes.length;
    };
    try {
      write(`${JSON.stringify({ version, count: objects.length })}\n`);
      for (let i = 0; i < objects.length; i += SNAPSHOT_BATCH) {
        write(
          objects
            .slice(i, i + SNAPSHOT_BATCH)
            .map((o) => `${JSON.stringify(o)}\n`)
            .join(''),
        );
        await new Promise((resolve) => setImmediate(resolve));
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

function parseRecord(line: string): LoadedState['changes'][number] | undefined {
  try {
    const { v, t, o } = JSON.parse(line) as { v: number; t: ChangeType; o: KubeObject };
    return typeof v === 'number' && o?.metadata ? { version: v, type: t, object: o } : undefined;
  } catch {
    return undefined;
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
