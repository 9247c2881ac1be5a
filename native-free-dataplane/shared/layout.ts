/**
 * The header of every shared table: kind, layout version, and the secret that keys its hashes.
 *
 * Tables live in memory that other threads and processes map. Before using it they check magic, kind and version; a
 * table of another version is created anew, never reinterpreted. Words are host-endian int32: the memory never leaves
 * the machine.
 */

/** 'dpl1' as an int32. */
const MAGIC = 0x64706c31;

export const HEADER_WORDS = 32;
export const HEADER_BYTES: number = HEADER_WORDS * 4;

const H_MAGIC = 0;
const H_KIND = 1;
const H_VERSION = 2;
/** Words 4..7: the per-boot secret (128 bits) from which hash tables are expanded. */
const H_SECRET = 4;
/** Words 8..31 are for the table's own use. */
export const H_OWN = 8;

/** Maximum number of worker threads per node: tables with per-worker words are sized for this many. */
export const MAX_WORKERS = 16;

export const TableKind = {
  CONNTRACK: 1,
  SERVICES: 2,
  ROUTES: 3,
  COUNTERS: 4,
  CONTROL: 5,
  FRAGMENTS: 6,
  POLICIES: 7,
  CAPTURE: 8,
} as const;
export type TableKind = (typeof TableKind)[keyof typeof TableKind];

/**
 * Write the common header. The magic word is stored last, so that an incomplete table is never taken for a complete
 * one.
 * @param words the table's memory from its first byte
 * @param secret four random int32 words, drawn once per boot of the node
 */
export function writeHeader(words: Int32Array, kind: TableKind, version: number, secret: Int32Array): void {
  words[H_KIND] = kind;
  words[H_VERSION] = version;
  for (let i = 0; i < 4; i++) words[H_SECRET + i] = secret[i];
  Atomics.store(words, H_MAGIC, MAGIC);
}

/** True if the memory holds a complete table of this kind and version. */
export function headerMatches(words: Int32Array, kind: TableKind, version: number): boolean {
  return (
    words.length > HEADER_WORDS &&
    Atomics.load(words, H_MAGIC) === MAGIC &&
    words[H_KIND] === kind &&
    words[H_VERSION] === version
  );
}

/** The layout of a complete table of this kind; undefined if the memory holds none. */
export function layoutOf(words: Int32Array, kind: TableKind): number | undefined {
  const layout = words[H_VERSION] ?? 0;
  return headerMatches(words, kind, layout) ? layout : undefined;
}

/** The four secret words of a table. */
export function headerSecret(words: Int32Array): Int32Array {
  return words.slice(H_SECRET, H_SECRET + 4);
}
