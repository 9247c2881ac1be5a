/**
 * The connections of a pod that no longer exists. Those that it opened end at once, and so do those to it that were never
 * answered: table slots and source ports are free for others. Answered ones to it stay for two minutes, in which their
 * clients get a TCP reset (ENDPOINT_GONE of verdicts.ts) instead of being balanced to another endpoint in the middle of a
 * connection.
 */
import {
  type Conntrack,
  Rec,
  recordAt,
  recordsUsed,
  Status,
  tupleAt,
} from '../../../native-free-dataplane/conntrack/record.ts';
import { removeRecord } from '../../../native-free-dataplane/conntrack/tuple-index.ts';
import { addressWords as wordsOf } from '../../../native-free-dataplane/wire/address.ts';

/** As long as linux nf_conntrack keeps a closed connection (TIME_WAIT). */
const CLOSING_MS = 120_000;

/**
 * End the connections of a pod's address. IPv4.
 * @returns how many were removed at once
 */
export function endConnectionsOf(table: Conntrack, ip: string, nowMs: number): number {
  const { words, addressWords } = table;
  const address = wordsOf(ip)[3]!;
  const used = recordsUsed(table);
  let removed = 0;
  for (let record = 0; record < used; record++) {
    const at = recordAt(table, record);
    const meta = words[at + Rec.META]!;
    if ((meta & (Status.CONFIRMED | Status.DEAD)) !== Status.CONFIRMED) continue;
    const opened = words[tupleAt(table, record, 0) + addressWords - 1] === address;
    if (!opened && words[tupleAt(table, record, 1) + addressWords - 1] !== address) continue;
    if (opened || (meta & Status.SEEN_REPLY) === 0) {
      if (removeRecord(table, record)) removed++;
    } else if (((words[at + Rec.EXPIRES]! - (nowMs + CLOSING_MS)) | 0) > 0) {
      words[at + Rec.EXPIRES] = (nowMs + CLOSING_MS) | 0;
    }
  }
  return removed;
}
