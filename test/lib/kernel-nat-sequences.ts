/**
 * Sequences of packets for test/e2e/kernel-nat.test.ts: conversations that go wrong in one way or another, each drawn
 * from a seeded generator. A sequence ends with the first packet that the two nodes take differently.
 */
import { concat, type FrameOptions, viewOf } from './frame-builder.ts';
import type { Side } from './kernel-nat.ts';
import { ROUTER } from './kernel-nat-lockstep.ts';
import { changed, cut, type End, errorAbout, type Flow, pick, piece, repaired } from './kernel-nat-flow.ts';
import type { Random } from './seeded-random.ts';
import { transportAt } from './turn-round.ts';

/** Sends packets that make one step; false when the two nodes did not do the same, which ends the sequence. */
export type Send = (side: Side, ...packets: Uint8Array[]) => boolean;
export type Sequence = (flow: Flow, send: Send, random: Random) => void;

const NOP_OPTIONS = Uint8Array.of(1, 1, 1, 0);
const ROUTER_ALERT = Uint8Array.of(148, 4, 0, 0);
const RECORD_ROUTE = Uint8Array.of(7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0);
const TIMESTAMP = Uint8Array.of(68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0);
const SOURCE_ROUTE = Uint8Array.of(131, 7, 4, 203, 0, 113, 9, 0);

/** The two ends of a TCP connection: what each would send next. */
class TcpEnds {
  private readonly flow: Flow;
  private readonly random: Random;
  readonly next: [number, number];
  window = 30_000;

  constructor(flow: Flow, random: Random) {
    this.flow = flow;
    this.random = random;
    this.next = [random.word(), random.word()];
  }

  /** The next segment of an end; `seq` and `ack` move it away from where it should be. */
  segment(end: End, flags: string, { len = 0, seq = 0, ack = 0, options = '', keep = false } = {}): Uint8Array {
    const other: End = end === 0 ? 1 : 0;
    const acknowledged = flags.includes('A') ? (this.next[other] + ack) >>> 0 : 0;
    const text = `${flags} seq ${(this.next[end] + seq) >>> 0} ack ${acknowledged} win ${this.window} ${options} len ${len}`;
    const bytes = this.flow.packet(end, 'tcp', text, { df: this.random.below(2) === 0 });
    const takes = len + (/[SF]/.test(flags) ? 1 : 0);
    if (!keep && seq === 0) this.next[end] = (this.next[end] + takes) >>> 0;
    return bytes;
  }

  /** Handshake; false when it did not come about. */
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

const someEnd = (random: Random): End => random.below(2) as End;

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
  // Half closed: the other side still talks.
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

/** A port that comes back while its last connection is in TIME_WAIT or was reset. */
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

/** SYNs again, answers that are none, both ends that open at once. */
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
    // What was on its way when the connection was reset.
    send(flow.side(other), ends.segment(other, pick(random, ['R', 'RA'])));
  } else send(flow.side(end), ends.segment(end, 'PA', { len: 5 }));
}

/** Segments in fragments: what the other side then acknowledges is the whole of them. */
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

/** More than the path to a pod takes. */
function tcpLargeMss(flow: Flow, send: Send, random: Random): void {
  const ends = new TcpEnds(flow, random);
  send(flow.side(0), ends.segment(0, 'S', { options: pick(random, ['<mss 1460>', '<mss 9000, sackOK, nop, wscale 7>']) }));
  send(flow.side(1), ends.segment(1, 'SA', { options: '<mss 1460>' }));
  send(flow.side(0), ends.segment(0, 'A'));
}

/** A connection of which the beginning was not seen. */
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

function udpBothWays(flow: Flow, send: Send, random: Random): void {
  for (let i = 0; i < 6; i++) {
    const end = i === 0 ? 0 : someEnd(random);
    const options: FrameOptions = {
      udpChecksum: random.below(3) !== 0,
      df: random.below(2) === 0,
      ...(random.below(4) === 0 ? { ipOptions: pick(random, [NOP_OPTIONS, ROUTER_ALERT, TIMESTAMP]) } : {}),
    };
    const datagram = flow.packet(end, 'udp', `len ${random.below(1300)}`, options);
    if (!send(flow.side(end), datagram)) return;
  }
}

/** Datagrams whose checksum, once translated, is a computed zero, which is sent as all ones (RFC 768). */
function udpZeroSum(flow: Flow, send: Send, random: Random): void {
  if (!send(flow.side(0), flow.packet(0, 'udp', 'len 4'))) return;
  for (const end of [0, 1] as const) {
    // Seen by the other end with this checksum; four bytes of payload to make it come out.
    const there = flow.seenBy(end === 0 ? 1 : 0, 'udp', 'len 4', { payload: random.bytes(4) });
    const here = flow.packet(end, 'udp', 'len 4', { payload: there.slice(28) });
    const view = viewOf(here);
    const sum = viewOf(there).getUint16(26) + view.getUint16(28);
    view.setUint16(28, (sum & 0xffff) + (sum >>> 16));
    if (!send(flow.side(end), repaired(here))) return;
  }
}

