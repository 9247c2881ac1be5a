/**
 * Which resets end a connection. One that is accepted does, so a blind attacker's guess must not be (RFC 5961 §3), while
 * a reset that answers an ignored segment has numbers the connection does not know.
 *
 * Linux nf_conntrack_tcp_packet, case TCP_CONNTRACK_CLOSE, with these differences:
 *   - "Reset right behind the data" (a train) is recognised by the sender's newest end, where Linux uses the last
 *     segment's; so that nobody can move that end by a reset, an inexact one teaches the window nothing.
 *   - Before the handshake is done a reset must answer the SYN that was seen, or fit the window. Linux compares with
 *     whatever an earlier segment left, often 0, which is what a reset without ACK carries.
 *   - A SYN that was ignored does not weaken the check of a reset from its own side: one spoofed SYN and one spoofed
 *     reset would close the connection here, though not at its ends.
 *   - A connection in ESTABLISHED is taken as assured.
 */
import { before, type Connection, StreamFlag } from './connection.ts';
import { Kind, type Segment } from './segment.ts';
import { TcpState } from './states.ts';

export const Reset = {
  /** It must fit the window. */
  CHECK_WINDOW: 0,
  /** It answers an ignored segment, or the connection is ending anyway: accepted wherever it lies. */
  ACCEPT: 1,
  /** In the window but not exact: forwarded, and the state stays, as its receiver may answer with a challenge ACK. */
  INEXACT: 2,
  /** Below what its receiver has acknowledged. */
  INVALID: 3,
} as const;
export type Reset = (typeof Reset)[keyof typeof Reset];

/** How far to trust a reset: RFC 5961 §3, and the exceptions for answers to ignored segments. */
export function judgeReset(tcp: Connection, segment: Segment): Reset {
  const { sender, receiver, state } = tcp;
  const { sequence } = segment;
  // From the first FIN on the tuple may be in use again, with numbers that the connection does not know.
  if (state >= TcpState.FIN_WAIT && state <= TcpState.CLOSE) return Reset.ACCEPT;
  // What the receiver acknowledged may be out of date only if it has just sent a SYN that was ignored.
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

/** Does the reset answer an ignored SYN, or the ignored ACK of a half-open connection? */
function answersIgnored(tcp: Connection, segment: Segment): boolean {
  const { state, last, lastKind } = tcp;
  const { sequence, acknowledgment } = segment;
  if (lastKind === Kind.SYN) return state !== TcpState.SYN_SENT && acknowledgment === last;
  if (lastKind !== Kind.ACK) return false;
  if (state === TcpState.SYN_SENT) return tcp.lastDirection === 1 && sequence === last;
  if (state === TcpState.SYN_SENT2) return acknowledgment === last;
  return state === TcpState.SYN_RECV && tcp.receiverSentLast(Kind.ACK) && acknowledgment === tcp.receiver.end;
}
