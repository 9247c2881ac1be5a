/** How the memory of the fragment table is divided up: hash heads, slots, copies, the ring of copied bytes. */
import { COPY_WORDS } from './copies.ts';
import { HEADS_AT, SLOT_WORDS } from './slots.ts';

/** Copies are counted as if none were shorter than this. */
const SHORTEST_COPY = 256;

/** Where everything is, in words from the start. */
export interface FragmentShape {
  max: number;
  ringBytes: number;
  copies: number;
  heads: number;
  slotsAt: number;
  copiesAt: number;
  totalWords: number;
}

/** The layout of a table for so many datagrams and so many bytes of copies. */
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
