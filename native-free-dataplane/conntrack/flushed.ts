/**
 * Connections that `conntrack flush` removed and whose traffic goes on. The next packet of either side takes the
 * connection up again with its translation (stages/connect.ts resumeFlow). Otherwise a server that speaks first would send
 * to a port of the node that no connection has, the node would answer with a reset, and the mapping would be lost
 * (RFC 4787 REQ-1).
 *
 * An index of hints, like mappings.ts: one word a slot, tag | reference + 1, the last one flushed wins. The removed record
 * is the memory: its words stay as they were until it is allocated again, oldest first.
 */
import { type Conntrack, FLUSHED_MASK, Rec, recordAt, Status } from './record.ts';
import { hashTuple, removeRecord, tupleKind } from './tuple-index.ts';

const TAG_MASK = 0xff000000 | 0;
const REFERENCE_MASK = 0x00ffffff;
/** So long after its record was freed a connection may still go on. */
const REMEMBERED_MS = 120_000;

/**
 * Remove a connection on behalf of an operator. Records that nobody can reach any more are left alone.
 * @returns whether it was there
 */
export function flushRecord(table: Conntrack, record: number): boolean {
  const { words, tupleWords } = table;
  const at = recordAt(table, record);
  const meta = words[at + Rec.META];
  if ((meta & (Status.CONFIRMED | Status.DEAD)) !== Status.CONFIRMED) return false;
  const protocol = (meta >>> 16) & 0xff;
  // Before it is removed: a packet that misses it finds the hint.
  for (let direction = 0; direction < 2; direction++) {
    const hash = hashTuple(table, words, at + Rec.TUPLES + direction * tupleWords, tupleKind(protocol, direction));
    table.flushed[hash & FLUSHED_MASK] = (hash & TAG_MASK) | ((record << 1) + direction + 1);
  }
  Atomics.or(words, at + Rec.META, Status.FLUSHED);
  return removeRecord(table, record);
}

/**
 * Find the flushed connection with the tuple in `table.key`.
 * @param hash hashTuple of the key
 * @returns record << 1 | direction, or -1
 */
export function findFlushed(table: Conntrack, hash: number, nowMs: number): number {
  const { flushed, key, words, tupleWords } = table;
  const entry = flushed[hash & FLUSHED_MASK];
  if ((entry & REFERENCE_MASK) === 0 || ((entry ^ hash) & TAG_MASK) !== 0) return -1;
  const reference = (entry & REFERENCE_MASK) - 1;
  const at = recordAt(table, reference >> 1);
  const meta = words[at + Rec.META];
  if ((meta & (Status.FLUSHED | Status.DEAD)) !== (Status.FLUSHED | Status.DEAD)) return -1;
  // Until its wheel frees it this is when the connection would have expired, afterwards when it was freed.
  if (((words[at + Rec.EXPIRES] + REMEMBERED_MS - (nowMs | 0)) | 0) <= 0) return -1;
  const tuple = at + Rec.TUPLES + (reference & 1) * tupleWords;
  for (let i = 0; i < tupleWords; i++) if (words[tuple + i] !== key[i]) return -1;
  return tupleKind((meta >>> 16) & 0xff, reference & 1) === key[tupleWords] ? reference : -1;
}
