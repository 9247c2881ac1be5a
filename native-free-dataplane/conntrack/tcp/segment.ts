/**
 * The TCP segment that the tracker works on: the header's fields as numbers. One object per thread is filled for each
 * packet and passed by reference, so that functions do not need a parameter for each field. No other file of conntrack/
 * uses the flag bits of the TCP header.
 */
import { flagsInSequence, TCP_ACK, TCP_FIN, TCP_PSH, TCP_RST, TCP_SYN, TCP_URG } from '../../wire/tcp.ts';

/** Kind of a segment, by its flags: the rows of the state table (states.ts). */
export const Kind = { SYN: 0, SYN_ACK: 1, FIN: 2, ACK: 3, RST: 4, NONE: 5 } as const;
export type Kind = (typeof Kind)[keyof typeof Kind];

/** Fields are int32; sequence numbers wrap. Every one starts as a number, as in packet.ts. */
export class Segment {
  /** 0 from the side that opened the connection, 1 from the other. */
  direction = 0;
  /** The header's flags byte. */
  flags = 0;
  sequence = 0;
  acknowledgment = 0;
  /** As in the header, not scaled. */
  window = 0;
  /** Payload bytes of the segment or super-packet. */
  payloadBytes = 0;
  /** Shift count of the window scale option, -1 without it. */
  windowScale = -1;
  /** 1 with the option "SACK permitted". */
  sackPermitted = 0;
  /** 1 with a SACK block; sackEdge is then the highest right edge. */
  hasSack = 0;
  sackEdge = 0;

  /** Derived from the fields above by classify. */
  kind: Kind = Kind.NONE;
  /** One past the last sequence number the segment occupies. */
  end = 0;

  get syn(): boolean {
    return (this.flags & TCP_SYN) !== 0;
  }

  get ack(): boolean {
    return (this.flags & TCP_ACK) !== 0;
  }

  get rst(): boolean {
    return (this.flags & TCP_RST) !== 0;
  }

  /** Data or an acknowledgement: no SYN, FIN or RST. */
  get plain(): boolean {
    return (this.flags & (TCP_SYN | TCP_FIN | TCP_RST)) === 0;
  }
}

/** The current segment of this thread. Set every field before each call of the tracker. */
export const segment: Segment = new Segment();

/** Set `kind` and `end` from the header's fields. */
export function classify(segment: Segment): void {
  const { flags, sequence, payloadBytes } = segment;
  segment.kind = kindOf(flags);
  segment.end = (sequence + payloadBytes + flagsInSequence(flags)) | 0;
}

/** Kind of a segment with these flags. */
export function kindOf(flags: number): Kind {
  if ((flags & TCP_RST) !== 0) return Kind.RST;
  if ((flags & TCP_SYN) !== 0) return (flags & TCP_ACK) !== 0 ? Kind.SYN_ACK : Kind.SYN;
  if ((flags & TCP_FIN) !== 0) return Kind.FIN;
  return (flags & TCP_ACK) !== 0 ? Kind.ACK : Kind.NONE;
}

/** Combinations of flags that some stack sends; PSH, ECE and CWR may accompany any (linux tcp_valid_flags). */
const VALID_FLAGS: Uint8Array = (() => {
  const valid = new Uint8Array(64);
  const combinations = [
    TCP_SYN,
    TCP_SYN | TCP_URG,
    TCP_SYN | TCP_ACK,
    TCP_RST,
    TCP_RST | TCP_ACK,
    TCP_FIN | TCP_ACK,
    TCP_FIN | TCP_ACK | TCP_URG,
    TCP_ACK,
    TCP_ACK | TCP_URG,
  ];
  for (const flags of combinations) {
    valid[flags] = 1;
    valid[flags | TCP_PSH] = 1;
  }
  return valid;
})();

/** Is this a valid combination of flags? No flags, all flags ("Christmas tree") and SYN with FIN or RST are not. */
export function validTcpFlags(flags: number): boolean {
  return VALID_FLAGS[flags & 0x3f] === 1;
}
