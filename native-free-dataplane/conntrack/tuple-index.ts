/**
 * The index of the connection table: look up a tuple, insert a record's two tuples, remove them.
 *
 * Insertion is the only operation that has to check and change atomically (the tuple is absent, then present), so it
 * holds the stripe locks of both tuples' hashes, taken in ascending order as nf_conntrack_double_lock does. Look-up and
 * removal take no lock: look-up reads single words, removal is a compare-and-swap per word. Two workers that insert the
 * same new tuple at the same time therefore end up with one entry: the second one gets the first one's (kubernetes
 * #56903 shows what happens otherwise).
 *
 * Code that holds a stripe lock here must not take another lock, nor call code that does.
 */
import { PROTOCOL_ICMP } from '../protocols.ts';
import { hashWord } from '../shared/hash.ts';
import { lock, unlock } from '../shared/spin-lock.ts';
import { EventKind, isFollowed, publishEvent } from './events.ts';
import { BUCKET_SHIFT, BUCKET_WORDS, type Conntrack, LOCK_MASK, Rec, recordAt, Status } from './record.ts';
import { accountOfRecord } from './shares.ts';

const TAG_MASK = 0xff000000 | 0;
const REFERENCE_MASK = 0x00ffffff;
/** Position of the kind among the key words for hashing; after the longest pair of addresses and ports. */
const KIND_POSITION = 9;
/** Kind of the reply tuple of an ICMP query. */
export const ICMP_ANSWER = 0x101;

export const InsertResult = { INSERTED: 0, ORIGINAL_EXISTS: 1, REPLY_EXISTS: 2, NO_ROOM: 3 } as const;
export type InsertResult = (typeof InsertResult)[keyof typeof InsertResult];

/**
 * What identifies a tuple besides its addresses and ports: the protocol number, except that ICMP replies have a kind of
 * their own. A tuple has room for an identifier and the query's type only. Where these are the same number, the reply
 * tuple of a query from A to B would otherwise equal the original tuple of a query from B to A (linux
 * nf_conntrack_proto_icmp.c stores both types; GHSA-c66w-hq56-4q97).
 * @param direction 0 original, 1 reply
 */
export function tupleKind(protocol: number, direction: number): number {
  return protocol === PROTOCOL_ICMP && direction !== 0 ? ICMP_ANSWER : protocol;
}

/** Keyed hash of a tuple: `words` at `at` holds src, dst, ports. @param kind protocol number, or ICMP_ANSWER */
export function hashTuple(table: Conntrack, words: Int32Array, at: number, kind: number): number {
  const { hash, addressWords } = table;
  let mixed = hashWord(hash, 0, words[at]) ^ hashWord(hash, 1, words[at + 1]) ^ hashWord(hash, 2, words[at + 2]);
  if (addressWords === 4) {
    for (let i = 3; i < 9; i++) mixed ^= hashWord(hash, i, words[at + i]);
  }
  return mixed ^ hash[(KIND_POSITION << 10) + kind];
}

/** The second candidate bucket: a different function of all 32 bits, so that two tuples rarely share both buckets. */
function secondBucket(hash: number): number {
  return Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> 7;
}

function sameTuple(table: Conntrack, reference: number, key: Int32Array): boolean {
  const { words, tupleWords, recordWords, recordsAt } = table;
  const record = recordsAt + (reference >> 1) * recordWords;
  const at = record + Rec.TUPLES + (reference & 1) * tupleWords;
  if (words[at] !== key[0] || words[at + 1] !== key[1] || words[at + 2] !== key[2]) return false;
  for (let i = 3; i < tupleWords; i++) if (words[at + i] !== key[i]) return false;
  const meta = words[record + Rec.META];
  return tupleKind((meta >>> 16) & 0xff, reference & 1) === key[tupleWords] && (meta & Status.DEAD) === 0;
}

/**
 * Find the tuple in `table.key` (src, dst, ports, kind: protocol number, or ICMP_ANSWER).
 * @param hash hashTuple of the key
 * @returns record << 1 | direction, or -1
 */
