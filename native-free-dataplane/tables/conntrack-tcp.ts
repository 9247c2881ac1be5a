/**
 * The TCP connection tracker: a pure state machine over ten words of a flow's record.
 *
 * It follows linux net/netfilter/nf_conntrack_proto_tcp.c: which states there are, which packet moves them on, and
 * the windows a segment must lie in (G. van Rooij, "Real stateful TCP packet filtering", with window scaling and
 * SACK). Where it keeps less than Linux is said at the words below. It knows no frame: numbers in, a result out.
 *
 * Words (from `at`): for the original and then the reply direction
 *   end     one past the highest sequence number sent
 *   maxEnd  the highest sequence number the other side allows (its ack plus its window)
 *   maxWin  the largest window announced, in bytes; 0 until the direction was seen
 *   maxAck  the highest acknowledgement sent
 * then
 *   state   state, last packet's kind and direction, retransmissions, scales and flags of both directions, packed
 *   lastEnd one past the last packet's sequence numbers, or what an ignored ACK in SYN_SENT acknowledged
 *
 * Linux also keeps last_seq, last_ack and last_win. Here a retransmission is a packet without SYN, FIN or RST in the
 * same direction with the same end that acknowledges nothing new: a pure window update counts as one, which shortens
 * nothing but an idle timeout. And a connection that is adopted from an ignored SYN is tracked liberally, because the
 * SYN's scale was not kept.
 *
 * Read before editing: the kernel file, RFC 9293 §3.3.2 and §3.10, RFC 5961 (challenge ACKs), RFC 7323 §2.
 */
import { TimeoutClass } from './conntrack-timeouts.ts';
import { IGNORE, INVALID_STATE, Kind, TcpState, nextState } from './conntrack-tcp-states.ts';

/** Words of a record the tracker uses. */
export const TCP_WORDS = 10;

const END = 0;
const MAX_END = 1;
const MAX_WIN = 2;
const MAX_ACK = 3;
const DIRECTION_WORDS = 4;
const STATE = 8;
const LAST_END = 9;

export const TcpResult = {
  /** The packet belongs and moved the connection on. */
  OK: 0,
  /** The packet cannot belong to this connection. */
  INVALID: 1,
  /** A SYN for a connection that is over: the caller replaces the entry. */
  REOPEN: 2,
  /** Let through without believing it: neither state nor life time changes. */
  IGNORED: 3,
} as const;
export type TcpResult = (typeof TcpResult)[keyof typeof TcpResult];

const FIN = 1;
const SYN = 2;
const RST = 4;
const ACK = 16;

/** Fields of the state word. */
const STATE_MASK = 0xf;
const LAST_KIND_SHIFT = 4;
const LAST_REPLY = 1 << 7;
const RETRANS_SHIFT = 8;
const CHALLENGE = 1 << 10;
const SIMULTANEOUS = 1 << 11;
const SCALE_SHIFT = 12;
const FLAGS_SHIFT = 20;
const FLAGS_PER_DIRECTION = 6;

/** Flags of a direction. */
const SCALED = 1;
const SACK_PERMITTED = 2;
const CLOSE_INIT = 4;
const LIBERAL = 8;
const UNACKNOWLEDGED = 16;
const ACK_SEEN = 32;

/** Linux's MAXACKWINCONST: acknowledgements may be this much older than the newest even for tiny windows. */
const MIN_ACK_WINDOW = 66000;
const MAX_RETRANSMITS = 3;

/** Combinations of flags some stack sends, PSH, ECE and CWR left aside (linux tcp_valid_flags). */
const VALID_FLAGS: Uint8Array = (() => {
  const valid = new Uint8Array(64);
  const URG = 32;
  for (const flags of [SYN, SYN | URG, SYN | ACK, RST, RST | ACK, FIN | ACK, FIN | ACK | URG, ACK, ACK | URG]) {
    valid[flags] = 1;
  }
  return valid;
})();

/** May a segment bear these flags? */
export function validTcpFlags(flags: number): boolean {
  return VALID_FLAGS[flags & (0x3f & ~8)] === 1;
}

function kindOf(flags: number): number {
  if ((flags & RST) !== 0) return Kind.RST;
  if ((flags & SYN) !== 0) return (flags & ACK) !== 0 ? Kind.SYN_ACK : Kind.SYN;
  if ((flags & FIN) !== 0) return Kind.FIN;
  return (flags & ACK) !== 0 ? Kind.ACK : Kind.NONE;
}

