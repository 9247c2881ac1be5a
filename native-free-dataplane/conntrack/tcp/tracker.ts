/**
 * The TCP connection tracker: a state machine over the ten words of a connection's record (connection.ts).
 *
 * It follows linux net/netfilter/nf_conntrack_proto_tcp.c (as of 6.18). The state table is in states.ts, the window
 * check in window.ts, the check of resets in reset.ts. This file has what the table cannot express: SYNs and SYN-ACKs
 * of connections whose record is out of date, and challenge ACKs. Sequence numbers are never changed, because no
 * translation here changes the length of a payload.
 *
 * **Unconfirmed SYN.** A SYN for a connection that is in another state may be genuine (the client has lost its state)
 * or spoofed. It is forwarded and its numbers are stored, while the connection stays as it is. A SYN-ACK that
 * acknowledges it confirms it: the two ends agree, and the record was out of date. The connection is then restarted
 * from that SYN.
 *
 * Differences from Linux (test/conformance/tcp-kernel.test.ts compares random conversations with the kernel's tracker
 * and leaves these out; reset.ts lists those about resets):
 *   - A SYN replaces a connection in CLOSE whichever side reset it (Linux: only if the SYN's own side did). A client
 *     that comes back from the same port gets a new endpoint, and not the one that has just reset it.
 *   - An acknowledgment to a side that has not sent anything yet is not checked; for a connection picked up in the
 *     middle it becomes that side's position. (Linux compares with 0 in both cases, so the result depends on the
 *     numbers.)
 *   - A FIN or reset outside the window is recorded in ESTABLISHED, FIN_WAIT and CLOSE_WAIT only; no other state lasts
 *     long enough to need it.
 *   - A reset that is in the window but not exact (reset.ts, INEXACT) leaves the connection 300 s, the timeout of
 *     unacknowledged data, for the challenge ACK or the next segment to arrive. Linux 6.18 leaves it 10 s, as after a
 *     reset that closes it; a connection that is idle for longer then continues as a new one, at another endpoint.
 *   - There is no flag for "closed in order" (IP_CT_TCP_FLAG_CLOSE_INIT), which Linux requires before a SYN replaces a
 *     connection in TIME_WAIT: by the state table, only a FIN leads to TIME_WAIT.
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
  /** The segment cannot belong to this connection: drop it and change nothing. */
  INVALID: 1,
  /** Forward it but do not refresh the timeout; the state has not changed. */
  IGNORED: 3,
  /** As INVALID, but both sides have tried to close: limit the timeout to TCP_UNACKNOWLEDGED. */
  INVALID_CLOSING: 4,
} as const;
export type TcpResult = (typeof TcpResult)[keyof typeof TcpResult];

/** Window assumed for an unconfirmed SYN when it is confirmed: the largest, as the window of a SYN is never scaled. */
const ASSUMED_WINDOW = 0xffff;

/** The current connection of this thread. */
const tcp: Connection = new Connection();

/** The connection's state. */
export function tcpState(words: Int32Array, at: number): TcpState {
  return stateOf(tcpBits(words, at)) as TcpState;
}

/**
 * Start tracking a connection with its first segment; initialises all ten words.
 * @param loose 1 to adopt connections that are already established (after a restart, or a route change)
 * @returns OK, or INVALID if no connection can begin with this segment
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
  // The handshake was not seen, so window scales and SACK are unknown: do not check windows, and assume SACK.
  sender.maxEnd = (segment.end + sender.maxWindow) | 0;
  receiver.end = segment.acknowledgment;
  sender.set(StreamFlag.SACK_PERMITTED);
  receiver.set(StreamFlag.SACK_PERMITTED);
  tcp.set(Flag.PICKED_UP);
  return TcpResult.OK;
}

/**
 * Start tracking a connection that another tracker has followed up to this state; initialises all ten words. As for one
 * adopted by tcpNew, windows are not checked, but no segment has been seen yet: both sides' positions are learned from
 * their next ones (window.ts).
 */
export function tcpPickedUp(words: Int32Array, at: number, state: number): void {
  tcp.open(words, at, 0);
  tcp.begin(state, state === TcpState.SYN_SENT ? Kind.SYN : Kind.ACK);
  tcp.original.set(StreamFlag.SACK_PERMITTED);
  tcp.reply.set(StreamFlag.SACK_PERMITTED);
  tcp.set(Flag.PICKED_UP);
}

