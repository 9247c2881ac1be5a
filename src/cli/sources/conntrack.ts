/**
 * The tracked connections of a node, read from its shared table without locks. A record that changes while it is read
 * is omitted, or has the values from before or after the change.
 */
import { flushRecord } from '../../../native-free-dataplane/conntrack/flushed.ts';
import {
  attachConntrack,
  type Conntrack,
  Rec,
  recordAt,
  recordsUsed,
  Status,
} from '../../../native-free-dataplane/conntrack/record.ts';
import { entryCount } from '../../../native-free-dataplane/conntrack/shares.ts';
import type { FlowText } from '../../../native-free-dataplane/print/flow.ts';
import { flowText } from '../../../native-free-dataplane/print/record.ts';
import { monotonicMs } from '../../linux/clock.ts';
import { openShared } from '../../linux/shm.ts';
import { listShared } from '../../linux/shm-files.ts';
import { memoryName, nodesWith, SHM_PREFIX } from '../../shm-names.ts';
import { failed } from '../errors.ts';

export interface Flow extends FlowText {
  readonly node: string;
  /** Number of the record, for `flush`. */
  readonly record: number;
}

/** Nodes of this machine that have a table of connections. */
export function nodesWithFlows(): string[] {
  return nodesWith('conntrack', listShared(SHM_PREFIX));
}

/** A node's table, mapped until `close`. @throws CliError if there is none, or it has another version */
export function mapTable(node: string): { table: Conntrack; close: () => void } {
  const memory = openTable(node);
  const table = attachConntrack(memory.buffer);
  if (table === undefined) {
    memory.close();
    throw failed(`node ${node}: its connection table has another version`, '`dataplane down` and `up` again');
  }
  return { table, close: () => memory.close() };
}

/** Runs `work` on a node's table. @throws CliError as mapTable */
function withTable<T>(node: string, work: (table: Conntrack) => T): T {
  const { table, close } = mapTable(node);
  try {
    return work(table);
  } finally {
    close();
  }
}

function openTable(node: string) {
  try {
    return openShared(memoryName(node, 'conntrack'));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw failed(`node ${node} has no connection table`, 'see `dataplane status`');
    if (code === 'EACCES') throw failed('the tables belong to root', 'run it with sudo');
    throw error;
  }
}

/** All connections of a node, oldest record first. @throws CliError as `withTable` */
export function readFlows(node: string): Flow[] {
  return withTable(node, (table) => {
    const nowMs = monotonicMs() | 0;
    const used = recordsUsed(table);
    const flows: Flow[] = [];
    for (let record = 0; record < used; record++) {
      const flow = readFlow(node, table, record, nowMs);
      if (flow !== undefined) flows.push(flow);
    }
    return flows;
  });
}

/** The number of connections, and the size of the table. */
export function countFlows(node: string): { entries: number; max: number } {
  return withTable(node, (table) => ({ entries: entryCount(table), max: table.max }));
}

/** Removes these connections of a node; returns how many still existed. */
export function flushFlows(node: string, records: readonly number[]): number {
  return withTable(node, (table) => records.filter((record) => flushRecord(table, record)).length);
}

function readFlow(node: string, table: Conntrack, record: number, nowMs: number): Flow | undefined {
  const { words, doubles } = table;
  const at = recordAt(table, record);
  const meta = words[at + Rec.META]!;
  if ((meta & (Status.CONFIRMED | Status.DEAD)) !== Status.CONFIRMED) return undefined;
  if (((words[at + Rec.EXPIRES]! - nowMs) | 0) <= 0) return undefined;
  return { node, record, ...flowText(table, words, doubles, at, nowMs) };
}