function hasFlag(word: number, direction: number, flag: number): boolean {
  return ((word >>> (FLAGS_SHIFT + direction * FLAGS_PER_DIRECTION)) & flag) !== 0;
}

function flagBit(direction: number, flag: number): number {
  return flag << (FLAGS_SHIFT + direction * FLAGS_PER_DIRECTION);
}

function scaleOf(word: number, direction: number): number {
  return (word >>> (SCALE_SHIFT + direction * 4)) & 15;
}

/** a < b, a > b in sequence space. */
const before = (a: number, b: number): boolean => ((a - b) | 0) < 0;
const after = (a: number, b: number): boolean => ((b - a) | 0) < 0;

/** One past the last sequence number the segment takes up. */
function endOf(sequence: number, payloadBytes: number, flags: number): number {
  return (sequence + payloadBytes + ((flags & SYN) !== 0 ? 1 : 0) + ((flags & FIN) !== 0 ? 1 : 0)) | 0;
}

/** The connection's state, for people and tests. */
export function tcpState(words: Int32Array, at: number): TcpState {
  return (words[at + STATE] & STATE_MASK) as TcpState;
}

/**
 * The first packet of a connection. All ten words are set.
 * @param loose 1 to pick up connections that are already running (after a restart, or a route change)
 * @returns OK, or INVALID when no connection begins like this
 */
export function tcpNew(
  words: Int32Array,
  at: number,
  flags: number,
  sequence: number,
  acknowledged: number,
  window: number,
  payloadBytes: number,
  scaleOption: number,
  sackPermitted: number,
  loose: number,
): TcpResult {
  if (!validTcpFlags(flags)) return TcpResult.INVALID;
  const kind = kindOf(flags);
  const state = nextState(0, kind, TcpState.NONE);
  if (state === INVALID_STATE || state === IGNORE) return TcpResult.INVALID;
  for (let i = 0; i < TCP_WORDS; i++) words[at + i] = 0;
  const end = endOf(sequence, payloadBytes, flags);
  words[at + END] = end;
  words[at + MAX_WIN] = window === 0 ? 1 : window;
  words[at + LAST_END] = end;
  if (state === TcpState.SYN_SENT) {
    words[at + MAX_END] = end;
    words[at + STATE] = state | (Kind.SYN << LAST_KIND_SHIFT) | optionBits(0, scaleOption, sackPermitted);
    return TcpResult.OK;
  }
  if (loose === 0) return TcpResult.INVALID;
  words[at + MAX_END] = (end + words[at + MAX_WIN]) | 0;
  words[at + MAX_ACK] = acknowledged;
  words[at + STATE] =
    state |
    (kind << LAST_KIND_SHIFT) |
    flagBit(0, SACK_PERMITTED | LIBERAL | ACK_SEEN) |
    flagBit(1, SACK_PERMITTED | LIBERAL);
  return TcpResult.OK;
}

function optionBits(direction: number, scaleOption: number, sackPermitted: number): number {
  let bits = 0;
  if (scaleOption >= 0) bits |= flagBit(direction, SCALED) | (scaleOption << (SCALE_SHIFT + direction * 4));
  if (sackPermitted !== 0) bits |= flagBit(direction, SACK_PERMITTED);
  return bits;
}

/** Learn a direction from its SYN. Scaling counts only when both sides offer it (RFC 7323 §2.2). */
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
  let word = words[at + STATE];
  word &= ~(15 << (SCALE_SHIFT + direction * 4)) & ~flagBit(direction, SCALED | SACK_PERMITTED);
  word |= optionBits(direction, scaleOption, sackPermitted);
  if (direction === 1 && !(hasFlag(word, 0, SCALED) && hasFlag(word, 1, SCALED))) word &= ~(0xff << SCALE_SHIFT);
  words[at + STATE] = word;
}

/**
 * A packet of a known connection.
 * @param direction 0 original, 1 reply
 * @param payloadBytes of the segment or super-packet
 * @param scaleOption shift of the window scale option, -1 when absent
 * @param sackEdge highest right edge of SACK blocks, valid when hasSack is 1
 * @param liberal 1 to let segments outside the window pass (nf_conntrack_tcp_be_liberal)
 */
