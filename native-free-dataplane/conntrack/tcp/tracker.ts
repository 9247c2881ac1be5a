/**
 * The TCP connection tracker: a pure state machine over the ten words of a connection's record (connection.ts).
 *
 * It follows linux net/netfilter/nf_conntrack_proto_tcp.c (as of 6.18): the states and the segments that change them
 * (states.ts), the windows a segment must lie in (window.ts), which resets to accept (reset.ts), and here what the
 * table cannot express: SYNs and SYN-ACKs of connections whose record is out of date, and challenge ACKs. It knows no
 * frame: a segment in, a result out. It never adjusts sequence numbers, as no translation here changes any.
 *
 * **Unconfirmed SYN.** A SYN for a connection that the table holds in another state may be right (the client lost its
 * state) or spoofed. It is forwarded and its numbers are kept, while the connection stays as it is. A SYN-ACK that
 * acknowledges it confirms it: the two ends agree, and the record was out of date. Then the connection begins anew.
 *
 * Differences from Linux (test/conformance/tcp-kernel.test.ts plays random conversations to both, and leaves these out;
 * reset.ts has those about resets):
 *   - A SYN replaces a connection in CLOSE whichever side reset it (Linux: only if the SYN's own side did). A client
 *     that comes back from the same port gets a new endpoint, and not the one that has just reset it.
 *   - What is acknowledged to a side that was never heard is not checked; a connection picked up in the middle takes it
 *     as that side's position. (Linux compares with 0 in both cases, so that the outcome depends on the numbers.)
 *   - A FIN or reset from outside the window is noted in ESTABLISHED, FIN_WAIT and CLOSE_WAIT only, as no other state
 *     lasts long enough to need it.
 *   - A reset that is in the window but not exact (reset.ts, INEXACT) leaves the connection 300 s, the timeout of
 *     unacknowledged data, for the challenge ACK or the next segment to come. Linux 6.18 leaves it 10 s, as after a reset
 *     that ends it: a connection that is quiet for longer then continues as a new one, at another endpoint.
 *   - There is no flag for "closed in order" (IP_CT_TCP_FLAG_CLOSE_INIT), on which Linux lets a SYN replace a
 *     connection in TIME_WAIT: by the table, nothing but a FIN leads there.
 *
 * Read before editing: the kernel file, RFC 9293 §3.3.2 and §3.10, RFC 5961 (challenge ACKs), RFC 7323 §2.
 */

import { TimeoutClass } from '../timeouts.ts';
import {
  Connection,
  Flag,
  isRetransmitted,
  isUnacknowledged,
  lastKindOf,
  StreamFlag,
  stateOf,
  tcpBits,
} from './connection.ts';
import { judgeReset, Reset } from './reset.ts';
import { classify, Kind, kindOf, type Segment, validTcpFlags } from './segment.ts';
import { IGNORE, INVALID_STATE, nextState, TcpState } from './states.ts';
import { extendSegment, Fit, fitWindow } from './window.ts';

export const TcpResult = {
  /** The segment belongs to the connection: refresh its timeout (tcpTimeoutClass). */
  OK: 0,
  /** The segment cannot belong to this connection: drop it, change nothing. */
  INVALID: 1,
  /** Forward it, but leave the timeout as it is; the state has not changed. */
  IGNORED: 3,
  /** As INVALID, but both sides have tried to close by now: let the entry live no longer than TCP_UNACKNOWLEDGED. */
  INVALID_CLOSING: 4,
} as const;
export type TcpResult = (typeof TcpResult)[keyof typeof TcpResult];

/** Window assumed of an unconfirmed SYN that is confirmed; the windows of SYNs are never scaled. */
const ASSUMED_WINDOW = 0xffff;

/** The connection in hand of this thread. */
const tcp: Connection = new Connection();

/** The connection's state, for people and tests. */
export function tcpState(words: Int32Array, at: number): TcpState {
  return stateOf(tcpBits(words, at)) as TcpState;
}

/**
 * The first segment of a connection. All ten words are set.
 * @param loose 1 to pick up connections that are already running (after a restart, or a route change)
 * @returns OK, or INVALID when no connection begins like this
 */
export function tcpNew(words: Int32Array, at: number, segment: Segment, loose: number): TcpResult {
  if (!validTcpFlags(segment.flags)) return TcpResult.INVALID;
  classify(segment);
  const state = nextState(0, segment.kind, TcpState.NONE);
  if (state === INVALID_STATE || state === IGNORE) return TcpResult.INVALID;
  tcp.open(words, at, 0);
  tcp.begin(state, segment.kind);
  tcp.last = segment.end;
  const { sender, receiver } = tcp;
  sender.end = segment.end;
  sender.maxWindow = segment.window === 0 ? 1 : segment.window;
  if (state === TcpState.SYN_SENT) {
    sender.maxEnd = segment.end;
    sender.setOptions(segment.windowScale, segment.sackPermitted);
    return TcpResult.OK;
  }
  if (loose === 0) return TcpResult.INVALID;
  // The handshake was not seen, so neither the scales nor the use of SACK are known: check nothing, assume SACK.
  sender.maxEnd = (segment.end + sender.maxWindow) | 0;
  receiver.end = segment.acknowledgment;
  sender.set(StreamFlag.SACK_PERMITTED);
  receiver.set(StreamFlag.SACK_PERMITTED);
  tcp.set(Flag.PICKED_UP);
  return TcpResult.OK;
}

