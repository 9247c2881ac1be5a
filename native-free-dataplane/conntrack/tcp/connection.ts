/**
 * The state of a tracked TCP connection: ten words of its record, and a view of them as two streams.
 *
 *   word  0..3  original stream: end, maxEnd, maxWindow, maxAck
 *         4..7  reply stream: the same
 *         8     the connection's bits: state, last segment's kind and direction, flags and scale of both streams, count
 *               of retransmissions
 *         9     last: see below
 *
 * Linux keeps last_seq, last_ack, last_end, last_win and a last SYN's options: 18 bytes. Here `last` is one word, whose
 * meaning depends on the last segment:
 *   tracked ACK               a fingerprint of direction, sequence, end, acknowledgment and window, to recognise a
 *                             retransmission
 *   SYN, or an ignored        one past its last sequence number: what its answer must acknowledge
 *   segment
 *   ACK in response to a SYN  its acknowledgment number: a reset in response has that sequence number
 * While the answer to an unconfirmed SYN (tracker.ts) is awaited, the bits hold that SYN's scale and SACK option in
 * place of the retransmission count. Its window is not stored: when the SYN is confirmed, the largest one is assumed.
 *
 * Sequence numbers and windows are int32 and wrap; windows are compared unsigned.
 *
 * Guarded by the stripe lock of the record's number (record.ts, `locks`) when the table has several workers: both
 * directions of a connection change these words. The view itself belongs to one thread.
 */
import { Kind } from './segment.ts';

export const TCP_WORDS = 10;

const STREAM_WORDS = 4;
const END = 0;
const MAX_END = 1;
const MAX_WINDOW = 2;
const MAX_ACK = 3;
const BITS = 8;
const LAST = 9;

/** Fields of the connection's bits. */
const STATE_MASK = 0xf;
const LAST_KIND_SHIFT = 4;
const LAST_KIND_MASK = 7;
const LAST_REPLY = 1 << 7;
const SCALE_SHIFT = 8;
const SCALE_BITS = 4;
const SCALE_MASK = 0xf;
/** Retransmissions, counted to 3; after an unconfirmed SYN its options stand here instead. */
const RETRANS_SHIFT = 27;
const RETRANS_MASK = 3;
/** Everything below those. */
const BELOW_RETRANS = (1 << RETRANS_SHIFT) - 1;
const PENDING_SACK = 1 << 31;

/** Flags of a stream: the original stream's bit, the reply stream's is the next. */
export const StreamFlag = {
  SACK_PERMITTED: 0x00010000,
  /** Some of its data has not been acknowledged. */
  UNACKNOWLEDGED: 0x00040000,
  /** maxAck is valid: this side has acknowledged something. */
  ACK_SEEN: 0x00100000,
} as const;
export type StreamFlag = (typeof StreamFlag)[keyof typeof StreamFlag];

const ALL_STREAM_FLAGS = StreamFlag.SACK_PERMITTED | StreamFlag.UNACKNOWLEDGED | StreamFlag.ACK_SEEN;

/** Flags of the connection. */
export const Flag = {
  /** Picked up in the middle: the window scales are unknown, so segments outside the window pass. */
  PICKED_UP: 0x00400000,
  /** Both sides sent a SYN (RFC 9293 figure 7): the reply side's ACK ends the handshake. */
  SIMULTANEOUS_OPEN: 0x00800000,
  /** A SYN was forwarded in LAST_ACK; its receiver may answer with a challenge ACK (RFC 5961 §4). */
  CHALLENGE_EXPECTED: 0x01000000,
  /** The connection entered ESTABLISHED by a later segment, not by its first. */
  HANDSHAKE_DONE: 0x02000000,
  /** The last acknowledgement, or ignored segment, announced a zero window. */
  ZERO_WINDOW: 0x04000000,
} as const;
export type Flag = (typeof Flag)[keyof typeof Flag];

/** Stored as the scale of a stream whose SYN did not have the window scale option. */
const NO_SCALE = 15;
const MAX_SCALE = 14;

const MAX_RETRANSMITS = 3;

/** The scale to store. @param windowScale shift count of the option, -1 without it */
function scaleOf(windowScale: number): number {
  return windowScale < 0 ? NO_SCALE : windowScale > MAX_SCALE ? MAX_SCALE : windowScale;
}

/** a < b in sequence space. */
export function before(a: number, b: number): boolean {
  return ((a - b) | 0) < 0;
}

/** a > b in sequence space. */
export function after(a: number, b: number): boolean {
  return ((b - a) | 0) < 0;
}

const NO_WORDS: Int32Array = new Int32Array(TCP_WORDS);

