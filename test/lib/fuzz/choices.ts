/**
 * A fuzz input: a string of bytes from which a generator draws its random choices. A generator that draws from it produces
 * only well-structured values, so changing bytes changes structure, and removing bytes makes the value simpler. One mutator
 * and one minimiser therefore serve every target (MacIver and Donaldson, "Test-case reduction via test-case generation",
 * ECOOP 2020).
 */
import type { Random } from '../seeded-random.ts';

/** Draws from recorded bytes; after their end from `source`, or zeros if there is none. Remembers what it drew. */
export class Choices implements Random {
  private readonly given: Uint8Array;
  private readonly source: Random | undefined;
  private drawn: Uint8Array;
  private at = 0;
  /** What is left of the last word of the source, lowest byte first, and of how many bytes. */
  private rest = 0;
  private restBytes = 0;

  /** @param scratch where what is drawn is kept as far as it fits: other threads see it there */
  constructor(given: Uint8Array, source?: Random, scratch: Uint8Array = new Uint8Array(Math.max(256, given.length))) {
    this.given = given;
    this.source = source;
    this.drawn = scratch;
  }

  /** The bytes drawn so far: an input that makes the same choices. */
  get drawnBytes(): Uint8Array {
    return this.drawn.slice(0, this.at);
  }

  word(): number {
    return ((this.byte() << 24) | (this.byte() << 16) | (this.byte() << 8) | this.byte()) >>> 0;
  }

  /** As few bytes as the limit needs, so that inputs stay short. */
  below(limit: number): number {
    if (limit <= 1) return 0;
    if (limit <= 0x100) return this.byte() % limit;
    if (limit <= 0x10000) return ((this.byte() << 8) | this.byte()) % limit;
    return this.word() % limit;
  }

  /** In a long value only the first bytes are choices; the others follow from them. */
  bytes(count: number): Uint8Array {
    const bytes = new Uint8Array(count);
    for (let i = 0; i < count; i++) bytes[i] = i < 16 ? this.byte() : (bytes[i - 16]! * 5 + i) & 0xff;
    return bytes;
  }

  private byte(): number {
    const { at } = this;
    const value = at < this.given.length ? this.given[at]! : this.source === undefined ? 0 : this.fresh(this.source);
    if (at === this.drawn.length) {
      const larger = new Uint8Array(at * 2);
      larger.set(this.drawn);
      this.drawn = larger;
    }
    this.drawn[at] = value;
    this.at = at + 1;
    return value;
  }
  private fresh(source: Random): number {
    if (this.restBytes === 0) {
      this.rest = source.word();
      this.restBytes = 4;
    }
    const value = this.rest & 0xff;
    this.rest >>>= 8;
    this.restBytes--;
    return value;
  }
}

const MAX_BYTES = 16_384;

/** A changed copy of the input: bytes changed, removed, repeated, or taken from another input. */
export function mutateInput(input: Uint8Array, other: Uint8Array, random: Random): Uint8Array {
  let bytes = input;
  for (let n = 1 + random.below(4); n > 0; n--) {
    const at = random.below(bytes.length + 1);
    const count = 1 + random.below(random.below(4) === 0 ? 200 : 8);
    switch (random.below(7)) {
      case 0:
        bytes = spliced(bytes, at, count, new Uint8Array(0));
        break;
      case 1:
        bytes = spliced(bytes, at, 0, random.bytes(count));
        break;
      case 2:
        bytes = spliced(bytes, at, 0, bytes.subarray(at, at + count));
        break;
      case 3: {
        const from = random.below(other.length + 1);
        bytes = spliced(bytes, at, count, other.subarray(from, from + count));
        break;
      }
      case 4: {
        // The rest from another input: everything generated so far, then its continuation.
        const from = random.below(other.length + 1);
        bytes = spliced(bytes, at, bytes.length, other.subarray(from));
        break;
      }
      default:
        bytes = bytes.slice();
        for (let i = at; i < Math.min(bytes.length, at + count); i++) {
          bytes[i] = random.below(3) === 0 ? random.word() : bytes[i]! ^ (1 << random.below(8));
        }
    }
  }
  return bytes.length > MAX_BYTES ? bytes.slice(0, MAX_BYTES) : bytes;
}

function spliced(bytes: Uint8Array, at: number, remove: number, insert: Uint8Array): Uint8Array {
  const rest = bytes.subarray(Math.min(bytes.length, at + remove));
  const result = new Uint8Array(at + insert.length + rest.length);
  result.set(bytes.subarray(0, at));
  result.set(insert, at);
  result.set(rest, at + insert.length);
  return result;
}
