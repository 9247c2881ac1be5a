/**
 * The windows of a tracked TCP connection: what each side may send and acknowledge, learnt from what passed.
 *
 * Linux's tcp_in_window (net/netfilter/nf_conntrack_proto_tcp.c), after G. van Rooij, "Real stateful TCP packet
 * filtering": a segment fits when, in sequence space,
 *   I    it begins no later than the other side's window ends             seq  <= sender.maxEnd
 *   II   it ends no earlier than one window before the newest data        end  >= sender.end - receiver.maxWin
 *   III  it acknowledges (or selectively acknowledges) only what was sent  sack <= receiver.end
 *   IV   and not something very old                                       sack >= receiver.end - max(maxWin, 66000)
 * I and III broken: INVALID. II and IV broken: an old segment, let through without being believed. Segments may begin
 * left or end right of the window, as RFC 9293 §3.10.7.4 accepts them too.
 *
 * Read before editing: the kernel file; RFC 9293 §3.10.7.4, RFC 7323 §2, RFC 2018.
 */
import { ACK, FIN, Kind, RST, SYN, TcpState } from './states.ts';
import {
  ACK_SEEN,
  after,
  BELOW_RETRANS,
  before,
  DIRECTION_WORDS,
  END,
  hasFlag,
  LAST,
  LAST_KIND_MASK,
  LAST_KIND_SHIFT,
  LIBERAL,
  MAX_ACK,
  MAX_END,
  MAX_RETRANSMITS,
  MAX_WIN,
  NO_SCALE,
  RETRANS_MASK,
  RETRANS_SHIFT,
  SACK_PERMITTED,
  SCALE_SHIFT,
  STATE,
  shiftOf,
  UNACKNOWLEDGED,
  withOptions,
  ZERO_WINDOW,
} from './words.ts';

/** Linux's MAXACKWINCONST: acknowledgements may be this much older than the newest even for tiny windows. */
const MIN_ACK_WINDOW = 66000;

export const Fit = {
  /** It fits, and what it teaches was learnt (or the connection is tracked liberally). */
  YES: 0,
  /** It cannot be a segment of this connection. */
  NO: 1,
  /** Old, or somewhat more than was allowed: let it through, believe nothing. */
  DOUBTFUL: 2,
} as const;
export type Fit = (typeof Fit)[keyof typeof Fit];

/** Learn a direction from its SYN or SYN-ACK. */
function learnSender(
  words: Int32Array,
  at: number,
  direction: number,
  end: number,
  window: number,
  scaleOption: number,
  sackPermitted: number,
): void {
  const sender = at + direction * DIRECTION_WORDS;
  words[sender + END] = end;
  words[sender + MAX_END] = end;
  words[sender + MAX_WIN] = window === 0 ? 1 : window;
  let word = withOptions(words[at + STATE], direction, scaleOption, sackPermitted);
  if (direction === 1) {
    // RFC 7323 §2.2: both sides must offer scaling, or neither uses it. An offer that came to nothing is a shift of 0.
    const original = (word >>> SCALE_SHIFT) & 15;
    const reply = (word >>> (SCALE_SHIFT + 4)) & 15;
    if (original === NO_SCALE && reply !== NO_SCALE) word &= ~(15 << (SCALE_SHIFT + 4));
    else if (reply === NO_SCALE && original !== NO_SCALE) word &= ~(15 << SCALE_SHIFT);
  }
  words[at + STATE] = word;
}

/**
 * Does the segment fit, and what does it teach?
 * @param teaches 0 for a reset that is doubted: it must not prepare the ground for the next one
 * @param state the connection's state before the segment
 * @param end one past the last sequence number the segment takes up
 * @param sackEdge highest right edge of SACK blocks, valid when hasSack is 1
 * @param liberal 1 to let everything pass (nf_conntrack_tcp_be_liberal)
 */