/**
 * Is a segment with these flags a SYN that opens another connection in place of this one, which is over? Asked before
 * tcpPacket, which takes such a SYN for a segment of this connection. Changes nothing.
 */
export function tcpReopens(words: Int32Array, at: number, direction: number, flags: number): boolean {
  if (kindOf(flags) !== Kind.SYN || !validTcpFlags(flags)) return false;
  const state = stateOf(tcpBits(words, at));
  return (
    (state === TcpState.TIME_WAIT || state === TcpState.CLOSE) &&
    nextState(direction, Kind.SYN, state) === TcpState.SYN_SENT
  );
}

/**
 * A segment of a known connection.
 * @param seenReply not 0 when the other side was heard before this segment
 * @param liberal 1 to let segments outside the window pass (nf_conntrack_tcp_be_liberal)
 */
export function tcpPacket(
  words: Int32Array,
  at: number,
  segment: Segment,
  seenReply: number,
  liberal: number,
): TcpResult {
  if (!validTcpFlags(segment.flags)) return TcpResult.INVALID;
  classify(segment);
  const { kind } = segment;
  tcp.open(words, at, segment.direction);
  const old = tcp.state;
  let state: number = nextState(segment.direction, kind, old);
  let checksWindow = true;
  let teaches = true;

  switch (state) {
    case INVALID_STATE:
      return TcpResult.INVALID;
    case TcpState.SYN_SENT:
      // The connection ended since tcpReopens was asked, by another worker's hand. The SYN will come again.
      if (old === TcpState.TIME_WAIT || old === TcpState.CLOSE) return TcpResult.INVALID;
      break;
    case IGNORE:
      if (!confirmsSyn(segment)) {
        ignore(segment);
        return TcpResult.IGNORED;
      }
      beginAnew();
      state = TcpState.SYN_RECV;
      break;
    case TcpState.TIME_WAIT:
      if (isChallengeAck(segment, old)) {
        tcp.clear(Flag.CHALLENGE_EXPECTED);
        return TcpResult.IGNORED;
      }
      break;
    case TcpState.SYN_SENT2:
      // Already now: the other end may answer this SYN even if it lies outside the window that we know.
      tcp.set(Flag.SIMULTANEOUS_OPEN);
      break;
    case TcpState.SYN_RECV:
      if (segment.direction === 1 && kind === Kind.ACK && tcp.has(Flag.SIMULTANEOUS_OPEN)) state = TcpState.ESTABLISHED;
      break;
    case TcpState.CLOSE: {
      if (kind !== Kind.RST) break;
      const reset = judgeReset(tcp, segment);
      if (reset === Reset.INVALID) return TcpResult.INVALID;
      checksWindow = reset !== Reset.ACCEPT;
      if (reset === Reset.INEXACT) {
        state = old;
        teaches = false;
      }
    }
  }

  if (checksWindow) {
    const fit = fitWindow(tcp, segment, teaches);
    if (fit !== Fit.YES && liberal === 0 && !tcp.has(Flag.PICKED_UP)) {
      return fit === Fit.DOUBTFUL ? TcpResult.IGNORED : refuse(kind);
    }
  }
  if (kind === Kind.SYN) tcp.last = segment.end;
  tcp.accept(kind, state, state === TcpState.ESTABLISHED ? Flag.HANDSHAKE_DONE : 0);
  if (state === TcpState.SYN_SENT) tcp.clear(Flag.SIMULTANEOUS_OPEN);
  // A retransmitted SYN must not keep an unanswered entry alive for ever: whoever reuses the port would inherit its
  // endpoint. After an answer, such as a challenge ACK of the server's old connection, it is the client's next attempt.
  return kind === Kind.SYN && old === TcpState.SYN_SENT && state === TcpState.SYN_SENT && seenReply === 0
    ? TcpResult.IGNORED
    : TcpResult.OK;
}

/** A later fragment of a segment whose first was forwarded. @param end one past its last sequence number */
export function tcpFragment(words: Int32Array, at: number, direction: number, end: number): void {
  tcp.open(words, at, direction);
  extendSegment(tcp, end);
}

/** Is this the SYN-ACK that confirms an unconfirmed SYN? */
function confirmsSyn(segment: Segment): boolean {
  return segment.kind === Kind.SYN_ACK && tcp.receiverSentLast(Kind.SYN) && segment.acknowledgment === tcp.last;
}

