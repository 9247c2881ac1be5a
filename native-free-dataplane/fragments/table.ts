/**
 * Fragmented datagrams: the ports of the first fragment, by which later fragments find their connection, and copies of
 * fragments that arrived before it. Nothing is reassembled: fragments are forwarded as fragments.
 *
 * Shared by all workers, under one lock. All fragments of a datagram have the same flow hash (linux
 * net/core/flow_dissector.c leaves the ports out of every fragment), but a hash's queue changes to whichever queue last
 * *sent* a frame between the same addresses (drivers/net/tun.c tun_flow_update, tun_automq_select_queue), so a datagram
 * may be split between two workers.
 *
 * Everything is bounded: the number of datagrams (the oldest incomplete one is evicted; a complete one is removed at
 * once), the bytes of copies (new ones overwrite the oldest), 64 ranges per datagram, 30 s per datagram. Each fragment
 * costs one hash chain and two passes over the ranges (FragmentSmack, CVE-2018-5391, was a walk that grew).
 *
 * Overlapping fragments kill the datagram, including fragments still to come (RFC 5722 §4; linux inet_fragment.c does
 * the same for IPv4). A fragment whose bytes have all arrived before is dropped alone (RFC 8200 §4.5, linux
 * IPFRAG_DUP): networks duplicate.
 *
 * Read before editing: RFC 791 §3.2, RFC 815, RFC 1858, RFC 3128, RFC 5722, RFC 6946 (atomic fragments do not enter
 * this table), RFC 4787 REQ-14.
 */
import { expandSecret } from '../shared/hash.ts';
import { HEADER_BYTES, headerMatches, headerSecret, TableKind, writeHeader } from '../shared/layout.ts';
import { lock, unlock } from '../shared/spin-lock.ts';
import { keepCopy, takeCopy, taken } from './copies.ts';
import { Cover, coverRange, isComplete } from './ranges.ts';
import {
  COPY_WORDS,
  clearSlots,
  DEAD,
  disownCopies,
  expire,
  type FragmentMemory,
  type FragmentShape,
  FragmentWord,
  findOrAddSlot,
  findSlotWords,
  forgetSlot,
  GENERATION,
  H_COPIES,
  H_MAX,
  H_RING_BYTES,
  HELD_FIRST,
  KEY_WORDS,
  KNOWN,
  PORTS,
  releaseSlot,
  SEQUENCE,
  STATE,
  shapeOf,
  slotAt,
  WAITING,
} from './slots.ts';

export const FRAGMENTS_LAYOUT = 4;
const DEFAULT_MAX = 1024;
const DEFAULT_HELD_BYTES: number = 4 * 1024 * 1024;
const MAX_DATAGRAM = 65535;

export const FragmentResult = {
  /** Continue: the ports are known (table.fragment.ports), or the first fragment has been recorded. */
  FOUND: 0,
  /** A copy was stored until the first fragment arrives. */
  HELD: 1,
  /** It overlaps others: the whole datagram is dropped. */
  OVERLAP: 2,
  /** Its bytes have arrived before: drop it alone. */
  DUPLICATE: 3,
  /** No room for a copy, or too many separate ranges. */
  FULL: 4,
  /** It ends beyond 65535 bytes. */
  TOO_LONG: 5,
  /** Empty, or not the last and not a multiple of eight bytes. */
  MALFORMED: 6,
} as const;
export type FragmentResult = (typeof FragmentResult)[keyof typeof FragmentResult];

/** What a fragment table is laid out for; by default 1024 datagrams and 4 MiB of copies. */
export interface FragmentOptions {
  /** Maximum number of fragmented datagrams. */
  readonly maxDatagrams?: number;
  /** Maximum bytes of copies. */
  readonly heldBytes?: number;
  readonly secret: Int32Array;
}

/** The fragment being processed by a thread; filled before each call, together with the key of its datagram. */
export interface Fragment {
  /** Its range of the datagram's payload: [from, to); 0 is the first fragment's `from`. */
  from: number;
  to: number;
  /** 0 for the last fragment. */
  more: number;
  /** Later fragments only: the frame is bytes[start, end); `tag` is stored with the copy if the result is HELD. */
  start: number;
  end: number;
  tag: number;
  /** Later fragments only: 1 to store a copy if the first fragment is missing, and to record nothing otherwise. */
  holds: number;
  /** Source port << 16 | destination port. Input for a first fragment, output for a later one if FOUND. */
  ports: number;
  /**
   * TCP: chosen so that byte n of the datagram's payload ends at `sequence` + n. Other protocols: the kind of tuple
   * that the ports belong to. Input and output as `ports`.
   */
  sequence: number;
}

/** Shared memory, and the state private to this thread. */
export interface FragmentTable extends FragmentMemory {
  readonly fragment: Fragment;
  /**
   * Datagram whose copies this thread is releasing, -1 = none; `releasing` is 1 while one of them is being forwarded.
   */
  ready: number;
  readyGeneration: number;
  readyPorts: number;
  readySequence: number;
  releasing: number;
  /** Tag of the last copy taken. */
  tag: number;
}