export function fitWindow(
  words: Int32Array,
  at: number,
  direction: number,
  teaches: number,
  state: number,
  flags: number,
  segment: number,
  acknowledged: number,
  rawWindow: number,
  segmentEnd: number,
  scaleOption: number,
  sackPermitted: number,
  sackEdge: number,
  hasSack: number,
  liberal: number,
): Fit {
  const sender = at + direction * DIRECTION_WORDS;
  const receiver = at + (1 - direction) * DIRECTION_WORDS;
  let sequence = segment;
  let end = segmentEnd;
  let ack = acknowledged;
  let sack = ack;
  if (hasSack !== 0 && after(sackEdge, ack) && hasFlag(words[at + STATE], 1 - direction, SACK_PERMITTED))
    sack = sackEdge;

  if (words[sender + MAX_WIN] === 0) {
    if ((flags & SYN) !== 0) {
      learnSender(words, at, direction, end, rawWindow, scaleOption, sackPermitted);
      if ((flags & ACK) === 0) return Fit.YES;
    } else {
      // The connection was picked up in the middle: this side's first packet is all there is to go by.
      const window = rawWindow << shiftOf(words[at + STATE], direction);
      words[sender + END] = end;
      words[sender + MAX_WIN] = window === 0 ? 1 : window;
      words[sender + MAX_END] = (end + words[sender + MAX_WIN]) | 0;
      if (words[receiver + MAX_WIN] === 0) {
        words[receiver + END] = sack;
        words[receiver + MAX_END] = sack;
      } else if (sack === ((words[receiver + END] + 1) | 0)) {
        // The answer to a keep-alive probe, which lies one below what is sent next.
        words[receiver + END] = sack;
      }
    }
  } else if (
    (flags & SYN) !== 0 &&
    (state === TcpState.SYN_SENT || state === TcpState.SYN_RECV) &&
    after(end, words[sender + END])
  ) {
    // RFC 9293 §3.4.3: an end that begins anew takes higher numbers, and other options maybe.
    learnSender(words, at, direction, end, rawWindow, scaleOption, sackPermitted);
    if (direction === 1 && (flags & ACK) === 0) return Fit.YES;
  }

  // Without ACK, or with the 0 that some stacks put into their resets, there is nothing to check; nor while nothing is
  // known of the other side (Linux compares with 0 then).
  const unknown = words[receiver + MAX_WIN] === 0 && !hasFlag(words[at + STATE], direction, LIBERAL);
  if ((flags & ACK) === 0 || ((flags & RST) !== 0 && ack === 0) || unknown) {
    ack = words[receiver + END];
    sack = ack;
  }
  // A reset that answers a SYN has no place in the sequence yet.
  if ((flags & RST) !== 0 && sequence === 0 && state === TcpState.SYN_SENT) {
    sequence = words[sender + END];
    end = sequence;
  }

  const fits = judge(words, at, direction, sequence, end, sack);
  if (fits !== Fit.YES) return liberal !== 0 || hasFlag(words[at + STATE], direction, LIBERAL) ? Fit.YES : fits;
  if (teaches !== 0) learn(words, at, direction, flags, rawWindow, sequence, end, ack, sack);
  return Fit.YES;
}

/**
 * More of a segment whose beginning was let through: a later fragment of it. Without this the other side would seem to
 * acknowledge what was never sent. A datagram ends at most 64 KiB behind its beginning, so that is all it can teach.
 * @param end one past the fragment's last sequence number
 */
export function fitContinued(words: Int32Array, at: number, direction: number, end: number): void {
  const sender = at + direction * DIRECTION_WORDS;
  if (!after(end, words[sender + END]) || (end - words[sender + END]) >>> 0 > 0xffff) return;
  words[sender + END] = end;
  words[at + STATE] |= UNACKNOWLEDGED << direction;
}