export function tcpPacket(
  words: Int32Array,
  at: number,
  direction: number,
  flags: number,
  sequence: number,
  acknowledged: number,
  window: number,
  payloadBytes: number,
  scaleOption: number,
  sackPermitted: number,
  sackEdge: number,
  hasSack: number,
  liberal: number,
): TcpResult {
  if (!validTcpFlags(flags)) return TcpResult.INVALID;
  const kind = kindOf(flags);
  let word = words[at + STATE];
  let old: number = word & STATE_MASK;
  let state: number = nextState(direction, kind, old);
  const lastKind = (word >>> LAST_KIND_SHIFT) & 7;
  const lastDirection = (word & LAST_REPLY) !== 0 ? 1 : 0;
  const lastEnd = words[at + LAST_END];
  const end = endOf(sequence, payloadBytes, flags);
  let skipWindow = false;

  if (state === INVALID_STATE) return TcpResult.INVALID;
  if (state === TcpState.SYN_SENT && old >= TcpState.TIME_WAIT && old !== TcpState.SYN_SENT2) {
    // RFC 9293 §3.6.1: a SYN may reopen what was closed; the old entry must not hold it back.
    if (hasFlag(word, 0, CLOSE_INIT) || hasFlag(word, 1, CLOSE_INIT) || (lastDirection === direction && lastKind === Kind.RST) || old === TcpState.CLOSE) {
      return TcpResult.REOPEN;
    }
    state = IGNORE;
  }
  if (state === IGNORE) {
    if (kind === Kind.SYN_ACK && lastKind === Kind.SYN && lastDirection !== direction && acknowledged === lastEnd) {
      // The answer to a SYN that was let through unbelieved: the table was out of date, the two ends agree.
      const asker = at + lastDirection * DIRECTION_WORDS;
      words[asker + END] = lastEnd;
      words[asker + MAX_END] = lastEnd;
      words[asker + MAX_WIN] = 0xffff;
      const answerer = at + direction * DIRECTION_WORDS;
      for (let i = 0; i < DIRECTION_WORDS; i++) words[answerer + i] = 0;
      word = TcpState.SYN_SENT | flagBit(0, LIBERAL) | flagBit(1, LIBERAL);
      words[at + STATE] = word;
      old = TcpState.SYN_SENT;
      state = TcpState.SYN_RECV;
    } else {
      word = remember(word, kind, direction);
      if (kind === Kind.SYN && old === TcpState.LAST_ACK) word |= CHALLENGE;
      words[at + STATE] = word;
      words[at + LAST_END] = kind === Kind.ACK && old === TcpState.SYN_SENT ? acknowledged : end;
      return TcpResult.IGNORED;
    }
  } else if (state === TcpState.TIME_WAIT) {
    // RFC 5961 §4: this ACK answers a stray SYN, it does not acknowledge the last FIN.
    if (old === TcpState.LAST_ACK && kind === Kind.ACK && lastDirection !== direction && lastKind === Kind.SYN && (word & CHALLENGE) !== 0) {
      words[at + STATE] = word & ~CHALLENGE;
      return TcpResult.IGNORED;
    }
  } else if (state === TcpState.SYN_SENT2) {
    word |= SIMULTANEOUS;
    words[at + STATE] = word;
  } else if (state === TcpState.SYN_RECV) {
    if (direction === 1 && kind === Kind.ACK && (word & SIMULTANEOUS) !== 0) state = TcpState.ESTABLISHED;
  } else if (state === TcpState.CLOSE && kind === Kind.RST) {
    const checked = checkReset(words, at, direction, sequence, acknowledged, old, lastKind, lastDirection, lastEnd);
    if (checked === RESET_INVALID) return TcpResult.INVALID;
    if (checked === RESET_DOUBTED) state = old;
    skipWindow = checked === RESET_BELIEVED;
  }

  if (!skipWindow) {
    const fits = inWindow(words, at, direction, kind, old, flags, sequence, acknowledged, window, end, scaleOption, sackPermitted, sackEdge, hasSack, liberal);
    if (fits !== TcpResult.OK) return fits;
  }
  word = (remember(words[at + STATE], kind, direction) & ~STATE_MASK) | state;
  if (old !== state && state === TcpState.FIN_WAIT) word |= flagBit(direction, CLOSE_INIT);
  words[at + STATE] = word;
  words[at + LAST_END] = end;
  // A retransmitted SYN must not keep an entry alive for ever (linux: port reuse behind a NAT would inherit it).
  if (kind === Kind.SYN && old === TcpState.SYN_SENT && state === TcpState.SYN_SENT) return TcpResult.IGNORED;
  return TcpResult.OK;
}