/** Begin anew with the SYN that is now confirmed. By the table only a reply can confirm one, so it was the original's. */
function beginAnew(): void {
  const { original, reply, last } = tcp;
  original.end = last;
  original.maxEnd = last;
  original.maxWindow = ASSUMED_WINDOW;
  tcp.adoptOptions();
  reply.reset();
  tcp.clear(Flag.SIMULTANEOUS_OPEN);
  tcp.clear(Flag.CHALLENGE_EXPECTED);
  tcp.clear(Flag.HANDSHAKE_DONE);
  tcp.clear(Flag.PICKED_UP);
}

/** Note an ignored segment, for what may answer it. */
function ignore(segment: Segment): void {
  const { kind } = segment;
  const { state } = tcp;
  tcp.noteLast(kind);
  if (segment.window === 0) tcp.set(Flag.ZERO_WINDOW);
  else tcp.clear(Flag.ZERO_WINDOW);
  if (kind === Kind.SYN) {
    tcp.keepOptions(segment.windowScale, segment.sackPermitted);
    // The answer may be a challenge ACK, which must not pass for the one that acknowledges the last FIN.
    if (state === TcpState.LAST_ACK) tcp.set(Flag.CHALLENGE_EXPECTED);
    tcp.clear(Flag.SIMULTANEOUS_OPEN);
  }
  tcp.last = kind === Kind.ACK && state === TcpState.SYN_SENT ? segment.acknowledgment : segment.end;
}

/** RFC 5961 §4: does this ACK answer a stray SYN, instead of acknowledging the last FIN? */
function isChallengeAck(segment: Segment, state: number): boolean {
  return (
    state === TcpState.LAST_ACK &&
    segment.kind === Kind.ACK &&
    tcp.receiverSentLast(Kind.SYN) &&
    tcp.has(Flag.CHALLENGE_EXPECTED)
  );
}

/**
 * A FIN or a reset from outside the window, in a connection that was established: noted, and when the other side had
 * tried the same, the record is out of step with a connection that is ending (linux nf_tcp_handle_invalid).
 */
function refuse(kind: Kind): TcpResult {
  const { state } = tcp;
  const assured = state >= TcpState.ESTABLISHED && state <= TcpState.CLOSE_WAIT && tcp.has(Flag.HANDSHAKE_DONE);
  if (!assured || (kind !== Kind.RST && kind !== Kind.FIN)) return TcpResult.INVALID;
  if (tcp.receiverSentLast(Kind.FIN) || tcp.receiverSentLast(Kind.RST)) return TcpResult.INVALID_CLOSING;
  tcp.noteLast(kind);
  return TcpResult.INVALID;
}

/**
 * May the connection not be evicted when the table is full? Asked after an OK segment: established, and both sides were
 * heard before this segment (linux IPS_ASSURED).
 * @param seenReply not 0 when the other side was heard before
 */
export function tcpAssured(words: Int32Array, at: number, seenReply: number): boolean {
  return seenReply !== 0 && tcpState(words, at) === TcpState.ESTABLISHED;
}

/**
 * Which timeout the connection has now. Asked after an OK segment.
 * @param seenReply not 0 when the other side was heard before this segment
 * @param timeouts seconds by class (timeouts.ts)
 * @returns index into the timeouts; TCP_REFUSED when a reset was the only answer
 */
export function tcpTimeoutClass(words: Int32Array, at: number, seenReply: number, timeouts: Int32Array): number {
  const bits = tcpBits(words, at);
  const state = stateOf(bits);
  const reset = lastKindOf(bits) === Kind.RST;
  if (seenReply === 0) {
    if (reset) return TimeoutClass.TCP_REFUSED;
    if (state === TcpState.ESTABLISHED) return shorter(timeouts, state, TimeoutClass.TCP_UNACKNOWLEDGED);
  }
  if (isRetransmitted(bits) && timeouts[state] > timeouts[TimeoutClass.TCP_MAX_RETRANS])
    return TimeoutClass.TCP_MAX_RETRANS;
  if (reset) {
    return state === TcpState.CLOSE
      ? TimeoutClass.TCP_CLOSE
      : shorter(timeouts, state, TimeoutClass.TCP_UNACKNOWLEDGED);
  }
  if (isUnacknowledged(bits) && timeouts[state] > timeouts[TimeoutClass.TCP_UNACKNOWLEDGED])
    return TimeoutClass.TCP_UNACKNOWLEDGED;
  return (bits & Flag.ZERO_WINDOW) !== 0 ? shorter(timeouts, state, TimeoutClass.TCP_MAX_RETRANS) : state;
}

function shorter(timeouts: Int32Array, a: number, b: number): number {
  return timeouts[a] > timeouts[b] ? b : a;
}
