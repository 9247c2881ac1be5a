/**
 * A SYN of a connection that the table holds in another state is let through unbelieved: the other side's answer tells
 * who was right. What is kept of it until then, and how the connection begins anew when the SYN-ACK comes.
 *
 * Read before editing: linux nf_conntrack_proto_tcp.c (TCP_CONNTRACK_IGNORE), RFC 5961 §4.
 */
import { Kind, TcpState } from './states.ts';
import {
  ACK_SEEN,
  adoptPending,
  BELOW_RETRANS,
  CLOSE_INIT,
  DIRECTION_WORDS,
  END,
  LAST,
  LIBERAL,
  lastWas,
  MAX_END,
  MAX_WIN,
  pendingOptions,
  SACK_PERMITTED,
  SPECIAL,
  STATE,
  UNACKNOWLEDGED,
  withLast,
  ZERO_WINDOW,
} from './words.ts';

/** Window assumed of a SYN that was let through and turned out to be right; SYN windows are never scaled. */
const PENDING_WINDOW = 0xffff;

/** Is this the SYN-ACK to a SYN that was let through unbelieved? Then the two ends agree, and the table was wrong. */
export function answersPending(
  words: Int32Array,
  at: number,
  direction: number,
  kind: number,
  acknowledged: number,
): boolean {
  return (
    kind === Kind.SYN_ACK && lastWas(words[at + STATE], Kind.SYN, 1 - direction) && acknowledged === words[at + LAST]
  );
}

/** Begin anew from the SYN that was let through. SYN-ACKs are ignored in the reply direction only, so it was original. */
export function believePending(words: Int32Array, at: number): void {
  words[at + END] = words[at + LAST];
  words[at + MAX_END] = words[at + LAST];
  words[at + MAX_WIN] = PENDING_WINDOW;
  for (let i = 0; i < DIRECTION_WORDS; i++) words[at + DIRECTION_WORDS + i] = 0;
  let word = adoptPending(words[at + STATE]) & ~(CLOSE_INIT | SPECIAL | LIBERAL);
  word &= ~((SACK_PERMITTED | UNACKNOWLEDGED | ACK_SEEN) << 1);
  words[at + STATE] = word;
}

/** Note a packet that passes unbelieved, for what may answer it. */
export function letThrough(
  words: Int32Array,
  at: number,
  direction: number,
  kind: number,
  old: number,
  end: number,
  acknowledged: number,
  window: number,
  scaleOption: number,
  sackPermitted: number,
): void {
  let word = withLast(words[at + STATE], kind, direction) & ~ZERO_WINDOW;
  if (window === 0) word |= ZERO_WINDOW;
  if (kind === Kind.SYN) word &= BELOW_RETRANS;
  if (kind === Kind.SYN && direction === 0) {
    word |= pendingOptions(scaleOption, sackPermitted);
    // The answer may be a challenge ACK, which must not pass for the one that acknowledges the last FIN.
    if (old === TcpState.LAST_ACK) word |= SPECIAL;
    else if (old === TcpState.SYN_RECV) word &= ~SPECIAL;
  }
  words[at + STATE] = word;
  words[at + LAST] = kind === Kind.ACK && old === TcpState.SYN_SENT ? acknowledged : end;
}

/** RFC 9293 §3.6.1: may this SYN open again what TIME_WAIT or CLOSE still holds? */
export function mayReopen(word: number, direction: number, old: number): boolean {
  return (word & CLOSE_INIT) !== 0 || old === TcpState.CLOSE || lastWas(word, Kind.RST, direction);
}
