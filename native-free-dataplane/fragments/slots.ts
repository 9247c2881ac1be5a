/**
 * Memory of the fragment table: one slot per fragmented datagram, found by a keyed hash and linked in order of age.
 * FragmentWord.LOCK guards every word after the header; everything here is called with it held (table.ts), except on a
 * table that is being created.
 *
 *   header · state words · hash heads · slots (96 words each) · copies (8 words each) · ring of copied bytes
 *
 * A slot is FREE, WAITING (first fragment not seen), KNOWN (ports valid) or DEAD (fragments overlapped: later fragments
 * are dropped too). GENERATION changes whenever a slot gives up its copies, so copies need not be unlinked.
 */
import { type HashTables, hashWord } from '../shared/hash.ts';
import { H_OWN, HEADER_WORDS } from '../shared/layout.ts';

/** Source and destination (four words each), identification, protocol and family. */
export const KEY_WORDS = 10;

/** Words of the table's state, after the 32 of the header. */
export const FragmentWord = {
  LOCK: 32,
  FREE: 33,
  OLDEST: 34,
  NEWEST: 35,
  /** Datagrams in the table. */
  COUNT: 36,
  /** Oldest copy and number of copies; where the next goes in the ring. */
  COPY_OLDEST: 37,
  COPY_COUNT: 38,
  RING_WRITE: 39,
  /** Datagrams evicted for newer ones; datagrams that timed out; copies overwritten by newer ones. */
  EVICTED: 40,
  TIMED_OUT: 41,
  OVERWRITTEN: 42,
} as const;
const STATE_WORDS = 32;
const HEADS_AT: number = HEADER_WORDS + STATE_WORDS;

export const H_MAX: number = H_OWN;
export const H_COPIES: number = H_OWN + 1;
export const H_RING_BYTES: number = H_OWN + 2;

/** Words of a slot, after its key. */
export const STATE = 10;
export const PORTS = 11;
const EXPIRES = 12;
/** Payload bytes of the whole datagram, 0 until the last fragment arrives; the highest end so far. */
export const TOTAL = 13;
export const END = 14;
export const COVERED = 15;
const NEXT = 16;
const OLDER = 17;
const NEWER = 18;
export const RANGE_COUNT = 19;
export const HELD_FIRST = 20;
export const HELD_LAST = 21;
export const GENERATION = 22;
/** Not 0 once a copy was overwritten: the datagram can no longer be completed here. */
export const LOST = 23;
/** TCP only: the sequence number of the datagram's first payload byte, as if the TCP header consumed sequence space. */
export const SEQUENCE = 24;
/** Copies that are held. */
export const HELD_COUNT = 26;
export const RANGES = 32;
export const MAX_RANGES = 64;
const SLOT_WORDS: number = RANGES + MAX_RANGES;

/** Words of a copy (copies.ts). */
export const COPY_WORDS = 8;

const FREE = 0;
export const WAITING = 1;
export const KNOWN = 2;
export const DEAD = 3;

/** RFC 791 suggests at least 15 s; linux net.ipv4.ipfrag_time is 30. */
const TIMEOUT_MS = 30_000;
/** Expired datagrams removed per call. */
const EXPIRE_BUDGET = 4;

/** Sizes the array of copies: it has room for this many bytes per copy. */
const SHORTEST_COPY = 256;

/** The layout, as word offsets from the start. */
export interface FragmentShape {
  max: number;
  ringBytes: number;
  copies: number;
  heads: number;
  slotsAt: number;
  copiesAt: number;
  totalWords: number;
}

/** The layout of a table for `max` datagrams and `heldBytes` bytes of copies. */
export function shapeOf(max: number, heldBytes: number): FragmentShape {
  const ringBytes = (heldBytes + 3) & ~3;
  const copies = Math.max(16, Math.ceil(ringBytes / SHORTEST_COPY));
  let heads = 64;
  while (heads < max * 2) heads *= 2;
  const slotsAt = HEADS_AT + heads;
  const copiesAt = slotsAt + max * SLOT_WORDS;
  return {
    max,
    ringBytes,
    copies,
    heads,
    slotsAt,
    copiesAt,
    totalWords: copiesAt + copies * COPY_WORDS + (ringBytes >> 2),
  };
}

/** The part of the table that copies.ts and ranges.ts use; table.ts has the rest. */
export interface FragmentMemory {
  readonly max: number;
  readonly copies: number;
  readonly headMask: number;
  readonly hash: HashTables;
  readonly words: Int32Array;
  readonly ring: Uint8Array;
  readonly slotsAt: number;
  readonly copiesAt: number;
  /** The datagram to look up; filled by the caller, private to this thread. */
  readonly key: Int32Array;
  /** Copies given up by this thread that have not been counted yet. */
  abandoned: number;
}

/** First word of a slot. */
export function slotAt(table: FragmentMemory, slot: number): number {
  return table.slotsAt + slot * SLOT_WORDS;
}

function headOf(table: FragmentMemory, words: Int32Array, at: number): number {
  let mixed = 0;
  for (let i = 0; i < KEY_WORDS; i++) mixed ^= hashWord(table.hash, i, words[at + i]);
  return HEADS_AT + (mixed & table.headMask);
}