/**
 * Is a segment with these flags a SYN that opens a new connection in place of this closed one? Must be called before
 * tcpPacket, which treats such a SYN as a segment of this connection. Changes nothing.
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
 * Track a later segment of a connection.
 * @param seenReply not 0 if a reply was seen before this segment
 * @param liberal 1 to accept segments outside the window (nf_conntrack_tcp_be_liberal)
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
  let updates = true;

  switch (state) {
    case INVALID_STATE:
      return TcpResult.INVALID;
    case TcpState.SYN_SENT:
      // Another worker has closed the connection since tcpReopens was called. The client will retransmit its SYN.
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
      // Set before the window check: the other end may answer this SYN even if it fails the check here.
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
        updates = false;
      }
    }
  }

  if (checksWindow) {
    const fit = fitWindow(tcp, segment, updates);
    if (fit !== Fit.YES && liberal === 0 && !tcp.has(Flag.PICKED_UP)) {
      return fit === Fit.DOUBTFUL ? TcpResult.IGNORED : refuse(kind);
    }
  }
  if (kind === Kind.SYN) tcp.last = segment.end;
  tcp.accept(kind, state, state === TcpState.ESTABLISHED ? Flag.HANDSHAKE_DONE : 0);
  if (state === TcpState.SYN_SENT) tcp.clear(Flag.SIMULTANEOUS_OPEN);
  // A retransmitted SYN must not keep an unanswered connection alive forever: a new connection from the same port would
  // get its endpoint. After a reply, such as a challenge ACK of the server's old connection, it counts as a new
  // attempt.
  return kind === Kind.SYN && old === TcpState.SYN_SENT && state === TcpState.SYN_SENT && seenReply === 0
    ? TcpResult.IGNORED
    : TcpResult.OK;
}

/**
 * Track a later fragment of a segment whose first fragment was forwarded.
 * @param end one past its last sequence number
 */
export function tcpFragment(words: Int32Array, at: number, direction: number, end: number): void {
  tcp.open(words, at, direction);
  extendSegment(tcp, end);
}

/** Is this the SYN-ACK that confirms an unconfirmed SYN? */
function confirmsSyn(segment: Segment): boolean {
  return segment.kind === Kind.SYN_ACK && tcp.receiverSentLast(Kind.SYN) && segment.acknowledgment === tcp.last;
}

/**
 * Restart the connection from the SYN that is now confirmed. Only a reply can confirm it, so the original side sent it.
 */
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

/** Record an ignored segment, so that the response to it is recognised. */
function ignore(segment: Segment): void {
  const { kind } = segment;
  const { state } = tcp;
  tcp.noteLast(kind);
  if (segment.window === 0) tcp.set(Flag.ZERO_WINDOW);
  else tcp.clear(Flag.ZERO_WINDOW);
  if (kind === Kind.SYN) {
    tcp.keepOptions(segment.windowScale, segment.sackPermitted);
    // A challenge ACK in response must not be mistaken for the acknowledgement of the last FIN.
    if (state === TcpState.LAST_ACK) tcp.set(Flag.CHALLENGE_EXPECTED);
    tcp.clear(Flag.SIMULTANEOUS_OPEN);
  }
  tcp.last = kind === Kind.ACK && state === TcpState.SYN_SENT ? segment.acknowledgment : segment.end;
}

/** Is this ACK a challenge ACK in response to a SYN, not an acknowledgement of the last FIN (RFC 5961 §4)? */
function isChallengeAck(segment: Segment, state: number): boolean {
  return (
    state === TcpState.LAST_ACK &&
    segment.kind === Kind.ACK &&
    tcp.receiverSentLast(Kind.SYN) &&
    tcp.has(Flag.CHALLENGE_EXPECTED)
  );
}

/**
 * Result for a segment outside the window. A FIN or reset in an established connection is recorded. If the other side
 * has sent one too, the connection is closing and its record is out of date (linux nf_tcp_handle_invalid).
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
 * Is the connection assured: established, and replied to before this segment (linux IPS_ASSURED)? Call after an OK
 * segment.
 * @param seenReply not 0 if a reply was seen before this segment
 */
export function tcpAssured(words: Int32Array, at: number, seenReply: number): boolean {
  return seenReply !== 0 && tcpState(words, at) === TcpState.ESTABLISHED;
}

/**
 * The connection's timeout class. Call after an OK segment.
 * @param seenReply not 0 if a reply was seen before this segment
 * @param timeouts seconds by class (timeouts.ts)
 * @returns index into the timeouts; TCP_REFUSED if a reset was the only reply
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
