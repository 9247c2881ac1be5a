/**
 * A ring of captured frames: one worker writes, one reader reads, neither waits. If there is no room, the frame is lost
 * and counted for its port.
 *
 * HEAD and TAIL count bytes, modulo 2^32. A record is a header of RECORD_WORDS words and the frame, in 8-byte multiples;
 * it never wraps: one that would not fit before the end of the ring is put at its start, after a word SKIP. Records are
 * reserved first and published together, when the packet's verdict is known. A worker that dies in between leaves the
 * ring as it was.
 */
import { type CaptureMemory, RING_HEAD, RING_LOST, RING_TAIL, ringAt } from './memory.ts';

/** Words of a record's header. */
export const RecordWord = {
  /** Bytes of the whole record, or SKIP: the rest of the ring is unused. */
  BYTES: 0,
  GENERATION: 1,
  CAPTURED: 2,
  ORIGINAL: 3,
  SECONDS: 4,
  NANOSECONDS: 5,
  PORT: 6,
  /** Point of the record; 0 in a record that readers skip, because its packet was not dropped after all. */
  POINT: 7,
  VERDICT: 8,
  /** Number of the packet among those of its worker. */
  PACKET: 9,
  /** Frames lost at this port so far, modulo 2^32. */
  LOST: 10,
  /** Bit 0: the transport checksum is pending. Upper half: bytes per segment of a super-packet. */
  OFFLOAD: 11,
  /** Low 32 bits of the monotonic milliseconds that the pipeline ran with. */
  NOW_MS: 12,
  /** Offsets from the frame's first byte: where the pending checksum begins, and << 16 its field from there. */
  CHECKSUM: 13,
  /** End of the innermost headers; kind of super-packet << 16, its ECN << 24. */
  SEGMENTS: 14,
  /** Outer transport header and << 16 inner network header of an encapsulated super-packet; 0: none. */
  TUNNEL: 15,
  /** Number of the policy's rule that denied the packet (policies/rules.ts); 0: none did, or it has no number. */
  RULE: 16,
} as const;
/** Even, so that frames begin at multiples of 8 bytes. */
export const RECORD_WORDS = 18;
const SKIP = -1;
/** Result of `reserve` if there is no room. */
export const NO_ROOM: number = -1;

/** One ring: where its words are, and how a position in it becomes a place in memory. */
class Ring {
  protected readonly words: Int32Array;
  protected readonly bytes: Uint8Array;
  /** Index of the ring's first word, and of its data. */
  protected readonly base: number;
  protected readonly data: number;
  protected readonly mask: number;

  constructor(memory: CaptureMemory, session: number, worker: number) {
    this.words = memory.words;
    this.bytes = memory.bytes;
    this.base = ringAt(memory, session, worker);
    this.data = this.base + RING_LOST + memory.ports;
    this.mask = memory.ringBytes - 1;
  }

  /** Index of the word at a position. */
  protected wordAt(position: number): number {
    return this.data + ((position & this.mask) >> 2);
  }

  /** Bytes from a position to the end of the data. */
  protected bytesToEnd(position: number): number {
    return this.mask + 1 - (position & this.mask);
  }
}

export class RingWriter extends Ring {
  /** End of the reserved records. */
  private head: number;

  constructor(memory: CaptureMemory, session: number, worker: number) {
    super(memory, session, worker);
    this.head = this.words[this.base + RING_HEAD];
  }

  /**
   * Reserve a record and copy the frame into it.
   * @returns index of the record's first word, or NO_ROOM, after counting the loss
   */
  reserve(port: number, from: Uint8Array, start: number, captured: number): number {
    const { words, mask, base } = this;
    const need = (RECORD_WORDS * 4 + captured + 7) & ~7;
    const used = (this.head - Atomics.load(words, base + RING_TAIL)) | 0;
    const left = this.bytesToEnd(this.head);
    const skipped = left < need ? left : 0;
    if (used + skipped + need > mask + 1) {
      this.countLost(port);
      return NO_ROOM;
    }
    if (skipped > 0) {
      words[this.wordAt(this.head)] = SKIP;
      this.head = (this.head + skipped) | 0;
    }
    const at = this.wordAt(this.head);
    const to = (at + RECORD_WORDS) * 4;
    // A view costs more than copying some bytes singly.
    if (captured < 64) for (let i = 0; i < captured; i++) this.bytes[to + i] = from[start + i];
    else this.bytes.set(from.subarray(start, start + captured), to);
    words[at + RecordWord.BYTES] = need;
    words[at + RecordWord.CAPTURED] = captured;
    words[at + RecordWord.PORT] = port;
    words[at + RecordWord.LOST] = words[base + RING_LOST + port];
    this.head = (this.head + need) | 0;
    return at;
  }

