/** Hash tables within an image of the policy table, as its writer changes them; read by lookup.ts. */

export interface SlotTable {
  readonly words: Int32Array;
  /** First word of the first slot. */
  readonly slotsAt: number;
  /** Number of slots, a power of two, minus 1. */
  readonly mask: number;
  readonly slotWords: number;
  /** The word of a slot that is 0 while it is free. */
  readonly inUse: number;
  /** Hash of the slot whose first word is at `at`. */
  hashAt(at: number): number;
}

const slotAt = ({ slotsAt, slotWords }: SlotTable, i: number): number => slotsAt + i * slotWords;

/** First word of a free slot for an entry with this hash. There must be one. */
export function freeSlot(table: SlotTable, hash: number): number {
  const { words, mask, inUse } = table;
  let i = hash & mask;
  while (words[slotAt(table, i) + inUse] !== 0) i = (i + 1) & mask;
  return slotAt(table, i);
}

/**
 * Free the slot at `at`. Entries behind it that are not in their first place move up, so that a search still ends at the
 * first free slot.
 */
export function removeSlot(table: SlotTable, at: number): void {
  const { words, mask, slotWords, inUse, slotsAt } = table;
  let hole = (at - slotsAt) / slotWords;
  for (let i = (hole + 1) & mask; words[slotAt(table, i) + inUse] !== 0; i = (i + 1) & mask) {
    const distance = (i - table.hashAt(slotAt(table, i))) & mask;
    if (distance < ((i - hole) & mask)) continue;
    words.copyWithin(slotAt(table, hole), slotAt(table, i), slotAt(table, i + 1));
    hole = i;
  }
  words.fill(0, slotAt(table, hole), slotAt(table, hole + 1));
}