/** One direction: what its sender has sent, and what the receiver allows it to send. A view of the record's words. */
export class Stream {
  private readonly direction: number;
  private words: Int32Array = NO_WORDS;
  private at = 0;
  private bitsAt = 0;

  /** @param direction 0 original, 1 reply */
  constructor(direction: number) {
    this.direction = direction;
  }

  /** @param at first word of the connection */
  open(words: Int32Array, at: number): void {
    // The array is the same for every connection of a table, and storing a reference costs more than a comparison.
    if (this.words !== words) this.words = words;
    this.at = at + this.direction * STREAM_WORDS;
    this.bitsAt = at + BITS;
  }

  /** One past the highest sequence number sent. */
  get end(): number {
    return this.words[this.at + END];
  }

  set end(value: number) {
    this.words[this.at + END] = value;
  }

  /** One past the highest sequence number the receiver allows. */
  get maxEnd(): number {
    return this.words[this.at + MAX_END];
  }

  set maxEnd(value: number) {
    this.words[this.at + MAX_END] = value;
  }

  /** The largest window this side announced; 0 until it has sent a segment. */
  get maxWindow(): number {
    return this.words[this.at + MAX_WINDOW];
  }

  set maxWindow(value: number) {
    this.words[this.at + MAX_WINDOW] = value;
  }

  /** The highest acknowledgment this side sent; valid with ACK_SEEN. */
  get maxAck(): number {
    return this.words[this.at + MAX_ACK];
  }

  set maxAck(value: number) {
    this.words[this.at + MAX_ACK] = value;
  }

  has(flag: StreamFlag): boolean {
    return (this.words[this.bitsAt] & (flag << this.direction)) !== 0;
  }

  set(flag: StreamFlag): void {
    this.words[this.bitsAt] |= flag << this.direction;
  }

  clear(flag: StreamFlag): void {
    this.words[this.bitsAt] &= ~(flag << this.direction);
  }

  /** Did this side's SYN have the window scale option? */
  get offersScaling(): boolean {
    return this.scale !== NO_SCALE;
  }

  /** Shift of the windows this side announces. */
  get shift(): number {
    const { scale } = this;
    return scale > MAX_SCALE ? 0 : scale;
  }

  /** Set the scale to 0, because the other side did not offer scaling. `offersScaling` stays true. */
  ignoreScaling(): void {
    this.words[this.bitsAt] &= ~(SCALE_MASK << (SCALE_SHIFT + this.direction * SCALE_BITS));
  }

  private get scale(): number {
    return (this.words[this.bitsAt] >>> (SCALE_SHIFT + this.direction * SCALE_BITS)) & SCALE_MASK;
  }

  /** Store the options of this side's SYN and clear its flags. @param windowScale shift count, -1 = no option */
  setOptions(windowScale: number, sackPermitted: number): void {
    const shift = SCALE_SHIFT + this.direction * SCALE_BITS;
    const flags = sackPermitted !== 0 ? StreamFlag.SACK_PERMITTED : 0;
    const cleared = this.words[this.bitsAt] & ~((SCALE_MASK << shift) | (ALL_STREAM_FLAGS << this.direction));
    this.words[this.bitsAt] = cleared | (scaleOf(windowScale) << shift) | (flags << this.direction);
  }

  /** Clear all that is known of this side. */
  reset(): void {
    for (let i = 0; i < STREAM_WORDS; i++) this.words[this.at + i] = 0;
    this.words[this.bitsAt] &= ~(ALL_STREAM_FLAGS << this.direction);
  }
}

/** The bits of the connection whose ten words start at words[at]: state, last segment and flags. */
export function tcpBits(words: Int32Array, at: number): number {
  return words[at + BITS];
}

/** One past the highest sequence number of the side that opened the connection. */
export function originalEnd(words: Int32Array, at: number): number {
  return words[at + END];
}

/** TcpState, from the bits. */
export function stateOf(bits: number): number {
  return bits & STATE_MASK;
}

/** Kind of the last segment, from the bits. */
export function lastKindOf(bits: number): Kind {
  return ((bits >>> LAST_KIND_SHIFT) & LAST_KIND_MASK) as Kind;
}

/** Has the same acknowledgement been seen so often that the other side seems to be gone? */
export function isRetransmitted(bits: number): boolean {
  return ((bits >>> RETRANS_SHIFT) & RETRANS_MASK) >= MAX_RETRANSMITS;
}

/** Does either stream have unacknowledged data? */
export function isUnacknowledged(bits: number): boolean {
  return (bits & (StreamFlag.UNACKNOWLEDGED | (StreamFlag.UNACKNOWLEDGED << 1))) !== 0;
}

