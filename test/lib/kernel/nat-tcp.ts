/** TCP conversations for test/e2e/kernel-nat.test.ts: in order, and with segments that are stray, late or hostile. */
import { viewOf } from '../frames/frame-builder.ts';
import { pick, type Random } from '../seeded-random.ts';
import { type End, type Flow, piece, type Send, type Sequence, someEnd } from './nat-flow.ts';

/** The two ends of a TCP connection: the next sequence numbers of each. */
export class TcpEnds {
  private readonly flow: Flow;
  private readonly random: Random;
  readonly next: [number, number];
  window = 30_000;

  constructor(flow: Flow, random: Random) {
    this.flow = flow;
    this.random = random;
    this.next = [random.word(), random.word()];
  }

  /** The next segment of an end; `seq` and `ack` shift it from its right position. */
  segment(end: End, flags: string, { len = 0, seq = 0, ack = 0, options = '', keep = false } = {}): Uint8Array {
    const other: End = end === 0 ? 1 : 0;
    const acknowledged = flags.includes('A') ? (this.next[other] + ack) >>> 0 : 0;
    const text = `${flags} seq ${(this.next[end] + seq) >>> 0} ack ${acknowledged} win ${this.window} ${options} len ${len}`;
    const bytes = this.flow.packet(end, 'tcp', text, { df: this.random.below(2) === 0 });
    const takes = len + (/[SF]/.test(flags) ? 1 : 0);
    if (!keep && seq === 0) this.next[end] = (this.next[end] + takes) >>> 0;
    return bytes;
  }

  /** Handshake; false if it failed. */
  open(send: Send): boolean {
    const { flow } = this;
    const options = pick(this.random, ['', '<mss 1300>', '<mss 1300, sackOK, nop, wscale 2>']);
    return (
      send(flow.side(0), this.segment(0, 'S', { options })) &&
      send(flow.side(1), this.segment(1, 'SA', { options })) &&
      send(flow.side(0), this.segment(0, 'A'))
    );
  }

  /** Both sides close, in order. */
  close(send: Send, first: End): boolean {
    const { flow } = this;
    const second: End = first === 0 ? 1 : 0;
    return (
      send(flow.side(first), this.segment(first, 'FA')) &&
      send(flow.side(second), this.segment(second, 'A')) &&
      send(flow.side(second), this.segment(second, 'FA')) &&
      send(flow.side(first), this.segment(first, 'A'))
    );
  }
}

function tcpData(flow: Flow, send: Send, random: Random): void {
  const ends = new TcpEnds(flow, random);
  if (!ends.open(send)) return;
  for (let i = 0; i < 8; i++) {
    const end = someEnd(random);
    if (!send(flow.side(end), ends.segment(end, 'PA', { len: random.below(1200) }))) return;
    const stray = someEnd(random);
    const seq = pick(random, [-1, -1000, -40_000, -70_000, -500_000, 40_000, 130_000, 500_000, 0x40000000]);
    const ack = pick(random, [0, 0, -1000, -70_000, 1000, 500_000]);
    const flags = pick(random, ['A', 'A', 'PA', 'FA', 'UA', 'SF', 'FPU', '-', 'SRA', 'SA']);
    const len = flags === 'SA' ? 0 : random.below(3);
    if (!send(flow.side(stray), ends.segment(stray, flags, { seq, ack, len, keep: true }))) return;
  }
}

function tcpClose(flow: Flow, send: Send, random: Random): void {
  const ends = new TcpEnds(flow, random);
  if (!ends.open(send)) return;
  const first = someEnd(random);
  const second: End = first === 0 ? 1 : 0;
  if (!send(flow.side(first), ends.segment(first, 'FA', { len: random.below(100) }))) return;
  if (!send(flow.side(second), ends.segment(second, 'A'))) return;
  // Half closed: the other side still sends.
  for (let i = random.below(3); i > 0; i--) {
    if (!send(flow.side(second), ends.segment(second, 'PA', { len: 700 }))) return;
    if (!send(flow.side(first), ends.segment(first, 'A'))) return;
  }
  if (!send(flow.side(second), ends.segment(second, 'FA'))) return;
  if (!send(flow.side(first), ends.segment(first, 'A'))) return;
  // Late duplicates in TIME_WAIT.
  if (!send(flow.side(second), ends.segment(second, 'FA', { seq: -1, keep: true }))) return;
  send(flow.side(first), ends.segment(first, 'A', { keep: true }));
}

/** Port reuse while the last connection is in TIME_WAIT or was reset. */
function tcpReuse(flow: Flow, send: Send, random: Random): void {
  let ends = new TcpEnds(flow, random);
  if (!ends.open(send)) return;
  if (random.below(2) === 0) {
    if (!ends.close(send, someEnd(random))) return;
  } else {
    const end = someEnd(random);
    if (!send(flow.side(end), ends.segment(end, 'RA'))) return;
  }
  ends = new TcpEnds(flow, random);
  if (!ends.open(send)) return;
  if (!send(flow.side(1), ends.segment(1, 'PA', { len: 10 }))) return;
  ends.close(send, someEnd(random));
}

