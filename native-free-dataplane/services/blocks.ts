/**
 * Blocks of the service table: their layout, their allocator, and how a block is written.
 *
 * A block is written once, published by one store of its offset, and never changed while it is reachable. Memory is
 * allocated in powers of two, so that a block freed by one service fits the next; a larger free block is split if none
 * of the right size is left. Only the writer (writer.ts) uses this file; readers use the word names.
 */
import type { ServicePortContents } from './contents.ts';
import { maglevSize, writeMaglev } from './maglev.ts';

/** Words of a block; after them the endpoints of the cluster set, the local set, source ranges, the Maglev table. */
export const Block = {
  /** Words allocated for the block. */
  SIZE: 0,
  /**
   * Id of the service port, the same on every node and after every restart; the key of its affinity entries. Never 0.
   */
  SERVICE_PORT: 1,
  FLAGS: 2,
  AFFINITY_SECONDS: 3,
  CLUSTER_COUNT: 4,
  LOCAL_COUNT: 5,
  RANGE_COUNT: 6,
  /** Slots of the Maglev table over the cluster set, 0 = choose at random. */
  MAGLEV_SIZE: 7,
  ENDPOINTS: 8,
} as const;

export const ServiceFlag = {
  AFFINITY: 1,
  INTERNAL_LOCAL: 2,
  EXTERNAL_LOCAL: 4,
  /** Some endpoint exists, though maybe none that this policy may use. */
  HAS_ENDPOINTS: 8,
  /** Only clients in the source ranges may use the load balancer's addresses, even if the list of ranges is empty. */
  RANGES: 16,
} as const;

/** Words of an endpoint: address (4), port, id. */
export const ENDPOINT_WORDS = 6;
export const ENDPOINT_PORT = 4;
export const ENDPOINT_ID = 5;
/** Words of a source range: network (4), prefix of 128. */
export const RANGE_WORDS = 5;

/** Smallest allocation: a service with one endpoint in one set. */
const SMALLEST_WORDS = 16;

/** First word of a block's source ranges. */
export function rangesAt(pool: Int32Array, block: number): number {
  return (
    block + Block.ENDPOINTS + (pool[block + Block.CLUSTER_COUNT] + pool[block + Block.LOCAL_COUNT]) * ENDPOINT_WORDS
  );
}

/** First word of a block's Maglev table. */
export function maglevAt(pool: Int32Array, block: number): number {
  return rangesAt(pool, block) + pool[block + Block.RANGE_COUNT] * RANGE_WORDS;
}

/** Words a block with these contents takes. */
export function blockWords(contents: ServicePortContents): number {
  const { cluster, local, sourceRanges } = contents;
  return (
    Block.ENDPOINTS +
    (cluster.length + local.length) * ENDPOINT_WORDS +
    sourceRanges.length * RANGE_WORDS +
    (contents.maglev ? maglevSize(cluster.length) : 0)
  );
}

/**
 * Write a block into memory that is not yet published.
 * @param servicePort id of the service port
 * @param idOf id of an endpoint by its key
 */
export function writeBlock(
  pool: Int32Array,
  block: number,
  contents: ServicePortContents,
  servicePort: number,
  idOf: (key: string) => number,
): void {
  const { cluster, local, sourceRanges } = contents;
  const maglev = contents.maglev ? maglevSize(cluster.length) : 0;
  pool[block + Block.SERVICE_PORT] = servicePort;
  pool[block + Block.FLAGS] =
    (contents.affinitySeconds > 0 ? ServiceFlag.AFFINITY : 0) |
    (contents.internalLocal ? ServiceFlag.INTERNAL_LOCAL : 0) |
    (contents.externalLocal ? ServiceFlag.EXTERNAL_LOCAL : 0) |
    (contents.hasEndpoints ? ServiceFlag.HAS_ENDPOINTS : 0) |
    (contents.sourceRanges.length > 0 || contents.restricted ? ServiceFlag.RANGES : 0);
  pool[block + Block.AFFINITY_SECONDS] = contents.affinitySeconds;
  pool[block + Block.CLUSTER_COUNT] = cluster.length;
  pool[block + Block.LOCAL_COUNT] = local.length;
  pool[block + Block.RANGE_COUNT] = sourceRanges.length;
  pool[block + Block.MAGLEV_SIZE] = maglev;
  let at = block + Block.ENDPOINTS;
  for (const set of [cluster, local]) {
    for (const endpoint of set) {
      pool.set(endpoint.address, at);
      pool[at + ENDPOINT_PORT] = endpoint.port;
      pool[at + ENDPOINT_ID] = idOf(endpoint.key);
      at += ENDPOINT_WORDS;
    }
  }
  for (const range of sourceRanges) {
    pool.set(range.words, at);
    pool[at + 4] = range.prefix;
    at += RANGE_WORDS;
  }
  if (maglev > 0)
    writeMaglev(
      pool,
      at,
      maglev,
      cluster.map(({ key }) => key),
    );
}

/** Are two blocks of the same size identical? Then there is nothing to publish. */
export function sameBlock(pool: Int32Array, one: number, other: number, words: number): boolean {
  for (let i = 0; i < words; i++) if (pool[one + i] !== pool[other + i]) return false;
  return true;
}

/** Allocator of blocks. No block has offset 0: it means "none". */
export class BlockPool {
  private readonly pool: Int32Array;
  private readonly free = new Map<number, number[]>();
  private end: number = SMALLEST_WORDS;

  constructor(pool: Int32Array) {
    this.pool = pool;
  }

  /** Allocate a block of `words` words: its offset, or 0 if memory is exhausted. SIZE is set. */
  allocate(words: number): number {
    let size = SMALLEST_WORDS;
    while (size < words) size *= 2;
    const block = this.free.get(size)?.pop() ?? this.extend(size) ?? this.cut(size);
    if (block === undefined) return 0;
    this.pool[block + Block.SIZE] = size;
    return block;
  }

  /** Free a block that no reader can reach any more. */
  release(block: number): void {
    this.put(block, this.pool[block + Block.SIZE]);
  }

  private put(block: number, size: number): void {
    const list = this.free.get(size);
    if (list) list.push(block);
    else this.free.set(size, [block]);
  }

  private extend(size: number): number | undefined {
    const block = this.end;
    if (block + size > this.pool.length) return undefined;
    this.end += size;
    return block;
  }

  /** Split the smallest larger free block in halves until one has the size. */
  private cut(size: number): number | undefined {
    for (let larger = size * 2; larger <= this.pool.length; larger *= 2) {
      const block = this.free.get(larger)?.pop();
      if (block === undefined) continue;
      for (let half = larger / 2; half >= size; half /= 2) this.put(block + half, half);
      return block;
    }
    return undefined;
  }
}
