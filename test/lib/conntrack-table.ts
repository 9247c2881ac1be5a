/** A connection table without a pipeline, for the unit tests of its parts. All flows are TCP, to 10.0.0.1:80. */
import { allocateRecord, freeRecord, scheduleRecord } from '../../native-free-dataplane/conntrack/lifetime.ts';
import {
  type Conntrack,
  conntrackBytes,
  createConntrack,
  Rec,
  recordAt,
} from '../../native-free-dataplane/conntrack/record.ts';
import { findTuple, hashTuple, InsertResult, insertRecord } from '../../native-free-dataplane/conntrack/tuple-index.ts';
import { PROTOCOL_TCP } from '../../native-free-dataplane/protocols.ts';

const SECRET = Int32Array.of(1, 2, 3, 4);
const SERVER = 0x0a000001;
const SERVER_PORT = 80;

/** An empty table. @param max capacity in connections */
export function conntrackTable(max: number, { addressWords = 1, workers = 1 } = {}): Conntrack {
  const options = { addressWords, max, workers, secret: SECRET };
  return createConntrack(new ArrayBuffer(conntrackBytes(options)), options);
}

/**
 * Create a flow src:port → 10.0.0.1:80 that expires after `ttlMs`.
 * @param status bits of Status
 * @param worker the worker that creates it, and on whose wheel it is
 * @returns its record; -1 if none can be allocated or the tuple is in use
 */
export function addFlow(
  table: Conntrack,
  src: number,
  port: number,
  nowMs: number,
  ttlMs: number,
  status = 0,
  worker = 0,
): number {
  const record = allocateRecord(table, worker, nowMs);
  if (record < 0) return -1;
  const at = recordAt(table, record);
  table.words.fill(0, at, at + table.recordWords);
  table.words[at + Rec.META] = (PROTOCOL_TCP << 16) | status;
  table.words[at + Rec.EXPIRES] = (nowMs + ttlMs) | 0;
  const a = table.addressWords;
  const original = at + Rec.TUPLES;
  const reply = original + table.tupleWords;
  table.words[original + a - 1] = src;
  table.words[original + 2 * a - 1] = SERVER;
  table.words[original + 2 * a] = (port << 16) | SERVER_PORT;
  table.words[reply + a - 1] = SERVER;
  table.words[reply + 2 * a - 1] = src;
  table.words[reply + 2 * a] = (SERVER_PORT << 16) | port;
  if (insertRecord(table, record, worker) !== InsertResult.INSERTED) {
    freeRecord(table, record, worker, nowMs);
    return -1;
  }
  scheduleRecord(table, record, worker, nowMs);
  return record;
}

/** Look up a flow that addFlow created, by its original or its reply tuple. @returns record << 1 | direction, or -1 */
export function findFlow(table: Conntrack, src: number, port: number, reply = false): number {
  const { key, addressWords: a } = table;
  key.fill(0);
  key[reply ? 2 * a - 1 : a - 1] = src;
  key[reply ? a - 1 : 2 * a - 1] = SERVER;
  key[2 * a] = reply ? (SERVER_PORT << 16) | port : (port << 16) | SERVER_PORT;
  key[2 * a + 1] = PROTOCOL_TCP;
  return findTuple(table, hashTuple(table, key, 0, PROTOCOL_TCP));
}