/** Where pods are asked, not service addresses: those answer pings themselves. */
const asksPods = ({ way }: Flow): boolean => way.name === 'outside' || way.name === 'direct';

function icmpQueries(flow: Flow, send: Send, random: Random): void {
  if (!asksPods(flow)) return;
  const type = pick(random, [8, 8, 8, 13, 17]);
  const id = flow.port;
  for (let i = 0; i < 5; i++) {
    const end = i === 0 ? 0 : someEnd(random);
    const query = flow.packet(end, 'icmp', `echo-request id ${id} seq ${i} len ${random.below(800)}`);
    // Mostly an answer comes back; sometimes a question with the same identifier, or another type's answer.
    const answer = random.below(5) === 0 ? pick(random, [0, 14, 18, 8]) : type === 8 ? 0 : type + 1;
    const stray = random.below(8) === 0 ? 1 : 0;
    query[transportAt(query)] = end === 0 ? type : answer;
    viewOf(query).setUint16(transportAt(query) + 4, id + (end === 0 ? 0 : stray));
    if (!send(flow.side(end), repaired(query))) return;
  }
}

/** What an error may quote: the last packet of a connection, as its receiver got it. */
function quotable(flow: Flow, send: Send, random: Random, end: End): Uint8Array | undefined {
  const options: FrameOptions = {
    ...(random.below(3) === 0 ? { ipOptions: pick(random, [NOP_OPTIONS, ROUTER_ALERT]) } : {}),
    df: random.below(2) === 0,
  };
  const receiver: End = end === 0 ? 1 : 0;
  if (asksPods(flow) && random.below(3) === 0) {
    if (!send(flow.side(0), flow.packet(0, 'icmp', `echo-request id ${flow.port} seq 1 len 60`))) return undefined;
    if (!send(flow.side(1), flow.packet(1, 'icmp', `echo-reply id ${flow.port} seq 1 len 60`))) return undefined;
    const name = end === 0 ? 'echo-request' : 'echo-reply';
    return flow.seenBy(receiver, 'icmp', `${name} id ${flow.port} seq 1 len 60`, options);
  }
  if (random.below(2) === 0) {
    if (!send(flow.side(0), flow.packet(0, 'udp', 'len 90'))) return undefined;
    if (!send(flow.side(1), flow.packet(1, 'udp', 'len 90'))) return undefined;
    return flow.seenBy(receiver, 'udp', 'len 90', { ...options, udpChecksum: random.below(3) !== 0 });
  }
  const ends = new TcpEnds(flow, random);
  if (!ends.open(send)) return undefined;
  return flow.seenBy(receiver, 'tcp', `PA seq ${ends.next[end]} ack 5 len 100`, options);
}

/** Every ICMP error about what either end sent, whole or cut, sound or damaged. */
function icmpErrors(flow: Flow, send: Send, random: Random): void {
  const end = someEnd(random);
  const about = quotable(flow, send, random, end);
  if (about === undefined) return;
  const receiver: End = end === 0 ? 1 : 0;
  const side = flow.side(receiver);
  for (let i = 0; i < 10; i++) {
    const type = pick(random, [3, 3, 3, 4, 11, 12]);
    const code = type === 3 ? random.below(16) : random.below(3);
    const rest = type === 3 && code === 4 ? 1280 + random.below(100) : type === 12 ? random.word() : 0;
    const quoted = pick(random, [8, 8, 12, 20, 28, 100]);
    send(side, errorAbout(about, { type, code, rest, quoted }));
  }
}

/** Errors that are wrong in one way each. */
function icmpErrorsWrong(flow: Flow, send: Send, random: Random): void {
  const end = someEnd(random);
  const about = quotable(flow, send, random, end);
  if (about === undefined) return;
  const receiver: End = end === 0 ? 1 : 0;
  const side = flow.side(receiver);
  const type = pick(random, [3, 11, 12]);
  const l4 = transportAt(about);
  const sound = errorAbout(about, { type, code: 0 });
  const tell = (quote: Uint8Array, quoted?: number): void => {
    send(side, errorAbout(quote, { type, code: 0, ...(quoted === undefined ? {} : { quoted }) }));
  };
  send(side, changed(sound, sound.length - 1, (sound.at(-1) ?? 0) ^ 1));
  tell(changed(about, 8, 7));
  tell(changed(about, about.length - 1, 0xee));
  tell(changed(about, l4, 0x7f));
  tell(changed(about, 9, 77, 'header'));
  tell(changed(about, 0, 0x65, 'none'));
  tell(changed(about, 7, 3, 'header'));
  tell(changed(about, 6, 0x20, 'header'));
  for (const quoted of [0, 4, 7, 17, 18, 19]) tell(about, quoted);
  send(side, errorAbout(about, { type, code: 0, to: Uint8Array.of(10, 244, 1, 77) }));
  send(side, errorAbout(about, { type: 5, code: 1, rest: 0x0af40103 }));
  if (side === 'host') send(side, errorAbout(about, { type, code: 0, from: ROUTER }));
  const options = { quoted: 28 };
  send(side, errorAbout(errorAbout(about, { type, code: 0 }), { type, code: 0, ...options }));
  viewOf(sound).setUint16(4, flow.port);
  send(side, piece(sound, 0, 32, true), piece(sound, 32, sound.length - 20, false));
}

