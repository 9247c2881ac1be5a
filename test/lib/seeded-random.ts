/** Reproducible random numbers: a failing test prints its seed and can be run again. */

export interface Random {
  /** Uint32. */
  word(): number;
  /** Whole number below `limit`. */
  below(limit: number): number;
  /** So many random bytes. */
  bytes(count: number): Uint8Array;
}

/** One of the values. */
export function pick<T>(random: Random, values: ArrayLike<T>): T {
  return values[random.below(values.length)] as T;
}

/** Mulberry32: 32 bits of state, good enough for test data. */
export function seededRandom(seed: number): Random {
  let state = seed | 0;
  const word = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  return {
    word,
    below: (limit) => word() % limit,
    bytes: (count) => Uint8Array.from({ length: count }, () => word() & 0xff),
  };
}