/** Put all slots on the free list. The memory is zeroed. */
export function clearSlots(table: FragmentMemory): void {
  const { words, max } = table;
  for (let slot = 0; slot < max; slot++) words[slotAt(table, slot) + NEXT] = slot + 2 <= max ? slot + 2 : 0;
  words[FragmentWord.FREE] = 1;
}

/** The slot of the datagram in `table.key`, a new one if necessary; if all are taken, the oldest is evicted. */
export function findOrAddSlot(table: FragmentMemory, nowMs: number): number {
  const { words, key } = table;
  expire(table, nowMs);
  const head = headOf(table, key, 0);
  const slot = findSlot(table, head);
  if (slot >= 0) {
    if (((words[slotAt(table, slot) + EXPIRES] - nowMs) | 0) > 0) return slot;
    words[FragmentWord.TIMED_OUT]++;
    releaseSlot(table, slot);
  }
  return addSlot(table, head, nowMs);
}

/** Remove the datagram in `table.key`, if it is in the table. */
export function forgetSlot(table: FragmentMemory): void {
  const slot = findSlot(table, headOf(table, table.key, 0));
  if (slot >= 0) releaseSlot(table, slot);
}

/** First word of the slot of the datagram in `table.key`; -1 if it is not in the table. */
export function findSlotWords(table: FragmentMemory): number {
  const slot = findSlot(table, headOf(table, table.key, 0));
  return slot < 0 ? -1 : slotAt(table, slot);
}

/** The slot of the datagram in `table.key`, whose chain begins at words[head]; -1 if it is not in the table. */
function findSlot(table: FragmentMemory, head: number): number {
  const { words, key } = table;
  for (let link = words[head]; link !== 0; link = words[slotAt(table, link - 1) + NEXT]) {
    if (sameKey(words, slotAt(table, link - 1), key)) return link - 1;
  }
  return -1;
}

function sameKey(words: Int32Array, at: number, key: Int32Array): boolean {
  for (let i = 0; i < KEY_WORDS; i++) if (words[at + i] !== key[i]) return false;
  return true;
}

function addSlot(table: FragmentMemory, head: number, nowMs: number): number {
  const { words, key } = table;
  if (words[FragmentWord.FREE] === 0) {
    words[FragmentWord.EVICTED]++;
    releaseSlot(table, words[FragmentWord.OLDEST] - 1);
  }
  const slot = words[FragmentWord.FREE] - 1;
  const at = slotAt(table, slot);
  words[FragmentWord.FREE] = words[at + NEXT];
  for (let i = 0; i < KEY_WORDS; i++) words[at + i] = key[i];
  words[at + STATE] = WAITING;
  words[at + EXPIRES] = (nowMs + TIMEOUT_MS) | 0;
  words[at + TOTAL] = 0;
  words[at + END] = 0;
  words[at + COVERED] = 0;
  words[at + RANGE_COUNT] = 0;
  words[at + LOST] = 0;
  words[at + NEXT] = words[head];
  words[head] = slot + 1;
  const newest = words[FragmentWord.NEWEST];
  words[at + OLDER] = newest;
  words[at + NEWER] = 0;
  if (newest === 0) words[FragmentWord.OLDEST] = slot + 1;
  else words[slotAt(table, newest - 1) + NEWER] = slot + 1;
  words[FragmentWord.NEWEST] = slot + 1;
  words[FragmentWord.COUNT]++;
  return slot;
}

/** Remove some expired datagrams. All have the same lifetime, so the oldest expires first. */
export function expire(table: FragmentMemory, nowMs: number): void {
  const { words } = table;
  for (let budget = EXPIRE_BUDGET; budget > 0; budget--) {
    const oldest = words[FragmentWord.OLDEST];
    if (oldest === 0 || ((words[slotAt(table, oldest - 1) + EXPIRES] - nowMs) | 0) > 0) return;
    words[FragmentWord.TIMED_OUT]++;
    releaseSlot(table, oldest - 1);
  }
}

/** Remove a datagram and give up its copies. */
export function releaseSlot(table: FragmentMemory, slot: number): void {
  const { words } = table;
  const at = slotAt(table, slot);
  const head = headOf(table, words, at);
  if (words[head] === slot + 1) words[head] = words[at + NEXT];
  else {
    let before = slotAt(table, words[head] - 1);
    while (words[before + NEXT] !== slot + 1) before = slotAt(table, words[before + NEXT] - 1);
    words[before + NEXT] = words[at + NEXT];
  }
  const older = words[at + OLDER];
  const newer = words[at + NEWER];
  if (older === 0) words[FragmentWord.OLDEST] = newer;
  else words[slotAt(table, older - 1) + NEWER] = newer;
  if (newer === 0) words[FragmentWord.NEWEST] = older;
  else words[slotAt(table, newer - 1) + OLDER] = older;
  words[at + STATE] = FREE;
  disownCopies(table, at);
  words[at + NEXT] = words[FragmentWord.FREE];
  words[FragmentWord.FREE] = slot + 1;
  words[FragmentWord.COUNT]--;
}

/** Give up the copies of the slot at words[at]: its new generation invalidates them. */
export function disownCopies(table: FragmentMemory, at: number): void {
  const { words } = table;
  table.abandoned += words[at + HELD_COUNT];
  words[at + HELD_COUNT] = 0;
  words[at + GENERATION] = (words[at + GENERATION] + 1) | 0;
  words[at + HELD_FIRST] = 0;
  words[at + HELD_LAST] = 0;
}