function remember(word: number, kind: number, direction: number): number {
  return (word & ~((7 << LAST_KIND_SHIFT) | LAST_REPLY)) | (kind << LAST_KIND_SHIFT) | (direction === 1 ? LAST_REPLY : 0);
}

const RESET_PLAUSIBLE = 0;
const RESET_BELIEVED = 1;
const RESET_DOUBTED = 2;
const RESET_INVALID = 3;

/** How much to believe of a reset: RFC 5961 §3, and the exceptions linux makes for answers to what it let through. */
function checkReset(
  words: Int32Array,
  at: number,
  direction: number,
  sequence: number,
  acknowledged: number,
  old: number,
  lastKind: number,
  lastDirection: number,
  lastEnd: number,
): number {
  const word = words[at + STATE];
  const established = old === TcpState.ESTABLISHED;
  let doubted = false;
  if (hasFlag(word, 1 - direction, ACK_SEEN)) {
    const expected = words[at + (1 - direction) * DIRECTION_WORDS + MAX_ACK];
    if (!(sequence === 0 && !established)) {
      if (before(sequence, expected)) return RESET_INVALID;
      const exact = sequence === expected || (lastKind === Kind.ACK && lastDirection === direction && sequence === lastEnd);
      doubted = established && !exact;
    }
  }
  const replySeen = words[at + DIRECTION_WORDS + MAX_WIN] !== 0;
  if ((replySeen && lastKind === Kind.SYN) || (!established && lastKind === Kind.ACK)) {
    if (acknowledged === lastEnd) return RESET_BELIEVED;
  }
  if (old === TcpState.SYN_SENT && lastKind === Kind.ACK && lastDirection === 1 && sequence === lastEnd) return RESET_BELIEVED;
  return doubted ? RESET_DOUBTED : RESET_PLAUSIBLE;
}

/** Does the segment lie within what the other side allows, and its acknowledgement within what was sent? */
function inWindow(
  words: Int32Array,
  at: number,
  direction: number,
  kind: number,
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
): TcpResult {
  const sender = at + direction * DIRECTION_WORDS;
  const receiver = at + (1 - direction) * DIRECTION_WORDS;
  let sequence = segment;
  let end = segmentEnd;
  let ack = acknowledged;
  let sack = hasSack !== 0 && hasFlag(words[at + STATE], 1 - direction, SACK_PERMITTED) && after(sackEdge, ack) ? sackEdge : ack;

  if (words[sender + MAX_WIN] === 0) {
    if ((flags & SYN) !== 0) {
      learnSender(words, at, direction, end, rawWindow, scaleOption, sackPermitted);
      if ((flags & ACK) === 0) return TcpResult.OK;
    } else {
      // The connection was picked up in the middle.
      const window = rawWindow << scaleOf(words[at + STATE], direction);
      words[sender + END] = end;
      words[sender + MAX_WIN] = window === 0 ? 1 : window;
      words[sender + MAX_END] = (end + words[sender + MAX_WIN]) | 0;
      if (words[receiver + MAX_WIN] === 0) {
        words[receiver + END] = sack;
        words[receiver + MAX_END] = sack;
      } else if (sack === ((words[receiver + END] + 1) | 0)) {
        words[receiver + END] = sack;
      }
    }
  } else if ((flags & SYN) !== 0 && after(end, words[sender + END]) && (state === TcpState.SYN_SENT || state === TcpState.SYN_RECV)) {
    learnSender(words, at, direction, end, rawWindow, scaleOption, sackPermitted);
    if (direction === 1 && (flags & ACK) === 0) return TcpResult.OK;
  }

  if ((flags & ACK) === 0 || ((flags & RST) !== 0 && ack === 0)) {
    ack = words[receiver + END];
    sack = ack;
  }
  if ((flags & RST) !== 0 && sequence === 0 && state === TcpState.SYN_SENT) {
    sequence = words[sender + END];
    end = sequence;
  }

  const easy = liberal !== 0 || hasFlag(words[at + STATE], direction, LIBERAL);
  if (!easy) {
    const allowed = words[receiver + MAX_WIN];
    if (!before(sequence, (words[sender + MAX_END] + 1) | 0)) {
      // A sender may overshoot a window that was just made smaller; by no more than the largest one it was offered.
      const overshoot = (end - words[sender + MAX_END] + 1) | 0;
      if (overshoot > allowed) return TcpResult.INVALID;
    }
    if (!before(sack, (words[receiver + END] + 1) | 0)) return TcpResult.INVALID;
    if (allowed !== 0 && !after(end, (words[sender + END] - allowed - 1) | 0)) return TcpResult.IGNORED;
    const ackWindow = words[sender + MAX_WIN] > MIN_ACK_WINDOW ? words[sender + MAX_WIN] : MIN_ACK_WINDOW;
    if (!after(sack, (words[receiver + END] - ackWindow - 1) | 0)) return TcpResult.IGNORED;
  }
  update(words, at, direction, kind, flags, rawWindow, end, ack, sack);
  return TcpResult.OK;
}

