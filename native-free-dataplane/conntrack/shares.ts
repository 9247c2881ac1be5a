/**
 * How many connections each pod of the node holds, and how many it may: nobody can fill the table alone.
 *
 * A connection counts for the pod that opened it; if that is none of this node, for the pod that it leads to; and if that
 * is none either, for the node itself, account 0. The account follows from the tuples, which never change, so no record
 * stores it.
 *
 * The limit adapts to what is left: an account may hold twice as many connections as the table has free records (Choudhury
 * and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998, with α = 2). One account alone can
 * thus fill two thirds of the table, two of them two fifths each; the rest stays free for others, who are far below their
 * limits. Over its limit, an account's new connection evicts one of its own that is not assured, or is refused.
 *
 * Counts are changed by Atomics when a record enters or leaves the index (tuple-index.ts). Together they are the number of
 * connections, which is not counted separately: a new connection costs one atomic operation.
 */
import { type Conntrack, Rec, Setting, SHARE_MASK } from './record.ts';

/** Account of a new connection. @param source,target four words each; the target after translation */
export function accountOf(table: Conntrack, source: Int32Array, target: Int32Array): number {
  return accountOfWords(table, source[3], target[3]);
}

/** The same by the last words of both addresses. */
function accountOfWords(table: Conntrack, source: number, target: number): number {
  const { settings } = table;
  const mask = settings[Setting.PODS_MASK];
  const network = settings[Setting.PODS_NETWORK];
  if (mask === 0) return 0;
  if ((source & mask) === network) return source & SHARE_MASK;
  return (target & mask) === network ? target & SHARE_MASK : 0;
}

/** Account of the record at word `at`, whose tuples are filled in. */
export function accountOfRecord(table: Conntrack, at: number): number {
  const { words, addressWords, tupleWords } = table;
  const source = at + Rec.TUPLES + addressWords - 1;
  return accountOfWords(table, words[source], words[source + tupleWords]);
}

/** Live connections (confirmed and not dead) of the whole table. For status and metrics: it adds all accounts. */
export function entryCount({ shares }: Conntrack): number {
  return shares.reduce((sum, count) => sum + count, 0);
}

/** Does the account hold as many connections as it may? @param free records available for allocation */
export function isShareUsed(table: Conntrack, account: number, free: number): boolean {
  return table.shares[account] > 2 * free;
}
