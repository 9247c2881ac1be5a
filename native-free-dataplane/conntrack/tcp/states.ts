/**
 * The state table of TCP tracking: the next state by direction, kind of segment (segment.ts) and current state.
 *
 * As linux tcp_conntracks (net/netfilter/nf_conntrack_proto_tcp.c). The states are those that a host between the two
 * ends can derive from the segments it sees, not the state of either end:
 *   SYN_SENT     a SYN was seen            SYN_SENT2    one from each side (simultaneous open, RFC 9293 figure 7)
 *   SYN_RECV     SYN-ACK seen              ESTABLISHED  the ACK that ends the handshake, or data of an adopted
 *                connection
 *   FIN_WAIT     a FIN was seen            CLOSE_WAIT   and acknowledged
 *   LAST_ACK     FINs from both sides      TIME_WAIT    the last one acknowledged
 *   CLOSE        a reset was accepted
 * IGNORE: forward the segment but keep the state, because the record may be out of date. INVALID_STATE: drop the
 * segment.
 */
export const TcpState = {
  NONE: 0,
  SYN_SENT: 1,
  SYN_RECV: 2,
  ESTABLISHED: 3,
  FIN_WAIT: 4,
  CLOSE_WAIT: 5,
  LAST_ACK: 6,
  TIME_WAIT: 7,
  CLOSE: 8,
  SYN_SENT2: 9,
} as const;
export type TcpState = (typeof TcpState)[keyof typeof TcpState];

/** Names by state, as conntrack-tools print them. */
export const TCP_STATE_NAMES: readonly string[] = [
  'NONE',
  'SYN_SENT',
  'SYN_RECV',
  'ESTABLISHED',
  'FIN_WAIT',
  'CLOSE_WAIT',
  'LAST_ACK',
  'TIME_WAIT',
  'CLOSE',
  'SYN_SENT2',
];

export const INVALID_STATE = 10;
export const IGNORE = 11;

const STATES = 10;
const KINDS = 6;

const LETTERS: Record<string, number> = {
  ss: TcpState.SYN_SENT,
  sr: TcpState.SYN_RECV,
  es: TcpState.ESTABLISHED,
  fw: TcpState.FIN_WAIT,
  cw: TcpState.CLOSE_WAIT,
  la: TcpState.LAST_ACK,
  tw: TcpState.TIME_WAIT,
  cl: TcpState.CLOSE,
  s2: TcpState.SYN_SENT2,
  iv: INVALID_STATE,
  ig: IGNORE,
};

/* Columns:  none ss sr es fw cw la tw cl s2. One row for each kind: first the original direction, then the reply. */
const ROWS: readonly string[] = [
  /* SYN     */ 'ss ss ig ig ig ig ig ss ss s2',
  /* SYN-ACK */ 'iv iv sr iv iv iv iv iv iv sr',
  /* FIN     */ 'iv iv fw fw la la la tw cl iv',
  /* ACK     */ 'es iv es es cw cw tw tw cl iv',
  /* RST     */ 'iv cl cl cl cl cl cl cl cl cl',
  /* none    */ 'iv iv iv iv iv iv iv iv iv iv',
  /* SYN     */ 'iv s2 iv iv iv iv iv ss iv s2',
  /* SYN-ACK */ 'iv sr ig ig ig ig ig ig ig sr',
  /* FIN     */ 'iv iv fw fw la la la tw cl iv',
  /* ACK     */ 'iv ig sr es cw cw tw tw cl ig',
  /* RST     */ 'iv cl cl cl cl cl cl cl cl cl',
  /* none    */ 'iv iv iv iv iv iv iv iv iv iv',
];

const TABLE: Uint8Array = Uint8Array.from(ROWS.flatMap((row) => row.split(' ').map((word) => LETTERS[word])));

/** The state after a packet of `kind` in `direction` (0 original, 1 reply), or IGNORE or INVALID_STATE. */
export function nextState(direction: number, kind: number, state: number): number {
  return TABLE[(direction * KINDS + kind) * STATES + state];
}
