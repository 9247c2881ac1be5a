/**
 * Takes a snapshot of a running node: all its workers stop between two turns while the tables are copied, which takes
 * some milliseconds; frames wait in the devices meanwhile. A worker that sleeps counts as stopped, because it would stop
 * before it touches a table. If the copy takes too long, the workers go on, and another is tried.
 */
import { join } from 'node:path';
import type { Features } from '../../../native-free-dataplane/dataplane.ts';
import type { CaptureMemory } from '../../../native-free-dataplane/live-capture/memory.ts';
import { beginPause, endPause, hasStopped, isPaused } from '../../../native-free-dataplane/live-capture/pause.ts';
import { monotonicMs } from '../../linux/clock.ts';
import { schedYield } from '../../linux/ffi.ts';
import { SHM_DIRECTORY } from '../../linux/shm-files.ts';
import { sleepSync } from '../../linux/sleep.ts';
import { copySparse, type SparseCopy } from '../../linux/sparse-file.ts';
import { memoryName } from '../../shm-names.ts';
import { mapTables, type NodeSnapshot, TABLE_NAMES, type TableName } from './snapshot-file.ts';

/** Attempts, and the pause between two of them in milliseconds, so that the frames that waited are forwarded. */
const ATTEMPTS = 20;
const BETWEEN_MS = 100;

/** Tables that the agent writes, which does not stop: a change during the copy would leave half of it. */
const OF_THE_AGENT: readonly TableName[] = ['services', 'routes', 'policies'];

export class SnapshotFailed extends Error {
  override readonly name = 'SnapshotFailed';
}

export interface SnapshotRequest {
  readonly node: string;
  readonly features: Features;
  readonly memory: CaptureMemory;
  /** Is the worker asleep, or not running? */
  readonly isIdle: (worker: number) => boolean;
  /** Called when the pause has been asked for, before any worker can have stopped: begins the recording. */
  readonly begin: () => void;
  /** Called when an attempt has failed: ends the recording. */
  readonly abandon: () => void;
}

/** @throws SnapshotFailed */
export function takeSnapshot(request: SnapshotRequest): NodeSnapshot {
  // A first copy warms up code and page cache, so that the one under the pause is short.
  for (const table of TABLE_NAMES) copyTable(request.node, table);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const found = tryOnce(request);
    if (found !== undefined) return found;
    request.abandon();
    sleepSync(BETWEEN_MS);
  }
  throw new SnapshotFailed(`the tables of node ${request.node} could not be copied within the pause of its workers`);
}

function tryOnce({ node, features, memory, isIdle, begin }: SnapshotRequest): NodeSnapshot | undefined {
  const pause = beginPause(memory, monotonicMs());
  try {
    begin();
    const workers = Array.from({ length: memory.workers }, (_, worker) => worker);
    const allStopped = (): boolean => workers.every((worker) => hasStopped(memory, worker, pause) || isIdle(worker));
    while (!allStopped()) {
      if (!isPaused(memory, monotonicMs())) return undefined;
      schedYield();
    }
    const nowMs = monotonicMs();
    const timeMs = Date.now();
    const copy = (table: TableName): SparseCopy => copyTable(node, table);
    const tables = mapTables(copy);
    const unchanged = OF_THE_AGENT.every((table) => isSame(tables[table], copy(table)));
    const inTime = isPaused(memory, monotonicMs()) && allStopped();
    return unchanged && inTime ? { node, nowMs, timeMs, features, tables } : undefined;
  } finally {
    endPause(memory);
  }
}

const copyTable = (node: string, table: TableName): SparseCopy =>
  copySparse(join(SHM_DIRECTORY, memoryName(node, table)));

function isSame(a: SparseCopy, b: SparseCopy): boolean {
  return (
    a.extents.length === b.extents.length &&
    a.extents.every(({ at, bytes }, i) => {
      const other = b.extents[i];
      return other !== undefined && other.at === at && Buffer.compare(bytes, other.bytes) === 0;
    })
  );
}
