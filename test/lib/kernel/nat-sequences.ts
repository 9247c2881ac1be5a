/**
 * Sequences of packets for test/e2e/kernel-nat.test.ts: faulty conversations, each drawn from a seeded generator. A
 * sequence ends with the first packet on which the two nodes differ.
 */
import { concat, type FrameOptions, viewOf } from '../frames/frame-builder.ts';
import { transportAt } from '../frames/reverse-packet.ts';
import { pick, type Random } from '../seeded-random.ts';
import {
  changed,
  cut,
  type End,
  errorAbout,
  type Flow,
  piece,
  repaired,
  type Send,
  type Sequence,
  someEnd,
} from './nat-flow.ts';
import { ROUTER } from './nat-lockstep.ts';
import { TCP_SEQUENCES, TcpEnds } from './nat-tcp.ts';

const NOP_OPTIONS = Uint8Array.of(1, 1, 1, 0);
const ROUTER_ALERT = Uint8Array.of(148, 4, 0, 0);
const RECORD_ROUTE = Uint8Array.of(7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0);
const TIMESTAMP = Uint8Array.of(68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0);
const SOURCE_ROUTE = Uint8Array.of(131, 7, 4, 203, 0, 113, 9, 0);

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

/** Datagrams whose checksum is zero after translation, which is sent as all ones (RFC 768). */
function udpZeroSum(flow: Flow, send: Send, random: Random): void {
  if (!send(flow.side(0), flow.packet(0, 'udp', 'len 4'))) return;
  for (const end of [0, 1] as const) {
    // The other end sees this checksum; four payload bytes produce it.
    const there = flow.seenBy(end === 0 ? 1 : 0, 'udp', 'len 4', { payload: random.bytes(4) });
    const here = flow.packet(end, 'udp', 'len 4', { payload: there.slice(28) });
    const view = viewOf(here);
    const sum = viewOf(there).getUint16(26) + view.getUint16(28);
    view.setUint16(28, (sum & 0xffff) + (sum >>> 16));
    if (!send(flow.side(end), repaired(here))) return;
  }
}

/** For queries to pods, not service addresses: those answer pings themselves. */
const asksPods = ({ way }: Flow): boolean => way.name === 'outside' || way.name === 'direct';

function icmpQueries(flow: Flow, send: Send, random: Random): void {
  if (!asksPods(flow)) return;
  const type = pick(random, [8, 8, 8, 13, 17]);
  // An identifier that equals a type: query and reply then differ only in the type.
  const id = random.below(3) === 0 ? type : flow.port;
  for (let i = 0; i < 5; i++) {
    const end = i === 0 ? 0 : someEnd(random);
    const query = flow.packet(end, 'icmp', `echo-request id ${id} seq ${i} len ${random.below(800)}`);
    // Mostly a reply comes back; sometimes a query with the same identifier, or a reply of another type.
    const answer = random.below(5) === 0 ? pick(random, [0, 14, 18, 8]) : type === 8 ? 0 : type + 1;
    const stray = random.below(8) === 0 ? 1 : 0;
    query[transportAt(query)] = end === 0 ? type : answer;
    viewOf(query).setUint16(transportAt(query) + 4, id + (end === 0 ? 0 : stray));
    if (!send(flow.side(end), repaired(query))) return;
  } // The other side asks with the same identifier: a connection of its own.
  const asked = flow.packet(1, 'icmp', `echo-request id ${id} seq 9 len 8`);
  send(flow.side(1), changed(asked, transportAt(asked), type, 'all'));
}

/** A packet that an error may quote: the last packet of a connection, as its receiver got it. */
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

/** Every ICMP error about what either end sent, whole or truncated, valid or damaged. */
function icmpErrors(flow: Flow, send: Send, random: Random): void {
  const end = someEnd(random);
  const about = quotable(flow, send, random, end);
  if (about === undefined) return;
  const receiver: End = end === 0 ? 1 : 0;
  const side = flow.side(receiver);
  for (let i = 0; i < 10; i++) {
    const type = pick(random, [3, 3, 3, 4, 11, 12]);
    const code = type === 3 ? random.below(16) : random.below(3);
    // A router reports less than what did not fit; ours drops other reports (RFC 5927 §7).
    const mtu = about.length - 1 - random.below(20);
    const rest = type === 3 && code === 4 ? mtu : type === 12 ? random.word() : 0;
    const quoted = pick(random, [8, 8, 12, 20, 28, 100]);
    send(side, errorAbout(about, { type, code, rest, quoted }));
  }
}

/** Errors with a single fault each. */
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

/** Headers that are truncated or contradictory, and wrong checksums. */
function damaged(flow: Flow, send: Send, random: Random): void {
  const protocol = pick(random, asksPods(flow) ? ['tcp', 'udp', 'icmp'] : ['tcp', 'udp']);
  const text = { tcp: 'S len 40', udp: 'len 40', icmp: `echo-request id ${flow.port} seq 3 len 40` }[
    protocol
  ] as string;
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
    // Nine bytes after the datagram, but inside the packet.
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

/** A fragmented datagram: shuffled, with duplicates, overlaps or gaps. */
function fragmented(flow: Flow, send: Send, random: Random): void {
  const protocol = pick(random, ['udp', 'udp', 'udp', 'icmp']);
  if (protocol === 'icmp' && !asksPods(flow)) return;
  const bytes = 600 + random.below(4000);
  for (let i = 0; i < 4; i++) {
    const end = i === 0 ? 0 : someEnd(random);
    const name = end === 0 ? 'echo-request' : 'echo-reply';
    const text = protocol === 'udp' ? `len ${bytes}` : `${name} id ${flow.port} seq 1 len ${bytes}`;
    const whole = flow.packet(end, protocol, text, { df: false });
    const step = random.below(12) === 0 ? 16 : 8 * (2 + random.below(120));
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
  ...TCP_SEQUENCES,
  udpBothWays,
  udpZeroSum,
  icmpQueries,
  icmpErrors,
  icmpErrorsWrong,
  damaged,
  fragmented,
};
