/** The sum of the Internet checksum, computed in the simplest way, as a reference for the fast one. */

/** Byte pairs of bytes[from, to), folded at every step. */
export function naiveSum(bytes: Uint8Array, from: number, to: number, sum: number): number {
  let folded = sum % 0xffff || (sum === 0 ? 0 : 0xffff);
  for (let at = from; at < to; at += 2) {
    folded += ((bytes[at] ?? 0) << 8) | (at + 1 < to ? (bytes[at + 1] ?? 0) : 0);
    if (folded > 0xffff) folded -= 0xffff;
  }
  return folded;
}