/** Repeated SYNs, invalid replies, simultaneous open. */
function tcpOpening(flow: Flow, send: Send, random: Random): void {
  const ends = new TcpEnds(flow, random);
  const again = (end: End, flags: string, seq: number): boolean =>
    send(flow.side(end), ends.segment(end, flags, { seq, keep: true }));
  if (!send(flow.side(0), ends.segment(0, 'S'))) return;
  for (let i = random.below(3); i > 0; i--) if (!again(0, 'S', -1)) return;
  switch (random.below(5)) {
    case 0: // A SYN-ACK that acknowledges something else, then the right one.
      if (!send(flow.side(1), ends.segment(1, 'SA', { ack: pick(random, [1, -5, 7000]), keep: true }))) return;
      break;
    case 1: // Simultaneous open (RFC 9293 figure 7).
      if (!send(flow.side(1), ends.segment(1, 'S'))) return;
      if (!send(flow.side(0), ends.segment(0, 'SA', { seq: -1, keep: true }))) return;
      if (!send(flow.side(1), ends.segment(1, 'SA', { seq: -1, keep: true }))) return;
      if (!send(flow.side(0), ends.segment(0, 'PA', { len: 40 }))) return;
      send(flow.side(1), ends.segment(1, 'A'));
      return;
    case 2: // A half-open server's challenge, and the reset that answers it.
      if (!send(flow.side(1), ends.segment(1, 'A', { ack: 12345, keep: true }))) return;
      if (!send(flow.side(0), ends.segment(0, 'R', { seq: 12345, keep: true }))) return;
      if (!again(0, 'S', -1)) return;
      break;
    case 3: // Refused.
      if (!send(flow.side(1), ends.segment(1, 'RA'))) return;
      break;
    default:
  }
  if (!send(flow.side(1), ends.segment(1, 'SA', { options: '<mss 1300>' }))) return;
  if (!again(1, 'SA', -1)) return;
  if (!send(flow.side(0), ends.segment(0, 'A'))) return;
  // An old SYN, and the challenge ACK (RFC 5961 §4).
  if (!again(0, 'S', pick(random, [-1, 999, -70_000]))) return;
  if (!send(flow.side(1), ends.segment(1, 'A'))) return;
  send(flow.side(0), ends.segment(0, 'PA', { len: 12 }));
}

function tcpReset(flow: Flow, send: Send, random: Random): void {
  const ends = new TcpEnds(flow, random);
  if (!ends.open(send)) return;
  for (let i = 0; i < 3; i++) {
    const end = someEnd(random);
    if (!send(flow.side(end), ends.segment(end, 'PA', { len: 100 }))) return;
    const other: End = end === 0 ? 1 : 0;
    if (!send(flow.side(other), ends.segment(other, 'A'))) return;
  }
  const end = someEnd(random);
  const seq = pick(random, [0, 0, -1, -100, -2000, 500_000, -500_000]);
  if (!send(flow.side(end), ends.segment(end, pick(random, ['R', 'RA']), { seq, keep: true }))) return;
  if (seq === 0) {
    const other: End = end === 0 ? 1 : 0;
    // Packets in flight when the connection was reset.
    send(flow.side(other), ends.segment(other, pick(random, ['R', 'RA'])));
  } else send(flow.side(end), ends.segment(end, 'PA', { len: 5 }));
}

/** Fragmented segments, which the other side then acknowledges as a whole. */
function tcpFragments(flow: Flow, send: Send, random: Random): void {
  const ends = new TcpEnds(flow, random);
  if (!ends.open(send)) return;
  for (let i = 0; i < 3; i++) {
    const end = someEnd(random);
    const whole = ends.segment(end, 'PA', { len: 600 + random.below(800) });
    viewOf(whole).setUint16(6, 0);
    const half = 8 * (3 + random.below(60));
    const pieces = [piece(whole, 0, half, true), piece(whole, half, whole.length - 20, false)];
    if (random.below(3) === 0) pieces.reverse();
    if (!send(flow.side(end), ...pieces)) return;
    const other: End = end === 0 ? 1 : 0;
    if (!send(flow.side(other), ends.segment(other, 'A'))) return;
  }
  ends.close(send, someEnd(random));
}

/** More than the path to a pod can carry. */
function tcpLargeMss(flow: Flow, send: Send, random: Random): void {
  const ends = new TcpEnds(flow, random);
  send(
    flow.side(0),
    ends.segment(0, 'S', { options: pick(random, ['<mss 1460>', '<mss 9000, sackOK, nop, wscale 7>']) }),
  );
  send(flow.side(1), ends.segment(1, 'SA', { options: '<mss 1460>' }));
  send(flow.side(0), ends.segment(0, 'A'));
}

/** A connection whose beginning was not seen. */
function tcpMiddle(flow: Flow, send: Send, random: Random): void {
  const ends = new TcpEnds(flow, random);
  const flags = pick(random, ['A', 'PA', 'FA', 'R', 'RA', 'SA']);
  if (!send(flow.side(0), ends.segment(0, flags, { len: flags === 'PA' ? 50 : 0 }))) return;
  if (flags !== 'A' && flags !== 'PA') return;
  for (let i = 0; i < 4; i++) {
    if (!send(flow.side(1), ends.segment(1, 'PA', { len: 90 }))) return;
    if (!send(flow.side(0), ends.segment(0, 'A'))) return;
  }
}

export const TCP_SEQUENCES: Readonly<Record<string, Sequence>> = {
  tcpData,
  tcpClose,
  tcpReuse,
  tcpOpening,
  tcpReset,
  tcpMiddle,
  tcpLargeMss,
  tcpFragments,
};