/** Bytes of memory a table takes; parts never touched cost no physical memory. */
export function fragmentsBytes(options: Omit<FragmentOptions, 'secret'> = {}): number {
  return shapeOf(options.maxDatagrams ?? DEFAULT_MAX, options.heldBytes ?? DEFAULT_HELD_BYTES).totalWords * 4;
}

function open(buffer: ArrayBuffer, shape: FragmentShape): FragmentTable {
  const words = new Int32Array(buffer, 0, shape.totalWords);
  return {
    max: shape.max,
    copies: shape.copies,
    headMask: shape.heads - 1,
    hash: expandSecret(headerSecret(words)),
    words,
    ring: new Uint8Array(buffer, (shape.copiesAt + shape.copies * COPY_WORDS) * 4, shape.ringBytes),
    slotsAt: shape.slotsAt,
    copiesAt: shape.copiesAt,
    key: new Int32Array(KEY_WORDS),
    abandoned: 0,
    fragment: { from: 0, to: 0, more: 0, start: 0, end: 0, tag: 0, holds: 0, ports: 0, sequence: 0 },
    ready: -1,
    readyGeneration: 0,
    readyPorts: 0,
    readySequence: 0,
    releasing: 0,
    tag: 0,
  };
}

/** Lay out an empty table in zeroed memory. @param buffer at least fragmentsBytes(options) bytes */
export function createFragments(buffer: ArrayBuffer, options: FragmentOptions): FragmentTable {
  const shape = shapeOf(options.maxDatagrams ?? DEFAULT_MAX, options.heldBytes ?? DEFAULT_HELD_BYTES);
  const words = new Int32Array(buffer);
  words[H_MAX] = shape.max;
  words[H_COPIES] = shape.copies;
  words[H_RING_BYTES] = shape.ringBytes;
  writeHeader(words, TableKind.FRAGMENTS, FRAGMENTS_LAYOUT, options.secret);
  const table = open(buffer, shape);
  clearSlots(table);
  return table;
}

/** Map a table that another thread or process created. Undefined if the memory does not hold one of this layout. */
export function attachFragments(buffer: ArrayBuffer): FragmentTable | undefined {
  if (buffer.byteLength < HEADER_BYTES) return undefined;
  const words = new Int32Array(buffer, 0, buffer.byteLength >> 2);
  if (!headerMatches(words, TableKind.FRAGMENTS, FRAGMENTS_LAYOUT)) return undefined;
  const shape = shapeOf(words[H_MAX], words[H_RING_BYTES]);
  return buffer.byteLength < shape.totalWords * 4 ? undefined : open(buffer, shape);
}

/**
 * Release the lock if a crashed worker thread held it. The update may be half done, so the table is cleared: the
 * datagrams in it are lost, as packets may be.
 */
export function releaseFragmentLock(table: FragmentTable, worker: number): void {
  const { words } = table;
  if (Atomics.load(words, FragmentWord.LOCK) !== worker + 1) return;
  words.fill(0, FragmentWord.LOCK + 1, table.copiesAt + table.copies * COPY_WORDS);
  clearSlots(table);
  unlock(words, FragmentWord.LOCK);
}

function wellFormed({ from, to, more }: Fragment): FragmentResult {
  if (to <= from || (more !== 0 && ((to - from) & 7) !== 0)) return FragmentResult.MALFORMED;
  return to > MAX_DATAGRAM ? FragmentResult.TOO_LONG : FragmentResult.FOUND;
}

/**
 * The first fragment (table.fragment) of the datagram in `table.key`, whose connection is known. takeHeld then returns
 * the copies that waited for it.
 * @param owner number of the calling worker
 */
export function fragmentFirst(table: FragmentTable, owner: number, nowMs: number): FragmentResult {
  const formed = wellFormed(table.fragment);
  // An atomic fragment is a whole datagram: it never matches others with its identification (RFC 6946 §4).
  if (formed !== FragmentResult.FOUND || table.fragment.more === 0) return formed;
  lock(table.words, FragmentWord.LOCK, owner);
  const result = first(table, nowMs);
  unlock(table.words, FragmentWord.LOCK);
  return result;
}

function first(table: FragmentTable, nowMs: number): FragmentResult {
  const { words, fragment } = table;
  const slot = findOrAddSlot(table, nowMs | 0);
  const at = slotAt(table, slot);
  const covered = cover(table, at);
  if (covered !== FragmentResult.FOUND) return covered;
  words[at + PORTS] = fragment.ports;
  words[at + SEQUENCE] = fragment.sequence;
  words[at + STATE] = KNOWN;
  if (words[at + HELD_FIRST] !== 0) {
    table.ready = slot;
    table.readyGeneration = words[at + GENERATION];
    table.readyPorts = fragment.ports;
    table.readySequence = fragment.sequence;
  } else if (isComplete(words, at)) releaseSlot(table, slot);
  return FragmentResult.FOUND;
}

