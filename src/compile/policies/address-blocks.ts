/** The ipBlocks of all policies, and the addresses cut into intervals that no block divides. */
import { ipWords, parseIp, type Range } from '../../net/address.ts';
import type { PolicyPeer } from './parse-policy.ts';

type Block = Extract<PolicyPeer, { kind: 'block' }>;

export interface Interval {
  /** Four words. */
  readonly first: Int32Array;
  /** Numbers of the blocks that contain it. */
  readonly blocks: readonly number[];
}

const IPV4_MAPPED = 0xffff_0000_0000n;
const mapped = ({ family, first, last }: Range) =>
  family === 4 ? { first: first | IPV4_MAPPED, last: last | IPV4_MAPPED } : { first, last };

export interface AddressBlocks {
  /** Number of a block. */
  numberOf(block: Block): number;
  /** Sorted; the first begins at address zero. */
  readonly intervals: readonly Interval[];
  /** Numbers of the blocks that contain the address. */
  containing(ip: string): readonly number[];
}

export function addressBlocks(all: readonly Block[]): AddressBlocks {
  const numbers = new Map<string, number>();
  const known: Bounds[] = [];
  for (const block of all) {
    const bounds = boundsOf(block);
    const key = keyOf(bounds);
    if (numbers.has(key)) continue;
    numbers.set(key, known.length);
    known.push(bounds);
  }
  const ends = known.flatMap(({ range, except }) =>
    [range, ...except].flatMap(({ first, last }) => [first, last + 1n]),
  );
  const starts = [...new Set([0n, ...ends])].filter((start) => start < 1n << 128n).sort((a, b) => (a < b ? -1 : 1));
  const inside = starts.map((start) => known.flatMap((bounds, number) => (isInside(bounds, start) ? [number] : [])));
  return {
    numberOf: (block) => numbers.get(keyOf(boundsOf(block)))!,
    intervals: starts.map((first, i) => ({ first: ipWords({ family: 6, value: first }), blocks: inside[i]! })),
    containing: (ip) => {
      const address = parseIp(ip);
      if (address === undefined) return [];
      const value = address.family === 4 ? address.value | IPV4_MAPPED : address.value;
      let [low, high] = [0, starts.length - 1];
      while (low < high) {
        const middle = (low + high + 1) >>> 1;
        if (starts[middle]! > value) high = middle - 1;
        else low = middle;
      }
      return inside[low]!;
    },
  };
}

interface Bounds {
  readonly range: { readonly first: bigint; readonly last: bigint };
  readonly except: readonly { readonly first: bigint; readonly last: bigint }[];
}

const boundsOf = ({ block, except }: Block): Bounds => ({ range: mapped(block), except: except.map(mapped) });

const keyOf = ({ range, except }: Bounds): string =>
  [range, ...except].map(({ first, last }) => `${first}-${last}`).join(' ');

function isInside({ range, except }: Bounds, address: bigint): boolean {
  const within = ({ first, last }: Bounds['range']) => address >= first && address <= last;
  return within(range) && !except.some(within);
}