  /** Count a frame that is not recorded. */
  countLost(port: number): void {
    this.words[this.base + RING_LOST + port]++;
  }

  /** Give up the record at `at` if it is the only one reserved. @returns false if there are others */
  drop(at: number): boolean {
    const { words, base } = this;
    const head = words[base + RING_HEAD];
    const bytes = words[at + RecordWord.BYTES];
    const begin = (this.head - bytes) | 0;
    if (this.wordAt(begin) !== at) return false;
    // In front of it may be an unused end of the ring.
    if (begin !== head && begin !== ((head + this.bytesToEnd(head)) | 0)) return false;
    this.head = head;
    return true;
  }

  /**
   * Let the reader see the reserved records.
   * @param verdict of the packet, for records that have none of their own
   * @param rule of a policy that denied it; 0: none
   */
  publish(verdict: number, rule = 0): void {
    const { words, base } = this;
    for (let position = words[base + RING_HEAD]; position !== this.head; ) {
      const at = this.wordAt(position);
      const bytes = words[at + RecordWord.BYTES];
      if (bytes === SKIP) {
        position = (position + this.bytesToEnd(position)) | 0;
        continue;
      }
      words[at + RecordWord.RULE] = 0;
      if (words[at + RecordWord.VERDICT] === 0) {
        words[at + RecordWord.VERDICT] = verdict;
        words[at + RecordWord.RULE] = rule;
      }
      position = (position + bytes) | 0;
    }
    Atomics.store(words, base + RING_HEAD, this.head);
  }

  /** Were records reserved since the last `publish`? */
  get pending(): boolean {
    return this.head !== this.words[this.base + RING_HEAD];
  }
}

/** Frames are copied into pieces of this size: memory of its own for each costs more than the copy (0.4 µs, V8 11.3). */
const SLAB_BYTES = 65_536;
/** Longer frames get memory of their own. */
const MAX_SLAB_FRAME = 4096;

export class RingReader extends Ring {
  /** Index of the record that `next` found. */
  at = 0;
  private slab = new Uint8Array(0);
  /** Bytes of the slab that frames have. */
  private used = 0;

  /** Go to the oldest record that is not released. @returns false if there is none */
  next(): boolean {
    const { words, base } = this;
    const head = Atomics.load(words, base + RING_HEAD);
    let tail = words[base + RING_TAIL];
    if (tail === head) return false;
    this.at = this.wordAt(tail);
    if (words[this.at] === SKIP) {
      tail = (tail + this.bytesToEnd(tail)) | 0;
      Atomics.store(words, base + RING_TAIL, tail);
      this.at = this.data;
    }
    return tail !== head;
  }

  word(word: number): number {
    return this.words[this.at + word];
  }

  /** A copy of the frame. */
  frame(): Uint8Array {
    const from = (this.at + RECORD_WORDS) * 4;
    const length = this.word(RecordWord.CAPTURED);
    if (length > MAX_SLAB_FRAME) return this.bytes.slice(from, from + length);
    if (this.used + length > this.slab.length) {
      this.slab = new Uint8Array(SLAB_BYTES);
      this.used = 0;
    }
    const copy = this.slab.subarray(this.used, this.used + length);
    copy.set(this.bytes.subarray(from, from + length));
    this.used += length;
    return copy;
  }

  /** Release the record; its memory is used again. */
  release(): void {
    const { words, base } = this;
    Atomics.store(words, base + RING_TAIL, (words[base + RING_TAIL] + words[this.at]) | 0);
  }

  /** Frames lost at a port so far, modulo 2^32. */
  lostAt(port: number): number {
    return this.words[this.base + RING_LOST + port];
  }
}