/** The bits with a new last segment. The retransmission count is kept, unless a SYN's options are in its place. */
function withLast(bits: number, kind: Kind, direction: number): number {
  const kept = lastKindOf(bits) === Kind.SYN ? bits & BELOW_RETRANS : bits;
  const cleared = kept & ~((LAST_KIND_MASK << LAST_KIND_SHIFT) | LAST_REPLY);
  return cleared | (kind << LAST_KIND_SHIFT) | (direction === 1 ? LAST_REPLY : 0);
}

/**
 * A connection as seen from the current segment, with its sender and its receiver. A view, reused for every segment.
 */
export class Connection {
  readonly original: Stream = new Stream(0);
  readonly reply: Stream = new Stream(1);
  /** Direction of the current segment: 0 original, 1 reply. */
  direction = 0;
  private words: Int32Array = NO_WORDS;
  private at = 0;

  /** Point the view to the connection whose ten words start at words[at]. */
  open(words: Int32Array, at: number, direction: number): void {
    if (this.words !== words) this.words = words;
    this.at = at;
    this.direction = direction;
    this.original.open(words, at);
    this.reply.open(words, at);
  }

  /** The stream of the side that sends the current segment. */
  get sender(): Stream {
    return this.direction === 0 ? this.original : this.reply;
  }

  /** The stream of the side that receives the current segment. */
  get receiver(): Stream {
    return this.direction === 0 ? this.reply : this.original;
  }

  /** Initialise all ten words for a connection that begins with a segment of this kind. */
  begin(state: number, kind: Kind): void {
    for (let i = 0; i < TCP_WORDS; i++) this.words[this.at + i] = 0;
    this.bits = state | (kind << LAST_KIND_SHIFT) | Flag.ZERO_WINDOW;
  }

  get state(): number {
    return stateOf(this.bits);
  }

  /** Accept the current segment: record its kind, set the state and add the flags. */
  accept(kind: Kind, state: number, flags: number): void {
    this.bits = (withLast(this.bits, kind, this.direction) & ~STATE_MASK) | state | flags;
  }

  has(flag: Flag): boolean {
    return (this.bits & flag) !== 0;
  }

  set(flag: Flag): void {
    this.bits |= flag;
  }

  clear(flag: Flag): void {
    this.bits &= ~flag;
  }

  /** The word about the last segment; the head of this file explains its meaning. */
  get last(): number {
    return this.words[this.at + LAST];
  }

  set last(value: number) {
    this.words[this.at + LAST] = value;
  }

  get lastKind(): Kind {
    return lastKindOf(this.bits);
  }

  /** Was the last segment of this kind, and from the sender of the current one? */
  senderSentLast(kind: Kind): boolean {
    return this.lastKind === kind && this.lastDirection === this.direction;
  }

  /** Was the last segment of this kind, and from the receiver of the current one? */
  receiverSentLast(kind: Kind): boolean {
    return this.lastKind === kind && this.lastDirection !== this.direction;
  }

  get lastDirection(): number {
    return (this.bits & LAST_REPLY) !== 0 ? 1 : 0;
  }

  /** Record the current segment as the last one. */
  noteLast(kind: Kind): void {
    this.bits = withLast(this.bits, kind, this.direction);
  }

  /**
   * Count an acknowledgement as a retransmission if its fingerprint equals the last one's. Leaves the direction bit as
   * it is.
   */
  countAck(fingerprint: number, window: number): void {
    const { bits } = this;
    let count = 0;
    if (this.last === fingerprint) {
      count = (bits >>> RETRANS_SHIFT) & RETRANS_MASK;
      if (count < MAX_RETRANSMITS) count++;
    } else this.last = fingerprint;
    const kept = bits & BELOW_RETRANS & ~(Flag.ZERO_WINDOW | (LAST_KIND_MASK << LAST_KIND_SHIFT));
    this.bits = kept | (count << RETRANS_SHIFT) | (Kind.ACK << LAST_KIND_SHIFT) | (window === 0 ? Flag.ZERO_WINDOW : 0);
  }

  /** Store the options of an unconfirmed SYN until it is confirmed. Call after noteLast. */
  keepOptions(windowScale: number, sackPermitted: number): void {
    const kept = this.bits & BELOW_RETRANS;
    this.bits = kept | (scaleOf(windowScale) << RETRANS_SHIFT) | (sackPermitted !== 0 ? PENDING_SACK : 0);
  }

  /** The unconfirmed SYN is confirmed: its options become those of the original side. */
  adoptOptions(): void {
    const { bits } = this;
    const scale = (bits >>> RETRANS_SHIFT) & SCALE_MASK;
    this.original.setOptions(scale > MAX_SCALE ? -1 : scale, bits < 0 ? 1 : 0);
  }

  private get bits(): number {
    return this.words[this.at + BITS];
  }

  private set bits(value: number) {
    this.words[this.at + BITS] = value;
  }
}
