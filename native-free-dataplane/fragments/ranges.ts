/**
 * Which bytes of a datagram have arrived: at most 64 ranges; adjacent ranges are merged. One word each: the first byte
 * in units of eight (13 bits), one past the last byte (17 bits). Called with the table's lock held.
 */
import { COVERED, END, LOST, MAX_RANGES, RANGE_COUNT, RANGES, TOTAL } from './slots.ts';

export const Cover = {
  NEW: 0,
  /**
   * All of its bytes arrived before: a duplicate made by the network; drop this fragment only (RFC 8200 §4.5, linux
   * IPFRAG_DUP).
   */
  DUPLICATE: 1,
  /** It overlaps others, or contradicts the datagram's end: drop the whole datagram (RFC 5722 §4). */
  OVERLAP: 2,
  /** The datagram has more separate ranges than are kept. */
  TOO_MANY: 3,
} as const;
export type Cover = (typeof Cover)[keyof typeof Cover];

const END_BITS = 17;
const END_MASK: number = (1 << END_BITS) - 1;

function rangeOf(from: number, to: number): number {
  return ((from >> 3) << END_BITS) | to;
}

const fromOf = (range: number): number => (range >>> END_BITS) << 3;
const toOf = (range: number): number => range & END_MASK;

/**
 * Record bytes [from, to) of the datagram whose slot is at words[at]. @param more 0 for the datagram's last fragment
 */
export function coverRange(words: Int32Array, at: number, from: number, to: number, more: number): Cover {
  const base = at + RANGES;
  const count = words[at + RANGE_COUNT];
  for (let i = base; i < base + count; i++) {
    const range = words[i];
    if (from >= toOf(range) || to <= fromOf(range)) continue;
    return from >= fromOf(range) && to <= toOf(range) ? Cover.DUPLICATE : Cover.OVERLAP;
  }
  // Two different ends, or bytes beyond the end (linux ip_frag_queue).
  const total = words[at + TOTAL];
  if (total !== 0 ? to > total || (more === 0 && to !== total) : more === 0 && to < words[at + END])
    return Cover.OVERLAP;

  let joined = -1;
  for (let i = base; i < base + words[at + RANGE_COUNT]; i++) {
    const range = words[i];
    if (toOf(range) !== from && fromOf(range) !== to) continue;
    if (joined < 0) {
      words[i] = toOf(range) === from ? rangeOf(fromOf(range), to) : rangeOf(from, toOf(range));
      joined = i;
      continue;
    }
    // It closes the gap between two ranges: merge them.
    const first = words[joined];
    words[joined] =
      toOf(first) === fromOf(range) ? rangeOf(fromOf(first), toOf(range)) : rangeOf(fromOf(range), toOf(first));
    words[i] = words[base + --words[at + RANGE_COUNT]];
    break;
  }
  if (joined < 0) {
    if (count === MAX_RANGES) return Cover.TOO_MANY;
    words[base + count] = rangeOf(from, to);
    words[at + RANGE_COUNT] = count + 1;
  }
  words[at + COVERED] += to - from;
  if (more === 0) words[at + TOTAL] = to;
  if (to > words[at + END]) words[at + END] = to;
  return Cover.NEW;
}

/** Have all bytes arrived, with no copy lost? */
export function isComplete(words: Int32Array, at: number): boolean {
  return words[at + TOTAL] !== 0 && words[at + COVERED] === words[at + TOTAL] && words[at + LOST] === 0;
}
