/**
 * Which TCP connections may be removed early, so that a new one gets their record or their translated port: those that
 * were reset, and those that both sides closed (TIME_WAIT).
 *
 * The port of a connection in TIME_WAIT may be reused only by a SYN whose sequence number is beyond the old
 * connection's. If the server is the side in TIME_WAIT, it accepts such a SYN as a new connection, and any other as a
 * segment of the old one (RFC 9293 §3.6.1, RFC 6191; linux tcp_timewait_state_process). Linux nf_nat_core.c
 * nf_seq_has_advanced checks the same. Timestamps (RFC 6191) cannot be compared, because the two connections may belong
 * to different hosts.
 */
import { after, originalEnd, stateOf, tcpBits } from './connection.ts';
import { TcpState } from './states.ts';

/** Is the connection closed (CLOSE or TIME_WAIT)? @param at first of its ten words */
export function tcpIsClosed(words: Int32Array, at: number): boolean {
  const state = stateOf(tcpBits(words, at));
  return state === TcpState.TIME_WAIT || state === TcpState.CLOSE;
}

/** May a new connection whose SYN has this sequence number reuse the port of this one? */
export function tcpYieldsPort(words: Int32Array, at: number, sequence: number): boolean {
  const state = stateOf(tcpBits(words, at));
  if (state === TcpState.TIME_WAIT) return after(sequence, originalEnd(words, at));
  return state === TcpState.CLOSE;
}
