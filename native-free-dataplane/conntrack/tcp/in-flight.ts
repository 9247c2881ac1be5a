/**
 * Can an ICMP error quote this segment? Only one that its sender sent and that was not acknowledged yet; any other number
 * is a guess (RFC 5927 §4.1). The sender's own stack checks the same (linux net/ipv4/tcp_ipv4.c tcp_v4_err), but an error
 * also moves what is between: it would be translated, and its MTU accepted.
 */
import { after, before, Connection, Flag, StreamFlag } from './connection.ts';
import { Kind } from './segment.ts';

/** Bytes below the newest that may be in flight while nothing was acknowledged, at least (window.ts, rule IV). */
const MIN_IN_FLIGHT = 66000;

const tcp: Connection = new Connection();

/**
 * @param direction of the quoted segment: 0 original, 1 reply
 * @param liberal 1 if segments outside the window are accepted, so that what was sent is not known
 */
export function tcpInFlight(
  words: Int32Array,
  at: number,
  direction: number,
  sequence: number,
  liberal: number,
): boolean {
  tcp.open(words, at, direction);
  const { sender, receiver } = tcp;
  if (liberal !== 0 || tcp.has(Flag.PICKED_UP) || sender.maxWindow === 0) return true;
  // A SYN that left the connection as it was; `last` is the number that acknowledges it.
  if (tcp.senderSentLast(Kind.SYN) && ((sequence + 1) | 0) === tcp.last) return true;
  if (after(sequence, sender.end)) return false;
  // A keep-alive probe repeats the number before (RFC 1122 §4.2.3.6).
  const oldest = receiver.has(StreamFlag.ACK_SEEN)
    ? receiver.maxAck - 1
    : sender.end - Math.max(receiver.maxWindow >>> 0, MIN_IN_FLIGHT);
  return !before(sequence, oldest | 0);
}