export function findTuple(table: Conntrack, hash: number): number {
  const { index, bucketMask, key } = table;
  const tag = hash & TAG_MASK;
  let at = (hash & bucketMask) << BUCKET_SHIFT;
  for (let i = 0; i < BUCKET_WORDS; i++) {
    const entry = index[at + i];
    if ((entry & TAG_MASK) === tag && (entry & REFERENCE_MASK) !== 0) {
      const reference = (entry & REFERENCE_MASK) - 1;
      if (sameTuple(table, reference, key)) return reference;
    }
  }
  at = (secondBucket(hash) & bucketMask) << BUCKET_SHIFT;
  for (let i = 0; i < BUCKET_WORDS; i++) {
    const entry = index[at + i];
    if ((entry & TAG_MASK) === tag && (entry & REFERENCE_MASK) !== 0) {
      const reference = (entry & REFERENCE_MASK) - 1;
      if (sameTuple(table, reference, key)) return reference;
    }
  }
  return -1;
}

function loadKey(table: Conntrack, at: number, kind: number): void {
  const { key, words, tupleWords } = table;
  for (let i = 0; i < tupleWords; i++) key[i] = words[at + i];
  key[tupleWords] = kind;
}

function freeInBucket(index: Int32Array, at: number): number {
  let free = 0;
  for (let i = 0; i < BUCKET_WORDS; i++) if (index[at + i] === 0) free++;
  return free;
}

function enter(index: Int32Array, at: number, entry: number): boolean {
  for (let i = 0; i < BUCKET_WORDS; i++) {
    if (index[at + i] === 0 && Atomics.compareExchange(index, at + i, 0, entry) === 0) return true;
  }
  return false;
}

/**
 * Insert a reference into the emptier of its two buckets; prefer the first while it has more than two free words,
 * because it is searched first.
 */
function enterEither(table: Conntrack, hash: number, reference: number): boolean {
  const { index, bucketMask } = table;
  const entry = (hash & TAG_MASK) | (reference + 1);
  const first = (hash & bucketMask) << BUCKET_SHIFT;
  const second = (secondBucket(hash) & bucketMask) << BUCKET_SHIFT;
  const room = freeInBucket(index, first);
  if (room > 2 || room >= freeInBucket(index, second)) return enter(index, first, entry) || enter(index, second, entry);
  return enter(index, second, entry) || enter(index, first, entry);
}

function leave(table: Conntrack, hash: number, reference: number): void {
  const { index, bucketMask } = table;
  const entry = (hash & TAG_MASK) | (reference + 1);
  for (let bucket = 0; bucket < 2; bucket++) {
    const at = ((bucket === 0 ? hash : secondBucket(hash)) & bucketMask) << BUCKET_SHIFT;
    for (let i = 0; i < BUCKET_WORDS; i++) {
      if (index[at + i] === entry && Atomics.compareExchange(index, at + i, entry, 0) === entry) return;
    }
  }
}

/**
 * Insert a filled record under both of its tuples and confirm it. On ORIGINAL_EXISTS or REPLY_EXISTS nothing was
 * inserted and `table.found[0]` is the existing entry.
 * @param owner number of the calling worker
 */