/** Headers cut short or that contradict themselves, and checksums that are wrong. */
function damaged(flow: Flow, send: Send, random: Random): void {
  const protocol = pick(random, asksPods(flow) ? ['tcp', 'udp', 'icmp'] : ['tcp', 'udp']);
  const text = { tcp: 'S len 40', udp: 'len 40', icmp: `echo-request id ${flow.port} seq 3 len 40` }[protocol] as string;
  const sound = flow.packet(0, protocol, text);
  const side = flow.side(0);
  const l4 = transportAt(sound);
  const header = protocol === 'tcp' ? 20 : 8;
  send(side, cut(sound, l4 + random.below(header)));
  send(side, cut(sound, l4 - 1));
  send(side, changed(sound, 10, (sound[10] ?? 0) ^ 0x40));
  send(side, changed(sound, 0, 0x44, 'header'));
  send(side, changed(sound, 0, 0x55, 'header'));
  send(side, changed(sound, 0, 0x4f, 'header'));
  send(side, changed(sound, 2, 0xff, 'header'));
  send(side, concat(sound, random.bytes(9)));
  if (protocol === 'tcp') {
    send(side, changed(sound, l4 + 12, 0x40, 'all'));
    send(side, changed(sound, l4 + 12, 0xf0, 'all'));
  }
  if (protocol === 'udp') {
    send(side, changed(sound, l4 + 5, 7, 'all'));
    send(side, changed(sound, l4 + 5, 200, 'all'));
    // Nine bytes behind the datagram, but inside the packet.
    const longer = concat(sound, random.bytes(9));
    viewOf(longer).setUint16(2, longer.length);
    send(side, cut(longer, longer.length));
  }
  if (protocol !== 'icmp') {
    for (const at of [l4, l4 + 2]) {
      const zero = sound.slice();
      viewOf(zero).setUint16(at, 0);
      send(side, repaired(zero));
    }
  } else for (const type of [1, 2, 7, 9, 10, 15, 16, 19, 30, 40, 255]) send(side, changed(sound, l4, type, 'all'));
  send(side, flow.packet(0, protocol, text, { ipOptions: pick(random, [RECORD_ROUTE, SOURCE_ROUTE]) }));
  if (!send(side, changed(sound, sound.length - 1, (sound.at(-1) ?? 0) ^ 0x81))) return;
  send(side, sound);
}

/** A datagram in fragments: shuffled, some twice, overlapping or missing. */
function fragmented(flow: Flow, send: Send, random: Random): void {
  const protocol = pick(random, ['udp', 'udp', 'udp', 'icmp']);
  if (protocol === 'icmp' && !asksPods(flow)) return;
  const bytes = 600 + random.below(4000);
  for (let i = 0; i < 4; i++) {
    const end = i === 0 ? 0 : someEnd(random);
    const name = end === 0 ? 'echo-request' : 'echo-reply';
    const text = protocol === 'udp' ? `len ${bytes}` : `${name} id ${flow.port} seq 1 len ${bytes}`;
    const whole = flow.packet(end, protocol, text, { df: false });
    const step = 8 * (2 + random.below(120));
    const payload = whole.length - 20;
    const pieces: Uint8Array[] = [];
    for (let at = 0; at < payload; at += step)
      pieces.push(piece(whole, at, Math.min(at + step, payload), at + step < payload));
    const fault = i === 0 ? 0 : random.below(6);
    const some = random.below(pieces.length);
    if (fault === 1) pieces.push(pieces[some] as Uint8Array);
    if (fault === 2 && step < payload) pieces.push(piece(whole, 8, Math.min(8 + step, payload - 8), true));
    if (fault === 3) pieces.splice(some, 1);
    for (let at = pieces.length - 1; at > 0; at--) {
      const other = random.below(at + 1);
      [pieces[at], pieces[other]] = [pieces[other] as Uint8Array, pieces[at] as Uint8Array];
    }
    if (pieces.length > 0 && !send(flow.side(end), ...pieces)) continue;
  }
}

export const SEQUENCES: Readonly<Record<string, Sequence>> = {
  tcpData,
  tcpClose,
  tcpReuse,
  tcpOpening,
  tcpReset,
  tcpMiddle,
  tcpLargeMss,
  tcpFragments,
  udpBothWays,
  udpZeroSum,
  icmpQueries,
  icmpErrors,
  icmpErrorsWrong,
  damaged,
  fragmented,
};
