/**
 * The TCP connection tracker: a pure state machine over ten words of a flow's record (conntrack-tcp-words.ts).
 *
 * It follows linux net/netfilter/nf_conntrack_proto_tcp.c (as of 6.18): which states there are and which packet
 * moves them on (conntrack-tcp-states.ts), the windows a segment must lie in (conntrack-tcp-window.ts), how much of a
 * reset to believe (conntrack-tcp-reset.ts), and here what no table can tell: SYNs and SYN-ACKs of a connection we are
 * out of date about, and challenge ACKs. It knows no frame: numbers in, a result out. It never adjusts sequence
 * numbers, as no translation here changes any.
 *
 * Differences from Linux (test/conformance/tcp-kernel.test.ts plays random conversations to both, and leaves out these;
 * conntrack-tcp-reset.ts has those about resets):
 *   - A SYN replaces a connection in CLOSE whoever reset it (Linux: only if the SYN's own side did). A client that
 *     comes back from the same port gets a new endpoint, and not the one that has just reset it.
 *   - What is acknowledged to a side that was never heard is not judged; a connection adopted in the middle takes it as
 *     that side's position. (Linux compares with 0 in both cases, so that the outcome hangs on the numbers.)
 *   - A FIN or reset from outside the window is noted in ESTABLISHED, FIN_WAIT and CLOSE_WAIT only, as no other state
 *     lives long enough to need it.
 *
 * Read before editing: the kernel file, RFC 9293 §3.3.2 and §3.10, RFC 5961 (challenge ACKs), RFC 7323 §2.
 */

import { TimeoutClass } from '../timeouts.ts';
import { answersPending, believePending, letThrough, mayReopen } from './pending.ts';
import { judgeReset, Reset } from './reset.ts';
import { endOf, IGNORE, INVALID_STATE, Kind, kindOf, nextState, TcpState, validTcpFlags } from './states.ts';
import { Fit, fitWindow } from './window.ts';
import {
  CLOSE_INIT,
  DIRECTION_WORDS,
  END,
  LAST,
  LAST_KIND_MASK,
  LAST_KIND_SHIFT,
  LIBERAL,
  lastWas,
  MAX_END,
  MAX_RETRANSMITS,
  MAX_WIN,
  RETRANS_MASK,
  RETRANS_SHIFT,
  SACK_PERMITTED,
  SPECIAL,
  STATE,
  STATE_MASK,
  TCP_WORDS,
  UNACKNOWLEDGED,
  withLast,
  withOptions,
  ZERO_WINDOW,
} from './words.ts';

export const TcpResult = {
  /** The packet belongs and moved the connection on: refresh its life (tcpTimeoutClass). */
  OK: 0,
  /** The packet cannot belong to this connection: drop it, change nothing. */
  INVALID: 1,
  /** A SYN for a connection that is over: the caller replaces the entry. */
  REOPEN: 2,
  /** Let through without believing it: neither state nor life time changes. */
  IGNORED: 3,
  /** As INVALID, but both sides have tried to close by now: let the entry live no longer than TCP_UNACKNOWLEDGED. */
  INVALID_CLOSING: 4,
} as const;
export type TcpResult = (typeof TcpResult)[keyof typeof TcpResult];

/** The connection's state, for people and tests. */
export function tcpState(words: Int32Array, at: number): TcpState {
  return (words[at + STATE] & STATE_MASK) as TcpState;
}

