/**
 * A one-way ring of packets between two threads that map the same memory: one writer, one reader, neither blocks.
 *
 * Words: HEAD (bytes ever written; set by the writer), TAIL (bytes ever read; set by the reader), IDLE (1: the reader
 * has found the ring empty and must be woken). They are followed by records of 8-byte multiples: length, tag, packet. A
 * record never wraps: one that would not fit before the end of the ring is put at its start, after a record of length
 * SKIP. So an empty ring is sure to have room only for records of up to half its size.
 *
 * A record is complete before HEAD includes it, and its memory is not reused before TAIL has passed it; a thread that
 * dies in between leaves the ring consistent.
 */
const HEAD = 0;
const TAIL = 16;
const IDLE = 32;
const DATA_AT = 256;
const RECORD_BYTES = 8;
const SKIP = -1;

/** Bytes of memory for a ring with room for `room` bytes of records, a power of two. */
export function ringBytes(room: number): number {
  return DATA_AT + room;
}

/** One end of a ring. Writer and reader each have an object over the same memory. */
export class PacketRing {
  /** The current record after `next()`: offset of its packet in `bytes`, its length, and the writer's tag. */
  at = 0;
  length = 0;
  tag = 0;
  readonly bytes: Uint8Array;
  private readonly words: Int32Array;
  private readonly mask: number;
  private taken = 0;

  /** @param buffer memory of `ringBytes(room)`; zeroed memory is an empty ring */
  constructor(buffer: ArrayBuffer, room: number = buffer.byteLength - DATA_AT) {
    if ((room & (room - 1)) !== 0) throw new RangeError(`a ring of ${room} bytes: expected a power of two`);
    this.bytes = new Uint8Array(buffer);
    this.words = new Int32Array(buffer);
    this.mask = room - 1;
  }

  /** Write a packet. @returns false if there is no room */
  push(tag: number, from: Uint8Array, start: number, end: number): boolean {
    const { words, mask } = this;
    const length = end - start;
    const need = (RECORD_BYTES + length + 7) & ~7;
    let head = words[HEAD] as number;
    const used = (head - Atomics.load(words, TAIL)) | 0;
    const left = mask + 1 - (head & mask);
    const skipped = left < need ? left : 0;
    if (used + skipped + need > mask + 1) return false;
    if (skipped > 0) {
      words[(DATA_AT + (head & mask)) >> 2] = SKIP;
      head = (head + skipped) | 0;
    }
    const at = DATA_AT + (head & mask);
    words[at >> 2] = length;
    words[(at >> 2) + 1] = tag;
    const { bytes } = this;
    const to = at + RECORD_BYTES;
    if (length < 64) for (let i = 0; i < length; i++) bytes[to + i] = from[start + i] as number;
    else bytes.set(from.subarray(start, end), to);
    Atomics.store(words, HEAD, (head + need) | 0);
    return true;
  }

  /** Find the oldest packet that is not released yet: at, length and tag. @returns false if there is none */
  next(): boolean {
    const { words, mask } = this;
    let tail = words[TAIL] as number;
    if (tail === Atomics.load(words, HEAD)) return false;
    let at = DATA_AT + (tail & mask);
    let skipped = 0;
    if (words[at >> 2] === SKIP) {
      skipped = mask + 1 - (tail & mask);
      tail = (tail + skipped) | 0;
      at = DATA_AT + (tail & mask);
    }
    this.length = words[at >> 2] as number;
    this.tag = words[(at >> 2) + 1] as number;
    this.at = at + RECORD_BYTES;
    this.taken = skipped + ((RECORD_BYTES + this.length + 7) & ~7);
    return true;
  }

  /** Release the packet that `next` found. */
  release(): void {
    Atomics.store(this.words, TAIL, ((this.words[TAIL] as number) + this.taken) | 0);
  }

  /** The reader is about to sleep. @returns false if a packet has arrived meanwhile: it must not sleep */
  sleep(): boolean {
    Atomics.store(this.words, IDLE, 1);
    if (Atomics.load(this.words, HEAD) === this.words[TAIL]) return true;
    Atomics.store(this.words, IDLE, 0);
    return false;
  }

  /** For the writer, after `push`. @returns true once per sleep: the reader has to be woken */
  wantsWaking(): boolean {
    return Atomics.load(this.words, IDLE) === 1 && Atomics.exchange(this.words, IDLE, 0) === 1;
  }
}
