/**
 * The file of a snapshot: the tables of nodes at one moment, without the holes. A line that names the format, then,
 * compressed by gzip: the length of the head, the head as JSON, and the extents' bytes in its order.
 */
import { gunzipSync, gzipSync } from 'node:zlib';
import type { Features, TableBuffers } from '../../../native-free-dataplane/dataplane.ts';
import { type Extent, expand, type SparseCopy } from '../../linux/sparse-file.ts';
import { TABLES } from '../../shm-names.ts';
import type { SnapshotObjects } from './objects.ts';

const MAGIC = 'dataplane snapshot 1\n';
const LENGTH_BYTES = 4;
/** Limits on what is read: the tables of a node are smaller, and a damaged file must not ask for more. */
const MAX_FILE_BYTES = 2 ** 31;
const MAX_TABLE_BYTES = 2 ** 31;

export type TableName = keyof TableBuffers;
export const TABLE_NAMES: readonly TableName[] = TABLES;

/** A node's tables at one moment. */
export interface NodeSnapshot {
  readonly node: string;
  /** Monotonic milliseconds of the node, and the time since 1970 in milliseconds. */
  readonly nowMs: number;
  readonly timeMs: number;
  readonly features: Features;
  readonly tables: { readonly [table in TableName]: SparseCopy };
}

interface Head {
  readonly version: string;
  readonly objects?: SnapshotObjects;
  readonly nodes: readonly (Omit<NodeSnapshot, 'tables'> & {
    readonly tables: { readonly [table in TableName]: { size: number; extents: [at: number, bytes: number][] } };
  })[];
}

export interface Snapshot {
  /** Of the program that took it. */
  readonly version: string;
  readonly nodes: readonly NodeSnapshot[];
  /** What the tables were compiled from; absent if the API did not respond when it was taken. */
  readonly objects?: SnapshotObjects;
}

export class SnapshotError extends Error {
  override readonly name = 'SnapshotError';
}

export function encodeSnapshot({ version, nodes, objects }: Snapshot): Buffer {
  const data: Uint8Array[] = [];
  const head: Head = {
    version,
    ...(objects && { objects }),
    nodes: nodes.map(({ tables, ...node }) => ({
      ...node,
      tables: mapTables((table) => {
        const { size, extents } = tables[table];
        for (const { bytes } of extents) data.push(bytes);
        return { size, extents: extents.map(({ at, bytes }): [number, number] => [at, bytes.length]) };
      }),
    })),
  };
  const text = Buffer.from(JSON.stringify(head));
  const length = Buffer.alloc(LENGTH_BYTES);
  new DataView(length.buffer, length.byteOffset).setUint32(0, text.length, true);
  return Buffer.concat([Buffer.from(MAGIC), gzipSync(Buffer.concat([length, text, ...data]), { level: 1 })]);
}

/** @throws SnapshotError */
export function decodeSnapshot(file: Uint8Array): Snapshot {
  if (Buffer.from(file.subarray(0, MAGIC.length)).toString('latin1') !== MAGIC) {
    throw new SnapshotError('it is not a snapshot of this version');
  }
  try {
    const all = gunzipSync(file.subarray(MAGIC.length), { maxOutputLength: MAX_FILE_BYTES });
    const length = new DataView(all.buffer, all.byteOffset).getUint32(0, true);
    const head = JSON.parse(all.toString('utf8', LENGTH_BYTES, LENGTH_BYTES + length)) as Head;
    let next = LENGTH_BYTES + length;
    const take = ([at, bytes]: [number, number], size: number): Extent => {
      const found = all.subarray(next, next + bytes);
      next += bytes;
      if (!(at >= 0) || found.length !== bytes || at + bytes > size) throw new SnapshotError('it is truncated');
      return { at, bytes: found };
    };
    const nodes = head.nodes.map(({ tables, ...node }) => ({
      ...node,
      tables: mapTables((table): SparseCopy => {
        const { size, extents } = tables[table];
        if (!(size > 0 && size <= MAX_TABLE_BYTES)) throw new SnapshotError(`table ${table} has an impossible size`);
        return { size, extents: extents.map((extent) => take(extent, size)) };
      }),
    }));
    const { version, objects } = head;
    return { version, nodes, ...(objects && { objects }) };
  } catch (error) {
    if (error instanceof SnapshotError) throw error;
    throw new SnapshotError(`it is damaged: ${(error as Error).message}`);
  }
}

/** The tables in plain memory, as a pipeline takes them; new memory at each call. */
export function tablesOf({ tables }: NodeSnapshot): TableBuffers {
  return mapTables((table) => expand(tables[table]));
}

/** One value for each table. */
export function mapTables<T>(make: (table: TableName) => T): { [table in TableName]: T } {
  return Object.fromEntries(TABLE_NAMES.map((table) => [table, make(table)])) as { [table in TableName]: T };
}
