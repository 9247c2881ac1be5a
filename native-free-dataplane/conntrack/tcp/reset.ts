/**
 * How much to believe of a reset. One that is believed ends the connection, so a blind attacker's guess must not be
 * (RFC 5961 §3), while one that answers a packet the tracker let through has numbers the table does not know.
 *
 * Linux nf_conntrack_tcp_packet, case TCP_CONNTRACK_CLOSE, with these differences:
 *   - "Reset right behind the data" (a train) is recognised by the sender's newest end, where Linux takes the last
 *     packet's; so that nobody can move that end by a reset, a doubted one teaches the window nothing.
 *   - Before the handshake is done a reset must answer the SYN that was seen, or fit the window. Linux compares with
 *     whatever an earlier packet left, often 0, which is what a reset without ACK carries.
 *   - A SYN that was let through does not weaken the check of a reset from its own side: one spoofed SYN and one
 *     spoofed reset would close the connection here, though not at its ends.
 *   - A connection in ESTABLISHED is taken as assured.
 */
import { Kind, TcpState } from './states.ts';
import {
  ACK_SEEN,
  before,
  DIRECTION_WORDS,
  END,
  hasFlag,
  LAST,
  LAST_KIND_MASK,
  LAST_KIND_SHIFT,
  LAST_REPLY,
  lastWas,
  MAX_ACK,
  STATE,
  STATE_MASK,
} from './words.ts';

export const Reset = {
  /** Nothing speaks against it: the window decides. */
  PLAUSIBLE: 0,
  /** It answers what was let through, or the connection is ending anyway. */
  BELIEVED: 1,
  /** In the window but not exact: it passes, and the state stays, as its receiver may answer with a challenge ACK. */
  DOUBTED: 2,
  /** Below what its receiver has acknowledged. */
  INVALID: 3,
} as const;
export type Reset = (typeof Reset)[keyof typeof Reset];

/** How much to believe of a reset: RFC 5961 §3, and the exceptions for answers to what was let through. */
export function judgeReset(
  words: Int32Array,
  at: number,
  direction: number,
  sequence: number,
  acknowledged: number,
): Reset {
  const word = words[at + STATE];
  const old = word & STATE_MASK;
  // From the first FIN on the tuple may be in use again, with numbers that are not in the table.
  if (old >= TcpState.FIN_WAIT && old <= TcpState.CLOSE) return Reset.BELIEVED;
  const lastKind = (word >>> LAST_KIND_SHIFT) & LAST_KIND_MASK;
  const established = old === TcpState.ESTABLISHED;
  const other = at + (1 - direction) * DIRECTION_WORDS;
  // What the other side acknowledged may be out of date only if it has just been sent a SYN that we did not believe.
  if (!lastWas(word, Kind.SYN, 1 - direction) && hasFlag(word, 1 - direction, ACK_SEEN)) {
    const expected = words[other + MAX_ACK];
    if (!established && sequence === 0) return Reset.PLAUSIBLE;
    if (before(sequence, expected)) return Reset.INVALID;
    if (!established || sequence === expected) return Reset.PLAUSIBLE;
    const behindData = lastWas(word, Kind.ACK, direction) && sequence === words[at + direction * DIRECTION_WORDS + END];
    return behindData ? Reset.PLAUSIBLE : Reset.DOUBTED;
  }
  return answersLetThrough(words, at, direction, old, lastKind, sequence, acknowledged)
    ? Reset.BELIEVED
    : Reset.PLAUSIBLE;
}

/** Does the reset answer a SYN, or the ACK of a half-open connection, that was let through? */
function answersLetThrough(
  words: Int32Array,
  at: number,
  direction: number,
  old: number,
  lastKind: number,
  sequence: number,
  acknowledged: number,
): boolean {
  const word = words[at + STATE];
  const last = words[at + LAST];
  if (lastKind === Kind.SYN) return old !== TcpState.SYN_SENT && acknowledged === last;
  if (lastKind !== Kind.ACK) return false;
  if (old === TcpState.SYN_SENT) return (word & LAST_REPLY) !== 0 && sequence === last;
  if (old === TcpState.SYN_SENT2) return acknowledged === last;
  return (
    old === TcpState.SYN_RECV &&
    lastWas(word, Kind.ACK, 1 - direction) &&
    acknowledged === words[at + (1 - direction) * DIRECTION_WORDS + END]
  );
}
