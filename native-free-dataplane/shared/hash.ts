/**
 * Keyed hashing of tuples: simple tabulation.
 *
 * One table of 256 random words per key byte; the hash is the exclusive-or of the entries. For multiply-and-shift
 * mixes, collisions can be found without knowing the seed (a difference in the top bit survives every odd multiplier,
 * so the next word can cancel it). Here nothing about a collision can be predicted without the tables, and simple
 * tabulation is proven sufficient for linear probing and two-choice tables (Patrascu and Thorup, "The Power of Simple
 * Tabulation Hashing", 2011). The tables are expanded from a per-boot secret: see CVE-2003-0244 for the attack on an
 * unkeyed hash.
 */

/** Bytes of the longest key: two 16-byte addresses, two ports, protocol, zone. */
const MAX_KEY_BYTES = 40;

/** 256 words for each key byte position. */
export type HashTables = Int32Array;

/**
 * Expand a secret into tabulation tables (40 KiB), once per thread at start.
 * @param secret four int32 words
 */
export function expandSecret(secret: Int32Array): HashTables {
  // xoshiro128** (Blackman, Vigna): public-domain algorithm, written here from its description.
  let a = secret[0] | 0;
  let b = secret[1] | 0;
  let c = secret[2] | 0;
  let d = secret[3] | 1;
  const tables = new Int32Array(MAX_KEY_BYTES * 256);
  for (let i = -64; i < tables.length; i++) {
    const five = Math.imul(b, 5);
    const result = Math.imul((five << 7) | (five >>> 25), 9);
    const t = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= t;
    d = (d << 11) | (d >>> 21);
    if (i >= 0) tables[i] = result;
  }
  return tables;
}

/** Contribution of one key word. @param position the word's index in the key, 0..9 */
export function hashWord(tables: HashTables, position: number, word: number): number {
  const at = position << 10;
  return (
    tables[at + (word & 0xff)] ^
    tables[at + 256 + ((word >>> 8) & 0xff)] ^
    tables[at + 512 + ((word >>> 16) & 0xff)] ^
    tables[at + 768 + (word >>> 24)]
  );
}

/**
 * Contribution of an address, four words, IPv4 mapped. Mapped addresses differ only in the last word, so only that is
 * hashed: 4 loads instead of 16, and addresses of one family collide no more often than by chance.
 * @param position of its first word in the key
 */
export function hashAddress(tables: HashTables, position: number, a: number, b: number, c: number, d: number): number {
  const last = hashWord(tables, position + 3, d);
  if (c === 0xffff && (a | b) === 0) return last;
  return hashWord(tables, position, a) ^ hashWord(tables, position + 1, b) ^ hashWord(tables, position + 2, c) ^ last;
}

/** Contribution of a one-byte key word, 0..255. */
export function hashByte(tables: HashTables, position: number, byte: number): number {
  return tables[(position << 10) + byte];
}
