/** The blocks of addresses that policies name, and all addresses cut into intervals that no block divides. */
import { ipWords, type Range } from '../../net/address.ts';
import type { Identity } from './identities.ts';
import type { PolicyPeer } from './policy-rules.ts';

export type Block = Extract<PolicyPeer, { kind: 'block' }>;

export interface Interval {
  readonly start: bigint;
  /** `start` in four words. */
  readonly first: Int32Array;
  /** Numbers of the blocks that contain it. */
  readonly blocks: readonly number[];
  /** Set by the compiler when it first needs one. */
  identity: Identity | undefined;
}

const IPV4_MAPPED = 0xffff_0000_0000n;
const IPV4_ADDRESSES: Bounds = { first: IPV4_MAPPED, last: IPV4_MAPPED + 0xffff_ffffn };
const END = 1n << 128n;

/** An address of either family as 128 bits. */
export const mappedValue = ({ family, value }: { family: 4 | 6; value: bigint }): bigint =>
  family === 4 ? value | IPV4_MAPPED : value;

/** Addresses from the first to the last. */
export interface Bounds {
  readonly first: bigint;
  readonly last: bigint;
}

const boundsOf = ({ family, first, last }: Range): Bounds => ({
  first: mappedValue({ family, value: first }),
  last: mappedValue({ family, value: last }),
});

/** Blocks are only added: a block that no policy names any more costs an interval or two. */
export class AddressBlocks {
  /** Sorted; the first begins at address zero. */
  readonly intervals: Interval[] = [newInterval(0n, [])];
  private readonly numbers = new Map<string, number>();

  /** How many blocks there are. */
  get size(): number {
    return this.numbers.size;
  }

  /**
   * The block's number.
   * @param onNew called for a block that was not known: `containing` is another for some of these addresses, and for no
   * others
   */
  numberOf({ block, except }: Block, onNew: (range: Bounds) => void): number {
    const range = boundsOf(block);
    const holes = except.map(boundsOf);
    // An IPv4 address, as it is mapped here, is in no block of IPv6.
    if (block.family === 6) holes.push(IPV4_ADDRESSES);
    const key = [range, ...holes].map(({ first, last }) => `${first}-${last}`).join(' ');
    const known = this.numbers.get(key);
    if (known !== undefined) return known;
    const number = this.numbers.size;
    this.numbers.set(key, number);
    const contains = (value: bigint) => isWithin(range, value) && !holes.some((hole) => isWithin(hole, value));
    this.add(range, holes, contains, number);
    onNew(range);
    return number;
  }

  /** Numbers of the blocks that contain the address. */
  containing(value: bigint): readonly number[] {
    return this.intervals[this.indexOf(value)]!.blocks;
  }

  private add(range: Bounds, holes: readonly Bounds[], contains: (value: bigint) => boolean, number: number): void {
    const { intervals } = this;
    for (const { first, last } of [range, ...holes]) {
      this.cut(first);
      this.cut(last + 1n);
    }
    for (let i = this.indexOf(range.first); i < intervals.length && intervals[i]!.start <= range.last; i++) {
      const { start, blocks } = intervals[i]!;
      if (contains(start)) intervals[i] = newInterval(start, [...blocks, number]);
    }
  }

  private cut(start: bigint): void {
    if (start >= END) return;
    const i = this.indexOf(start);
    const { start: before, blocks } = this.intervals[i]!;
    if (before !== start) this.intervals.splice(i + 1, 0, newInterval(start, blocks));
  }

  /** Position of the interval that contains the address. */
  private indexOf(value: bigint): number {
    let [low, high] = [0, this.intervals.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.intervals[middle]!.start > value) high = middle - 1;
      else low = middle;
    }
    return low;
  }
}

const isWithin = ({ first, last }: Bounds, value: bigint): boolean => value >= first && value <= last;

const newInterval = (start: bigint, blocks: readonly number[]): Interval => ({
  start,
  first: ipWords({ family: 6, value: start }),
  blocks,
  identity: undefined,
});
