/**
 * Which resets close a connection. A blind attacker's guess must not (RFC 5961 §3). A reset in response to an ignored
 * segment must, although its sequence number is unknown to the connection.
 *
 * Follows linux nf_conntrack_tcp_packet, case TCP_CONNTRACK_CLOSE, with these differences:
 *   - A reset that follows data directly is recognised by the sender's newest `end`, where Linux uses the last
 *     segment's. An inexact reset does not update the window, so an attacker cannot move `end` with a reset.
 *   - Before the handshake is complete a reset must answer the SYN that was seen, or fit the window. Linux compares
 *     with whatever an earlier segment left, often 0, which is what a reset without ACK carries.
 *   - An ignored SYN does not weaken the check of resets from its own side. Otherwise one spoofed SYN and one spoofed
 *     reset would close the connection here, but not at its ends.
 *   - A connection in ESTABLISHED counts as assured.
 */
import { before, type Connection, StreamFlag } from './connection.ts';
import { Kind, type Segment } from './segment.ts';
import { TcpState } from './states.ts';

export const Reset = {
  /** Accept it if it fits the window. */
  CHECK_WINDOW: 0,
  /** Accept it without a window check: it answers an ignored segment, or the connection is closing anyway. */
  ACCEPT: 1,
  /**
   * In the window but not exact: forward it and keep the state, because its receiver may answer with a challenge ACK.
   */
  INEXACT: 2,
  /** Drop it: its sequence number is below what the receiver has acknowledged. */
  INVALID: 3,
} as const;
export type Reset = (typeof Reset)[keyof typeof Reset];

/** What to do with a reset: RFC 5961 §3, with exceptions for answers to ignored segments. */
export function judgeReset(tcp: Connection, segment: Segment): Reset {
  const { sender, receiver, state } = tcp;
  const { sequence } = segment;
  // After a FIN the tuple may already be in use again, with sequence numbers that the connection does not know.
  if (state >= TcpState.FIN_WAIT && state <= TcpState.CLOSE) return Reset.ACCEPT;
  // The receiver's acknowledgment number is current, unless the receiver has just sent a SYN that was ignored.
  if (!tcp.receiverSentLast(Kind.SYN) && receiver.has(StreamFlag.ACK_SEEN)) {
    const expected = receiver.maxAck;
    const established = state === TcpState.ESTABLISHED;
    if (!established && sequence === 0) return Reset.CHECK_WINDOW;
    if (before(sequence, expected)) return Reset.INVALID;
    if (!established || sequence === expected) return Reset.CHECK_WINDOW;
    const behindData = tcp.senderSentLast(Kind.ACK) && sequence === sender.end;
    return behindData ? Reset.CHECK_WINDOW : Reset.INEXACT;
  }
  return answersIgnored(tcp, segment) ? Reset.ACCEPT : Reset.CHECK_WINDOW;
}

/** Is the reset a response to an ignored SYN, or to the ignored ACK of a half-open connection? */
function answersIgnored(tcp: Connection, segment: Segment): boolean {
  const { state, last, lastKind } = tcp;
  const { sequence, acknowledgment } = segment;
  if (lastKind === Kind.SYN) return state !== TcpState.SYN_SENT && acknowledgment === last;
  if (lastKind !== Kind.ACK) return false;
  if (state === TcpState.SYN_SENT) return tcp.lastDirection === 1 && sequence === last;
  if (state === TcpState.SYN_SENT2) return acknowledgment === last;
  return state === TcpState.SYN_RECV && tcp.receiverSentLast(Kind.ACK) && acknowledgment === tcp.receiver.end;
}
