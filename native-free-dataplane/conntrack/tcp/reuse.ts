/**
 * Which TCP connections may be removed early so that a new one gets their record or their translated port: closed ones,
 * that is reset, or closed by both sides and in TIME_WAIT.
 *
 * The port of a connection in TIME_WAIT can be used again at once only by a SYN whose sequence number lies beyond the old
 * connection's. The server, if it is the side that waits, takes such a SYN for a new connection (RFC 9293 §3.6.1, RFC 6191;
 * linux tcp_timewait_state_process) and any other for a segment of the old one. That is why linux nf_nat_core.c
 * nf_seq_has_advanced asks the same. (RFC 6191's time stamps cannot be compared: different hosts made them.)
 */
import { after, originalEnd, stateOf, tcpBits } from './connection.ts';
import { TcpState } from './states.ts';

/** Was it reset, or closed by both sides? */
export function tcpIsClosed(words: Int32Array, at: number): boolean {
  const state = stateOf(tcpBits(words, at));
  return state === TcpState.TIME_WAIT || state === TcpState.CLOSE;
}

/** May the port of this connection be reused by one whose SYN has this sequence number? */
export function tcpYieldsPort(words: Int32Array, at: number, sequence: number): boolean {
  const state = stateOf(tcpBits(words, at));
  if (state === TcpState.TIME_WAIT) return after(sequence, originalEnd(words, at));
  return state === TcpState.CLOSE;
}