/**
 * Remove the datagram in `table.key`, with the fragments held for it: its first fragment was dropped after all.
 * @param owner number of the calling worker
 */
export function fragmentForget(table: FragmentTable, owner: number): void {
  lock(table.words, FragmentWord.LOCK, owner);
  forgetSlot(table);
  table.ready = -1;
  unlock(table.words, FragmentWord.LOCK);
}

/**
 * Read the ports and sequence of the datagram in `table.key` into table.fragment, without recording a fragment.
 * @returns false if its first fragment has not been recorded
 */
export function fragmentPorts(table: FragmentTable, owner: number, nowMs: number): boolean {
  const { words, fragment } = table;
  if (table.releasing !== 0) {
    fragment.ports = table.readyPorts;
    fragment.sequence = table.readySequence;
    return true;
  }
  lock(words, FragmentWord.LOCK, owner);
  expire(table, nowMs | 0);
  const at = findSlotWords(table);
  const known = at >= 0 && words[at + STATE] === KNOWN;
  if (known) {
    fragment.ports = words[at + PORTS];
    fragment.sequence = words[at + SEQUENCE];
  }
  unlock(words, FragmentWord.LOCK);
  return known;
}

/**
 * A later fragment (table.fragment) of the datagram in `table.key`.
 * @param bytes the buffer that holds its frame
 * @returns FOUND with the fragment's ports and sequence set, HELD, or the reason to drop it
 */
export function fragmentLater(table: FragmentTable, owner: number, nowMs: number, bytes: Uint8Array): FragmentResult {
  const { fragment } = table;
  if (table.releasing !== 0) {
    // One of our own copies, being forwarded now.
    fragment.ports = table.readyPorts;
    fragment.sequence = table.readySequence;
    return FragmentResult.FOUND;
  }
  const formed = wellFormed(fragment);
  if (formed !== FragmentResult.FOUND) return formed;
  lock(table.words, FragmentWord.LOCK, owner);
  const result = later(table, nowMs, bytes);
  unlock(table.words, FragmentWord.LOCK);
  return result;
}

function later(table: FragmentTable, nowMs: number, bytes: Uint8Array): FragmentResult {
  const { words, fragment } = table;
  const slot = findOrAddSlot(table, nowMs | 0);
  const at = slotAt(table, slot);
  if (fragment.holds !== 0 && words[at + STATE] === KNOWN) {
    fragment.ports = words[at + PORTS];
    fragment.sequence = words[at + SEQUENCE];
    return FragmentResult.FOUND;
  }
  const covered = cover(table, at);
  if (covered !== FragmentResult.FOUND) return covered;
  if (words[at + STATE] === WAITING) {
    const kept = keepCopy(table, slot, bytes, fragment.start, fragment.end, fragment.tag);
    return kept ? FragmentResult.HELD : FragmentResult.FULL;
  }
  fragment.ports = words[at + PORTS];
  fragment.sequence = words[at + SEQUENCE];
  if (words[at + HELD_FIRST] === 0 && isComplete(words, at)) releaseSlot(table, slot);
  return FragmentResult.FOUND;
}

/** Remove expired datagrams. @param owner number of the calling worker */
export function expireFragments(table: FragmentTable, owner: number, nowMs: number): void {
  if (table.words[FragmentWord.COUNT] === 0) return;
  lock(table.words, FragmentWord.LOCK, owner);
  expire(table, nowMs | 0);
  unlock(table.words, FragmentWord.LOCK);
}

/** Record the byte range of table.fragment for the slot at word `at`; FOUND if it is new. */
function cover(table: FragmentTable, at: number): FragmentResult {
  const { words, fragment } = table;
  const { from, to, more } = fragment;
  if (words[at + STATE] === DEAD) return FragmentResult.OVERLAP;
  const covered = coverRange(words, at, from, to, more);
  if (covered === Cover.NEW) return FragmentResult.FOUND;
  if (covered === Cover.DUPLICATE) return FragmentResult.DUPLICATE;
  words[at + STATE] = DEAD;
  disownCopies(table, at);
  return covered === Cover.OVERLAP ? FragmentResult.OVERLAP : FragmentResult.FULL;
}

/**
 * After fragmentFirst: move the next copy that waited for it to bytes[at…).
 * @returns its length, its tag in table.tag; 0 if none is left
 */
export function takeHeld(table: FragmentTable, owner: number, bytes: Uint8Array, at: number): number {
  if (table.ready < 0) return 0;
  const { words } = table;
  const slot = table.ready;
  const slotWords = slotAt(table, slot);
  lock(words, FragmentWord.LOCK, owner);
  let length = 0;
  if (words[slotWords + STATE] === KNOWN && words[slotWords + GENERATION] === table.readyGeneration) {
    length = takeCopy(table, slot, bytes, at);
    if (length === 0 && isComplete(words, slotWords)) releaseSlot(table, slot);
  }
  unlock(words, FragmentWord.LOCK);
  table.releasing = length === 0 ? 0 : 1;
  if (length === 0) table.ready = -1;
  else table.tag = taken.tag;
  return length;
}