export function insertRecord(table: Conntrack, record: number, owner: number): InsertResult {
  const { words, locks, tupleWords, found } = table;
  const at = recordAt(table, record);
  const protocol = (words[at + Rec.META] >>> 16) & 0xff;
  const original = at + Rec.TUPLES;
  const reply = original + tupleWords;
  const replyKind = tupleKind(protocol, 1);
  const originalHash = hashTuple(table, words, original, protocol);
  const replyHash = hashTuple(table, words, reply, replyKind);
  const one = originalHash & LOCK_MASK;
  const two = replyHash & LOCK_MASK;
  const low = one < two ? one : two;
  const high = one < two ? two : one;

  lock(locks, low, owner);
  if (high !== low) lock(locks, high, owner);
  let result: InsertResult = InsertResult.INSERTED;
  loadKey(table, original, protocol);
  found[0] = findTuple(table, originalHash);
  if (found[0] >= 0) {
    result = InsertResult.ORIGINAL_EXISTS;
  } else {
    loadKey(table, reply, replyKind);
    found[0] = findTuple(table, replyHash);
    if (found[0] >= 0) result = InsertResult.REPLY_EXISTS;
    else if (!enterEither(table, originalHash, record << 1)) result = InsertResult.NO_ROOM;
    else if (!enterEither(table, replyHash, (record << 1) | 1)) {
      leave(table, originalHash, record << 1);
      result = InsertResult.NO_ROOM;
    } else {
      Atomics.or(words, at + Rec.META, Status.CONFIRMED);
      Atomics.add(table.shares, accountOfRecord(table, at), 1);
      if (isFollowed(table)) publishEvent(table, EventKind.NEW, record);
    }
  }
  if (high !== low) unlock(locks, high);
  unlock(locks, low);
  return result;
}

/**
 * Load the reply tuple at words[at] as the key, to look up one destination port after another with `ownerOfPort`.
 * @returns the tuple's hash without its ports
 */
export function loadReplyKey(table: Conntrack, at: number, protocol: number): number {
  const { hash, words, addressWords } = table;
  const kind = tupleKind(protocol, 1);
  loadKey(table, at, kind);
  const position = 2 * addressWords;
  return hashTuple(table, words, at, kind) ^ hashWord(hash, position, words[at + position]);
}

/**
 * Which connection has the key's tuple with these ports? @param base result of loadReplyKey
 * @returns record << 1 | direction, or -1
 */
export function ownerOfPort(table: Conntrack, base: number, ports: number): number {
  const { hash, key, addressWords } = table;
  const position = 2 * addressWords;
  key[position] = ports;
  return findTuple(table, base ^ hashWord(hash, position, ports));
}

/** Is this reply tuple in use? For choosing a source port; `words` at `at` holds src, dst, ports. */
export function tupleInUse(table: Conntrack, words: Int32Array, at: number, protocol: number): boolean {
  const { key, tupleWords } = table;
  const kind = tupleKind(protocol, 1);
  for (let i = 0; i < tupleWords; i++) key[i] = words[at + i];
  key[tupleWords] = kind;
  return findTuple(table, hashTuple(table, words, at, kind)) >= 0;
}

/**
 * Remove a record from the index, so that look-ups no longer find it. Its memory stays on its wheel, which frees it.
 * @returns true only for the caller whose call removed it
 */
export function removeRecord(table: Conntrack, record: number): boolean {
  const { words, tupleWords } = table;
  const at = recordAt(table, record);
  const before = Atomics.or(words, at + Rec.META, Status.DEAD);
  if ((before & Status.DEAD) !== 0 || (before & Status.CONFIRMED) === 0) return false;
  const protocol = (before >>> 16) & 0xff;
  const original = at + Rec.TUPLES;
  leave(table, hashTuple(table, words, original, protocol), record << 1);
  leave(table, hashTuple(table, words, original + tupleWords, tupleKind(protocol, 1)), (record << 1) | 1);
  Atomics.sub(table.shares, accountOfRecord(table, at), 1);
  if (isFollowed(table)) publishEvent(table, EventKind.DESTROY, record);
  return true;
}

/** Insert a record again after the index was cleared (recovery; no other thread is running). */
export function reenterRecord(table: Conntrack, record: number): boolean {
  const { words, tupleWords } = table;
  const at = recordAt(table, record);
  const protocol = (words[at + Rec.META] >>> 16) & 0xff;
  const original = at + Rec.TUPLES;
  const originalHash = hashTuple(table, words, original, protocol);
  if (!enterEither(table, originalHash, record << 1)) return false;
  const replyHash = hashTuple(table, words, original + tupleWords, tupleKind(protocol, 1));
  if (enterEither(table, replyHash, (record << 1) | 1)) return true;
  leave(table, originalHash, record << 1);
  return false;
}