/** The four rules. */
function judge(words: Int32Array, at: number, direction: number, sequence: number, end: number, sack: number): Fit {
  const sender = at + direction * DIRECTION_WORDS;
  const receiver = at + (1 - direction) * DIRECTION_WORDS;
  const allowed = words[receiver + MAX_WIN];
  const maxWin = words[sender + MAX_WIN] >>> 0;
  const oldestAck = (words[receiver + END] - Math.max(maxWin, MIN_ACK_WINDOW) - 1) | 0;
  const ackSent = before(sack, (words[receiver + END] + 1) | 0);
  const recent = after(end, (words[sender + END] - allowed - 1) | 0);

  if (!before(sequence, (words[sender + MAX_END] + 1) | 0)) {
    // More than was allowed, by no more than the largest window: some stacks do. If the other end takes it, it will
    // acknowledge it, so the data counts as sent.
    const overshoot = (end - words[sender + MAX_END] + 1) >>> 0;
    if (allowed === 0 || !recent || !after(sack, oldestAck) || overshoot > allowed >>> 0 || !ackSent) return Fit.NO;
    words[sender + END] = end;
    words[at + STATE] |= UNACKNOWLEDGED << direction;
    return Fit.DOUBTFUL;
  }
  if (!ackSent) return Fit.NO;
  if (allowed !== 0 && !recent) return Fit.DOUBTFUL;
  return after(sack, oldestAck) ? Fit.YES : Fit.DOUBTFUL;
}

/** What an accepted segment teaches about both sides. */
function learn(
  words: Int32Array,
  at: number,
  direction: number,
  flags: number,
  rawWindow: number,
  sequence: number,
  end: number,
  ack: number,
  sack: number,
): void {
  const sender = at + direction * DIRECTION_WORDS;
  const receiver = at + (1 - direction) * DIRECTION_WORDS;
  let word = words[at + STATE];
  // The window of a SYN is never scaled (RFC 7323 §2.2).
  const window = (flags & SYN) !== 0 ? rawWindow : rawWindow << shiftOf(word, direction);
  const reach = (window + (sack - ack)) | 0;
  if (words[sender + MAX_WIN] >>> 0 < reach >>> 0) words[sender + MAX_WIN] = reach;
  if (after(end, words[sender + END])) {
    words[sender + END] = end;
    word |= UNACKNOWLEDGED << direction;
  }
  if ((flags & ACK) !== 0) {
    if (!hasFlag(word, direction, ACK_SEEN)) {
      words[sender + MAX_ACK] = ack;
      word |= ACK_SEEN << direction;
    } else if (after(ack, words[sender + MAX_ACK])) words[sender + MAX_ACK] = ack;
  }
  if (words[receiver + MAX_WIN] !== 0 && after(end, words[sender + MAX_END])) {
    words[receiver + MAX_WIN] += end - words[sender + MAX_END];
  }
  const allowedEnd = (sack + window) | 0;
  if (after(allowedEnd, (words[receiver + MAX_END] - 1) | 0)) {
    words[receiver + MAX_END] = window === 0 ? (allowedEnd + 1) | 0 : allowedEnd;
  }
  if (ack === words[receiver + END]) word &= ~(UNACKNOWLEDGED << (1 - direction));
  if ((flags & (SYN | FIN | RST)) === 0) {
    const print = fingerprint(direction, sequence, end, ack, rawWindow);
    let count = 0;
    if (words[at + LAST] === print) {
      count = (word >>> RETRANS_SHIFT) & RETRANS_MASK;
      if (count < MAX_RETRANSMITS) count++;
    } else words[at + LAST] = print;
    word &= BELOW_RETRANS & ~(ZERO_WINDOW | (LAST_KIND_MASK << LAST_KIND_SHIFT));
    word |= (count << RETRANS_SHIFT) | (Kind.ACK << LAST_KIND_SHIFT) | (rawWindow === 0 ? ZERO_WINDOW : 0);
  }
  words[at + STATE] = word;
}

/** 32 bits that stand for all that makes an acknowledgement the same as the one before. */
function fingerprint(direction: number, sequence: number, end: number, ack: number, rawWindow: number): number {
  let mixed = Math.imul(sequence, 0x9e3779b1) ^ Math.imul(ack, 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 15) ^ end, 0xc2b2ae35);
  return (mixed ^ (mixed >>> 13) ^ Math.imul((rawWindow << 1) | direction, 0x27d4eb2f)) | 0;
}
