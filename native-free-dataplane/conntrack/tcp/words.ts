/**
 * The ten words a tracked TCP connection takes, and the bits of its state word.
 *
 *   word  0..3  original direction: end, maxEnd, maxWin, maxAck      one past the highest sequence number sent; the
 *         4..7  reply direction: the same                            highest the other side allows; the largest window
 *                                                                    announced, 0 until heard; the highest ack sent
 *         8     state, last packet's kind and direction, scales and flags of both directions, retransmissions
 *         9     last: see below
 *
 * Linux keeps last_seq, last_ack, last_end, last_win and a last SYN's options: 18 bytes. Here one word, by what the
 * last packet was:
 *   accepted ACK             a fingerprint of direction, seq, end, ack and window: all that is asked of it later is
 *                            "the same again?"
 *   SYN, or a packet         one past its last sequence number: what its answer must acknowledge
 *   let through
 *   ACK that answers a SYN   what it acknowledged: a reset in answer to it has that sequence number
 * A let-through SYN's scale and SACK option stand in the state word while its answer is awaited, in place of the count
 * of retransmissions. Its window is not kept: when its answer proves the table wrong, the largest one is assumed.
 *
 * Sequence numbers and windows are int32 and wrap; windows are compared unsigned.
 */
import { Kind } from './states.ts';

export const TCP_WORDS = 10;
/** Words of a direction. */
export const END = 0;
export const MAX_END = 1;
export const MAX_WIN = 2;
export const MAX_ACK = 3;
export const DIRECTION_WORDS = 4;
/** Words of the connection. */
export const STATE = 8;
export const LAST = 9;

/** Fields of the state word; what comes in pairs has the original direction's bit first. */
export const STATE_MASK = 0xf;
export const LAST_KIND_SHIFT = 4;
export const LAST_KIND_MASK = 7;
export const LAST_REPLY: number = 1 << 7;
export const SCALE_SHIFT = 8;
export const SACK_PERMITTED: number = 1 << 16;
export const UNACKNOWLEDGED: number = 1 << 18;
export const ACK_SEEN: number = 1 << 20;
export const LIBERAL: number = 1 << 22;
/** Somebody closed the connection in an orderly way (linux IP_CT_TCP_FLAG_CLOSE_INIT, of either side). */
export const CLOSE_INIT: number = 1 << 24;
/**
 * In SYN_SENT2 and SYN_RECV: simultaneous open. In LAST_ACK: a challenge ACK may follow. In ESTABLISHED, FIN_WAIT and
 * CLOSE_WAIT: the handshake was complete.
 */
export const SPECIAL: number = 1 << 25;
/** The last acknowledgement, or packet let through, announced no window. */
export const ZERO_WINDOW: number = 1 << 26;
/** Retransmissions, counted to 3; after a SYN that was let through its options stand here instead. */
export const RETRANS_SHIFT = 27;
export const RETRANS_MASK = 3;
/** Everything below those bits. */
export const BELOW_RETRANS: number = (1 << RETRANS_SHIFT) - 1;
export const PENDING_SACK: number = 1 << 31;

/** Scale of a side that did not offer the option. */
export const NO_SCALE = 15;
const MAX_SCALE = 14;

export const MAX_RETRANSMITS = 3;

/** a < b in sequence space. */
export function before(a: number, b: number): boolean {
  return ((a - b) | 0) < 0;
}

/** a > b in sequence space. */
export function after(a: number, b: number): boolean {
  return ((b - a) | 0) < 0;
}

/** Is a pair's bit set for this direction? */
export function hasFlag(word: number, direction: number, flag: number): boolean {
  return (word & (flag << direction)) !== 0;
}

/** Shift of the windows this direction announces. */
export function shiftOf(word: number, direction: number): number {
  const scale = (word >>> (SCALE_SHIFT + direction * 4)) & 15;
  return scale > MAX_SCALE ? 0 : scale;
}

/** The state word with what a SYN of this direction offers. @param scaleOption shift offered, -1 = none */
export function withOptions(word: number, direction: number, scaleOption: number, sackPermitted: number): number {
  const shift = SCALE_SHIFT + direction * 4;
  const scale = scaleOption < 0 ? NO_SCALE : Math.min(scaleOption, MAX_SCALE);
  const cleared = word & ~((15 << shift) | ((SACK_PERMITTED | UNACKNOWLEDGED | ACK_SEEN) << direction));
  return cleared | (scale << shift) | (sackPermitted !== 0 ? SACK_PERMITTED << direction : 0);
}

/** A pending SYN's options, as bits of the state word; taken out again by adoptPending. */
export function pendingOptions(scaleOption: number, sackPermitted: number): number {
  const scale = scaleOption < 0 ? NO_SCALE : Math.min(scaleOption, MAX_SCALE);
  return (scale << RETRANS_SHIFT) | (sackPermitted !== 0 ? PENDING_SACK : 0);
}

/** The state word with the pending SYN's options as the original direction's own. */
export function adoptPending(word: number): number {
  const scale = (word >>> RETRANS_SHIFT) & 15;
  return withOptions(word, 0, scale > MAX_SCALE ? -1 : scale, word < 0 ? 1 : 0);
}

/** Was the last packet of this kind and direction? */
export function lastWas(word: number, kind: number, direction: number): boolean {
  return ((word >>> LAST_KIND_SHIFT) & LAST_KIND_MASK) === kind && ((word & LAST_REPLY) !== 0 ? 1 : 0) === direction;
}

/** The state word with another last packet. The count of retransmissions stays, unless a SYN's options stood there. */
export function withLast(word: number, kind: number, direction: number): number {
  const wasSyn = ((word >>> LAST_KIND_SHIFT) & LAST_KIND_MASK) === Kind.SYN;
  const kept = wasSyn ? word & BELOW_RETRANS : word;
  const cleared = kept & ~((LAST_KIND_MASK << LAST_KIND_SHIFT) | LAST_REPLY);
  return cleared | (kind << LAST_KIND_SHIFT) | (direction === 1 ? LAST_REPLY : 0);
}
