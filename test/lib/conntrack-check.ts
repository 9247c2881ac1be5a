/** Checks the consistency of a connection table at the end of a test that stressed it. */
import {
  type Conntrack,
  Rec,
  recordAt,
  StateWord,
  Status,
  tupleAt,
  WHEEL_SLOTS,
} from '../../native-free-dataplane/conntrack/record.ts';
import { accountOfRecord, entryCount } from '../../native-free-dataplane/conntrack/shares.ts';
import { findTuple, hashTuple, tupleKind } from '../../native-free-dataplane/conntrack/tuple-index.ts';
import { MAX_WORKERS } from '../../native-free-dataplane/shared/layout.ts';

/** Description of the first inconsistency; empty if there is none. No worker may be running. */
export function conntrackFaults(table: Conntrack): string[] {
  const { words, state, key, wheels, tupleWords } = table;
  const faults: string[] = [];
  const watermark = state[StateWord.WATERMARK] ?? -1;
  let live = 0;
  for (let record = 0; record < watermark; record++) {
    const at = recordAt(table, record);
    const meta = words[at + Rec.META]!;
    if ((meta & (Status.CONFIRMED | Status.DEAD)) !== Status.CONFIRMED) continue;
    live++;
    for (let direction = 0; direction < 2; direction++) {
      const tuple = tupleAt(table, record, direction);
      for (let i = 0; i < tupleWords; i++) key[i] = words[tuple + i]!;
      const kind = tupleKind((meta >>> 16) & 0xff, direction);
      key[tupleWords] = kind;
      const found = findTuple(table, hashTuple(table, key, 0, kind));
      // A connection to itself has two identical tuples; either is found.
      const itself = words[tuple] === words[tuple + 1] && words[tuple + 2]! >>> 16 === (words[tuple + 2]! & 0xffff);
      if (found !== ((record << 1) | (itself ? found & 1 : direction)))
        faults.push(`record ${record}, tuple ${direction}: found as ${found}`);
    }
  }
  if (live !== entryCount(table)) faults.push(`${live} live records, counted ${entryCount(table)}`);
  const shares = new Int32Array(table.shares.length);
  for (let record = 0; record < watermark; record++) {
    const at = recordAt(table, record);
    if ((words[at + Rec.META]! & (Status.CONFIRMED | Status.DEAD)) === Status.CONFIRMED)
      shares[accountOfRecord(table, at)]!++;
  }
  shares.forEach((count, account) => {
    if (count !== table.shares[account])
      faults.push(`account ${account}: ${count} records, counted ${table.shares[account]}`);
  });
  const entered = table.index.reduce((sum, word) => sum + (word === 0 ? 0 : 1), 0);
  if (entered !== 2 * live) faults.push(`${entered} index words for ${live} records`);

  const seen = new Uint8Array(watermark);
  const walk = (first: number, where: string): number => {
    let count = 0;
    for (let next = first; next > 0; next = words[recordAt(table, next - 1) + Rec.LINK]!) {
      seen[next - 1]! += 1;
      if (seen[next - 1]! > 1 || ++count > watermark) {
        faults.push(`record ${next - 1} is linked twice (${where})`);
        return count;
      }
    }
    return count;
  };
  const free = walk(state[StateWord.FREE_HEAD]!, 'free queue');
  if (free !== state[StateWord.FREE_COUNT]) faults.push(`${free} free records, counted ${state[StateWord.FREE_COUNT]}`);
  for (let slot = 0; slot < MAX_WORKERS * WHEEL_SLOTS; slot++) walk(wheels[slot]!, `wheel slot ${slot}`);
  seen.forEach((times, record) => {
    if (times === 0) faults.push(`record ${record} is neither free nor on a wheel`);
  });
  if (table.locks.some((word) => word !== 0)) faults.push('a lock is still held');
  return faults;
}