/**
 * The first packet of a connection. All ten words are set.
 * @param flags the TCP header's flags byte
 * @param window as it stands in the header
 * @param scaleOption shift of the window scale option, -1 when absent
 * @param sackPermitted 1 when the option is there
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
  const maxWin = window === 0 ? 1 : window;
  words[at + END] = end;
  words[at + MAX_WIN] = maxWin;
  words[at + LAST] = end;
  const common = state | (kind << LAST_KIND_SHIFT) | ZERO_WINDOW;
  if (state === TcpState.SYN_SENT) {
    words[at + MAX_END] = end;
    words[at + STATE] = withOptions(common, 0, scaleOption, sackPermitted);
    return TcpResult.OK;
  }
  if (loose === 0) return TcpResult.INVALID;
  // What was scaled by how much, and whether SACK is in use, was said before we listened: check nothing, assume SACK.
  words[at + MAX_END] = (end + maxWin) | 0;
  words[at + DIRECTION_WORDS + END] = acknowledged;
  words[at + STATE] = common | SACK_PERMITTED | (SACK_PERMITTED << 1) | LIBERAL | (LIBERAL << 1);
  return TcpResult.OK;
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
  const word = words[at + STATE];
  const old = word & STATE_MASK;
  const end = endOf(sequence, payloadBytes, flags);
  let state: number = nextState(direction, kind, old);
  let windowMatters = true;
  let teaches = 1;

  if (state === INVALID_STATE) return TcpResult.INVALID;
  if (state === TcpState.SYN_SENT && (old === TcpState.TIME_WAIT || old === TcpState.CLOSE)) {
    if (mayReopen(word, direction, old)) return TcpResult.REOPEN;
    state = IGNORE;
  }
  if (state === IGNORE) {
    if (!answersPending(words, at, direction, kind, acknowledged)) {
      letThrough(words, at, direction, kind, old, end, acknowledged, window, scaleOption, sackPermitted);
      return TcpResult.IGNORED;
    }
    believePending(words, at);
    state = TcpState.SYN_RECV;
  } else if (state === TcpState.TIME_WAIT) {
    // RFC 5961 §4: this ACK answers a stray SYN, it does not acknowledge the last FIN.
    if (
      old === TcpState.LAST_ACK &&
      kind === Kind.ACK &&
      lastWas(word, Kind.SYN, 1 - direction) &&
      (word & SPECIAL) !== 0
    ) {
      words[at + STATE] = word & ~SPECIAL;
      return TcpResult.IGNORED;
    }
  } else if (state === TcpState.SYN_SENT2) {
    words[at + STATE] = word | SPECIAL;
  } else if (state === TcpState.SYN_RECV) {
    if (direction === 1 && kind === Kind.ACK && (word & SPECIAL) !== 0) state = TcpState.ESTABLISHED;
  } else if (state === TcpState.CLOSE && kind === Kind.RST) {
    const belief = judgeReset(words, at, direction, sequence, acknowledged);
    if (belief === Reset.INVALID) return TcpResult.INVALID;
    if (belief === Reset.DOUBTED) {
      state = old;
      teaches = 0;
    }
    windowMatters = belief !== Reset.BELIEVED;
  }

  if (windowMatters) {
    const fit = fitWindow(
      words,
      at,
      direction,
      teaches,
      old,
      flags,
      sequence,
      acknowledged,
      window,
      end,
      scaleOption,
      sackPermitted,
      sackEdge,
      hasSack,
      liberal,
    );
    if (fit === Fit.DOUBTFUL) return TcpResult.IGNORED;
    if (fit === Fit.NO) return refuse(words, at, direction, kind);
  }
  if (kind === Kind.SYN) words[at + LAST] = end;
  let now = (withLast(words[at + STATE], kind, direction) & ~STATE_MASK) | state;
  if (state === TcpState.FIN_WAIT && old !== TcpState.FIN_WAIT) now |= CLOSE_INIT;
  now = carrySpecial(now, old, state);
  words[at + STATE] = now;
  // A retransmitted SYN must not keep an entry alive for ever: whoever reuses the port would inherit its endpoint.
  return kind === Kind.SYN && old === TcpState.SYN_SENT && state === TcpState.SYN_SENT
    ? TcpResult.IGNORED
    : TcpResult.OK;
}

/** The state word with its SPECIAL bit, which means another thing in other states. */
function carrySpecial(word: number, old: number, state: number): number {
  switch (state) {
    case TcpState.ESTABLISHED:
      return word | SPECIAL;
    case TcpState.FIN_WAIT:
    case TcpState.CLOSE_WAIT:
      return old >= TcpState.ESTABLISHED && old <= TcpState.CLOSE_WAIT ? word : word & ~SPECIAL;
    case TcpState.LAST_ACK:
      return old === TcpState.LAST_ACK ? word : word & ~SPECIAL;
    case TcpState.SYN_SENT2:
    case TcpState.SYN_RECV:
      return word;
    default:
      return word & ~SPECIAL;
  }
}

/**
 * A FIN or a reset from outside the window, in a connection that was established: noted, and when the other side had
 * tried the same, the table is out of step with a connection that is ending (linux nf_tcp_handle_invalid).
 */
function refuse(words: Int32Array, at: number, direction: number, kind: number): TcpResult {
  const word = words[at + STATE];
  const state = word & STATE_MASK;
  const assured = state >= TcpState.ESTABLISHED && state <= TcpState.CLOSE_WAIT && (word & SPECIAL) !== 0;
  if (!assured || (kind !== Kind.RST && kind !== Kind.FIN)) return TcpResult.INVALID;
  if (lastWas(word, Kind.FIN, 1 - direction) || lastWas(word, Kind.RST, 1 - direction))
    return TcpResult.INVALID_CLOSING;
  words[at + STATE] = withLast(word, kind, direction);
  return TcpResult.INVALID;
}

/**
 * Does the connection deserve not to be taken when the table is full? Asked after an OK packet: established, and both
 * sides were heard before this packet (linux IPS_ASSURED).
 * @param seenReply not 0 when the other side was heard before
 */
export function tcpAssured(words: Int32Array, at: number, seenReply: number): boolean {
  return seenReply !== 0 && (words[at + STATE] & STATE_MASK) === TcpState.ESTABLISHED;
}

/**
 * Which timeout the connection has now. Asked after an OK packet.
 * @param seenReply not 0 when the other side was heard before this packet
 * @param timeouts seconds by class (conntrack-timeouts.ts)
 * @returns index into the timeouts; TCP_REFUSED when a reset was the only answer
 */
export function tcpTimeoutClass(words: Int32Array, at: number, seenReply: number, timeouts: Int32Array): number {
  const word = words[at + STATE];
  const state = word & STATE_MASK;
  const reset = ((word >>> LAST_KIND_SHIFT) & LAST_KIND_MASK) === Kind.RST;
  if (seenReply === 0) {
    if (reset) return TimeoutClass.TCP_REFUSED;
    if (state === TcpState.ESTABLISHED) return shorter(timeouts, state, TimeoutClass.TCP_UNACKNOWLEDGED);
  }
  const retransmitted = ((word >>> RETRANS_SHIFT) & RETRANS_MASK) >= MAX_RETRANSMITS;
  if (retransmitted && timeouts[state] > timeouts[TimeoutClass.TCP_MAX_RETRANS]) return TimeoutClass.TCP_MAX_RETRANS;
  if (reset) return TimeoutClass.TCP_CLOSE;
  if (
    (word & (UNACKNOWLEDGED | (UNACKNOWLEDGED << 1))) !== 0 &&
    timeouts[state] > timeouts[TimeoutClass.TCP_UNACKNOWLEDGED]
  ) {
    return TimeoutClass.TCP_UNACKNOWLEDGED;
  }
  return (word & ZERO_WINDOW) !== 0 ? shorter(timeouts, state, TimeoutClass.TCP_MAX_RETRANS) : state;
}

function shorter(timeouts: Int32Array, a: number, b: number): number {
  return timeouts[a] > timeouts[b] ? b : a;
}
