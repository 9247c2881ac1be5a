/**
 * Maglev hashing: a look-up table in which all endpoints have nearly equal shares, which is the same on every node, and
 * in which few entries change when an endpoint is added or removed. Built when endpoints change; a look-up is one array
 * access.
 *
 * Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, §3.4. The table's size is a
 * prime of at least a hundred times the number of endpoints, which bounds the difference of shares to 1 %.
 */

/**
 * A short list of primes: when a service grows from one to the next, all of its clients move. Sufficient for 81, 327
 * and 1310 endpoints; beyond that shares differ by more than 1 %. Together with the endpoints before it, each table
 * just fits a power of two.
 */
const SIZES: readonly number[] = [8191, 32749, 131071];

/** Table size for this many endpoints; 0 for none. */
export function maglevSize(endpoints: number): number {
  if (endpoints === 0) return 0;
  for (const size of SIZES) if (size >= endpoints * 100) return size;
  return SIZES[SIZES.length - 1];
}

/** FNV-1a (Fowler, Noll, Vo) with a final mix: the same on every node, because the key is only the endpoint's name. */
export function nameHash(name: string, basis: number): number {
  let hash = basis;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  hash ^= hash >>> 16;
  hash = Math.imul(hash, 0x7feb352d);
  hash ^= hash >>> 15;
  return hash >>> 0;
}

/**
 * Fill words[at .. at+size) with endpoint numbers 0..names.length-1.
 * @param names one stable name for each endpoint, in the order of the block
 */
export function writeMaglev(words: Int32Array, at: number, size: number, names: readonly string[]): void {
  // The result must not depend on the order of `names`: endpoints take turns in the order of their names.
  const order = names.map((name, index) => ({ name, index })).sort((x, y) => (x.name < y.name ? -1 : 1));
  const next = order.map(({ name }) => nameHash(name, 0x811c9dc5) % size);
  const skip = order.map(({ name }) => (nameHash(name, 0x1b873593) % (size - 1)) + 1);
  for (let i = 0; i < size; i++) words[at + i] = -1;
  for (let filled = 0; filled < size; ) {
    for (let turn = 0; turn < order.length && filled < size; turn++) {
      let slot = next[turn];
      while (words[at + slot] >= 0) slot = (slot + skip[turn]) % size;
      words[at + slot] = order[turn].index;
      next[turn] = (slot + skip[turn]) % size;
      filled++;
    }
  }
}

/**
 * Hash of a client. It contains no per-boot secret, so that all nodes agree.
 * @param client four words
 * @param srcPort 0 if all connections of the client must get the same endpoint
 * @param seed a word that is the same on all nodes of the cluster
 * @returns uint32
 */
export function maglevHash(client: Int32Array, srcPort: number, protocol: number, seed: number): number {
  let hash = mix(seed ^ 0x811c9dc5, client[0]);
  hash = mix(hash, client[1]);
  hash = mix(hash, client[2]);
  hash = mix(hash, client[3]);
  hash = mix(hash, (srcPort << 8) | protocol);
  return hash >>> 0;
}

/** One round of a 32-bit mix: two multiplications between shifts, as in murmur3's finalizer (Appleby, public domain). */
function mix(hash: number, word: number): number {
  let h = Math.imul(hash, 31) ^ word;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
