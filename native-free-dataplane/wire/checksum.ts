/**
 * The Internet checksum: full sums, and updates by difference that never read the packet.
 *
 * A *sum* is the one's-complement sum of big-endian 16-bit words before folding, up to 2^53. A *finished* checksum is
 * the complement of the folded sum, as stored in a packet. A *partial* or *pending* one (NEEDS_CSUM) is the folded sum
 * of the pseudo-header alone, not complemented: the receiver of the frame adds the transport header and the payload,
 * and finishes it (linux include/linux/skbuff.h, CHECKSUM_PARTIAL).
 *
 * Read before editing: RFC 1071 §1 and §2, RFC 1624 §3 and §4, RFC 768, RFC 8200 §8.1.
 */

/**
 * Sum of 16-bit words of `view` from `from` up to `to` (exclusive), added to `sum`. Any offset, any length; an odd
 * last byte counts as the high half of a word, so only the last of several chained ranges may be odd.
 *
 * Words are read little-endian, four bytes at a time, into doubles, and the bytes are swapped once at the end: the
 * one's-complement sum does not depend on byte order (RFC 1071 §2(B)). 1472 bytes take 163 ns; with int32 halves 237 ns
 * (V8 11.3).
 */
export function sumBytes(view: DataView, from: number, to: number, sum: number): number {
  let at = from;
  let even = 0.0;
  let odd = 0.0;
  for (const last = to - 15; at < last; at += 16) {
    even += view.getUint32(at, true);
    odd += view.getUint32(at + 4, true);
    even += view.getUint32(at + 8, true);
    odd += view.getUint32(at + 12, true);
  }
  for (const last = to - 3; at < last; at += 4) even += view.getUint32(at, true);
  if (to - at > 1) {
    odd += view.getUint16(at, true);
    at += 2;
  }
  if (at < to) odd += view.getUint8(at);
  const folded = fold16(even + odd);
  return sum + (((folded & 0xff) << 8) | (folded >>> 8));
}

/** A sum folded to 16 bits, not complemented: 0..0xffff, and 0 only for a sum of 0. */
export function fold16(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x10000);
  return folded;
}

/**
 * The finished checksum of a sum, 0..0xffff. Over data that holds its own valid checksum it is 0.
 * A UDP caller stores 0 as 0xffff (RFC 768).
 */
export function finishChecksum(sum: number): number {
  return ~fold16(sum) & 0xffff;
}

/** fold16 for sums below 2^32. */
function foldSmall(sum: number): number {
  const once = (sum & 0xffff) + (sum >>> 16);
  return (once & 0xffff) + (once >>> 16);
}

/**
 * Internet checksum after one 16-bit word changed, without reading the packet.
 * @param field finished checksum from the packet, 0..0xffff (for a pending one see applyPartialDifference)
 * @param from,to the old and the new word, 0..0xffff
 * @returns the new field, 0..0xffff; a UDP caller stores 0 as 0xffff (RFC 768). Never throws.
 * @see RFC 1624 §3, equation 3. Vector (§4): (0xdd2f, 0x5555, 0x3285) → 0x0000.
 */
export function updateChecksum16(field: number, from: number, to: number): number {
  return applyDifference(field, difference16(from, to));
}

/**
 * What replacing a 32-bit word adds to a sum. Differences can be added, so several changed words need one fold.
 * @param from,to int32 or uint32
 * @returns a small sum, not folded, for applyDifference and applyPartialDifference
 */
export function difference32(from: number, to: number): number {
  return (~from & 0xffff) + (~from >>> 16) + (to & 0xffff) + (to >>> 16);
}

/** The same for a 16-bit word, 0..0xffff. */
export function difference16(from: number, to: number): number {
  return (~from & 0xffff) + to;
}

/** Update a finished checksum by the sum of the differences of all changed words (RFC 1624 §3, equation 3). */
export function applyDifference(field: number, difference: number): number {
  return ~foldSmall((~field & 0xffff) + difference) & 0xffff;
}

/**
 * Update a pending checksum (NEEDS_CSUM) by the sum of the differences of the pseudo-header's changed words. Ports must
 * not be included: they are part of the transport header, which is added when the checksum is finished.
 */
export function applyPartialDifference(field: number, difference: number): number {
  return foldSmall(field + difference);
}