/** What an accepted segment teaches about both sides. */
function update(
  words: Int32Array,
  at: number,
  direction: number,
  kind: number,
  flags: number,
  rawWindow: number,
  end: number,
  ack: number,
  sack: number,
): void {
  const sender = at + direction * DIRECTION_WORDS;
  const receiver = at + (1 - direction) * DIRECTION_WORDS;
  let word = words[at + STATE];
  const window = (flags & SYN) !== 0 ? rawWindow : rawWindow << scaleOf(word, direction);
  const reach = (window + ((sack - ack) | 0)) | 0;
  if (words[sender + MAX_WIN] < reach) words[sender + MAX_WIN] = reach;
  const advanced = after(end, words[sender + END]);
  if (advanced) {
    words[sender + END] = end;
    word |= flagBit(direction, UNACKNOWLEDGED);
  }
  let ackAdvanced = false;
  if ((flags & ACK) !== 0) {
    if (!hasFlag(word, direction, ACK_SEEN)) {
      words[sender + MAX_ACK] = ack;
      word |= flagBit(direction, ACK_SEEN);
      ackAdvanced = true;
    } else if (after(ack, words[sender + MAX_ACK])) {
      words[sender + MAX_ACK] = ack;
      ackAdvanced = true;
    }
  }
  if (words[receiver + MAX_WIN] !== 0 && after(end, words[sender + MAX_END])) {
    words[receiver + MAX_WIN] = (words[receiver + MAX_WIN] + ((end - words[sender + MAX_END]) | 0)) | 0;
  }
  const allowedEnd = (sack + window) | 0;
  if (after(allowedEnd, (words[receiver + MAX_END] - 1) | 0)) {
    words[receiver + MAX_END] = window === 0 ? (allowedEnd + 1) | 0 : allowedEnd;
  }
  if (ack === words[receiver + END]) word &= ~flagBit(1 - direction, UNACKNOWLEDGED);
  if (kind === Kind.ACK) {
    const lastDirection = (word & LAST_REPLY) !== 0 ? 1 : 0;
    const again = lastDirection === direction && end === words[at + LAST_END] && !advanced && !ackAdvanced;
    let count = again ? ((word >>> RETRANS_SHIFT) & 3) + 1 : 0;
    if (count > MAX_RETRANSMITS) count = MAX_RETRANSMITS;
    word = (word & ~(3 << RETRANS_SHIFT)) | (count << RETRANS_SHIFT);
  }
  words[at + STATE] = word;
}

/** Does the connection deserve not to be taken when the table is full? Asked after an OK packet of an answered flow. */
export function tcpAssured(words: Int32Array, at: number): boolean {
  return (words[at + STATE] & STATE_MASK) === TcpState.ESTABLISHED;
}

/**
 * Which timeout the connection has now (index into the timeouts, conntrack-timeouts.ts).
 * @param seenReply not 0 when the other side was heard
 */
export function tcpTimeoutClass(words: Int32Array, at: number, seenReply: number): number {
  const word = words[at + STATE];
  const state = word & STATE_MASK;
  if (((word >>> LAST_KIND_SHIFT) & 7) === Kind.RST) return TimeoutClass.TCP_CLOSE;
  const long = state === TcpState.ESTABLISHED || state === TcpState.CLOSE_WAIT;
  if (!long) return state;
  if (((word >>> RETRANS_SHIFT) & 3) >= MAX_RETRANSMITS) return TimeoutClass.TCP_MAX_RETRANS;
  if (hasFlag(word, 0, UNACKNOWLEDGED) || hasFlag(word, 1, UNACKNOWLEDGED)) return TimeoutClass.TCP_UNACKNOWLEDGED;
  if (seenReply === 0 && state === TcpState.ESTABLISHED) return TimeoutClass.TCP_UNACKNOWLEDGED;
  return state;
}
