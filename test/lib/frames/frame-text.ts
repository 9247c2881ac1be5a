/**
 * A whole valid frame from the line that print/frame.ts prints of it, so that a test reads as packets in, packets out:
 *
 *   frame('tcp 10.244.1.2:4000 > 10.96.0.10:80 S')
 *   frame('tcp 10.244.1.2:4000 > 10.96.0.10:80 SA seq 9 ack 2 win 500 <mss 1410, wscale 7> len 5', { ttl: 3 })
 *   frame('udp [fd00::2]:53 > [fd00::3]:53 len 31')
 *   frame('icmp 10.244.1.2 > 10.244.1.1 echo-request id 7 seq 1 len 56')
 *   frame('icmp 10.244.1.1 > 10.244.1.2 unreachable fragmentation-needed mtu 1450 (tcp 10.244.1.2:1 > 10.96.0.10:80 A)')
 *   frame('arp who-has 10.244.1.1 tell 10.244.1.2')       frame('arp 10.244.1.1 is-at 0a:58:0a:f4:01:01')
 *   frame('vxlan 172.18.0.11:49200 > 172.18.0.12:4789 vni 1 (tcp 10.244.1.2:4000 > 10.244.2.2:80 S)')
 *   frame('udp 10.244.1.2 > 10.244.2.2 len 100 frag id 7 offset 1480')
 *
 * What the line leaves out comes from the options, else from a default. A line that makes no sense throws.
 */
import { icmpName, icmpv6Name } from '../../../native-free-dataplane/print/icmp-names.ts';
import { protocolName } from '../../../native-free-dataplane/protocols.ts';
import { addressFamily, addressWords, macWords } from '../../../native-free-dataplane/wire/address.ts';
import {
  ARP_REPLY,
  ARP_REQUEST,
  emitArp,
  writeArpSender,
  writeArpTarget,
} from '../../../native-free-dataplane/wire/arp.ts';
import { ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from '../../../native-free-dataplane/wire/ethernet.ts';
import { emitIcmp, isIcmpError } from '../../../native-free-dataplane/wire/icmp.ts';
import { emitUdp } from '../../../native-free-dataplane/wire/udp.ts';
import { emitVxlan } from '../../../native-free-dataplane/wire/vxlan.ts';
import type { FrameOptions } from './frame-builder.ts';
import { concat, ethernetFrame, gatewayMacOf, ipPacket, macOf, payloadBytes, viewOf } from './frame-builder.ts';
import { tcpOptionBytes } from './tcp-option-text.ts';

export type { FrameOptions } from './frame-builder.ts';

const BROADCAST = 'ff:ff:ff:ff:ff:ff';
const FLAG_BITS: Readonly<Record<string, number>> = { S: 2, F: 1, R: 4, P: 8, A: 16, U: 32, E: 64, C: 128 };

/** The tokens of a line, read once from left to right. */
class Words {
  private readonly words: string[];
  private at = 0;
  private readonly text: string;

  constructor(text: string) {
    this.text = text;
    this.words = text.match(/[()]|<[^>]*>|>|[^\s()<>]+/g) ?? [];
  }

  peek(): string {
    return this.words[this.at] ?? '';
  }

  next(): string {
    const word = this.peek();
    if (word === '') this.fail('more');
    this.at++;
    return word;
  }

  /** Consume the token if it is the next one. */
  take(word: string): boolean {
    if (this.peek() !== word) return false;
    this.at++;
    return true;
  }

  expect(word: string): void {
    if (!this.take(word)) this.fail(word);
  }

  /** The number after a keyword, or undefined if the keyword is not next. */
  number(keyword: string): number | undefined {
    if (!this.take(keyword)) return undefined;
    const value = Number(this.next());
    return Number.isInteger(value) ? value : this.fail(`a number after ${keyword}`);
  }

  fail(expected: string): never {
    const found = this.peek() || 'the end';
    throw new Error(`frame text ${JSON.stringify(this.text)}: expected ${expected}, found ${JSON.stringify(found)}`);
  }
}

interface Endpoint {
  address: Int32Array;
  port: number | undefined;
}

/** The IP packet of a line, and the values for its Ethernet header. */
interface Packet {
  bytes: Uint8Array;
  src: Int32Array;
}

/** The frame of a line. */
export function frame(text: string, options: FrameOptions = {}): Uint8Array {
  const words = new Words(text);
  const bytes = readFrame(words, options);
  if (words.peek() !== '') words.fail('the end');
  return bytes;
}

/** The IP packet of a line, without an Ethernet header. */
export function packet(text: string, options: FrameOptions = {}): Uint8Array {
  const words = new Words(text);
  const { bytes } = readPacket(words, options);
  if (words.peek() !== '') words.fail('the end');
  return bytes;
}

const ipv4Word = (text: string): number => addressWords(text)[3]!;

function readFrame(words: Words, options: FrameOptions): Uint8Array {
  if (words.peek() === 'arp') return readArp(words, options);
  const outer = words.peek() === 'vxlan' || words.peek() === 'ipip' ? (options.outer ?? {}) : options;
  const { bytes, src } = readPacket(words, options);
  const type = addressFamily(src) === 4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6;
  return ethernetFrame(outer.srcMac ?? macOf(src), outer.dstMac ?? gatewayMacOf(src), type, bytes, outer.vlan);
}

function readArp(words: Words, options: FrameOptions): Uint8Array {
  words.expect('arp');
  const arp = new Uint8Array(28);
  if (words.take('who-has')) {
    const target = ipv4Word(words.next());
    words.expect('tell');
    const sender = ipv4Word(words.next());
    const srcMac = options.srcMac ?? macOf(Int32Array.of(0, 0, 0, sender));
    const mac = macWords(srcMac);
    emitArp(viewOf(arp), 0, ARP_REQUEST);
    writeArpSender(viewOf(arp), 0, mac.high, mac.low, sender);
    writeArpTarget(viewOf(arp), 0, 0, 0, target);
    return ethernetFrame(srcMac, options.dstMac ?? BROADCAST, ETHERTYPE_ARP, arp, options.vlan);
  }
  const sender = ipv4Word(words.next());
  words.expect('is-at');
  const srcMac = words.next();
  const [mac, target] = [macWords(srcMac), macWords(options.dstMac ?? BROADCAST)];
  emitArp(viewOf(arp), 0, ARP_REPLY);
  writeArpSender(viewOf(arp), 0, mac.high, mac.low, sender);
  writeArpTarget(viewOf(arp), 0, target.high, target.low, 0);
  return ethernetFrame(options.srcMac ?? srcMac, options.dstMac ?? BROADCAST, ETHERTYPE_ARP, arp, options.vlan);
}

function readEndpoint(words: Words): Endpoint {
  const word = words.next();
  const match = /^\[(.*)\]:(\d+)$/.exec(word) ?? /^([0-9.]+):(\d+)$/.exec(word);
  if (match) return { address: addressWords(match[1] ?? ''), port: Number(match[2]) };
  return { address: addressWords(word), port: undefined };
}

/** ` frag id N offset N [more]`, which may follow any packet. */
function readFragment(words: Words, options: FrameOptions): FrameOptions {
  if (!words.take('frag')) return options;
  const id = words.number('id') ?? 0;
  const fragmentOffset = words.number('offset') ?? 0;
  return { ...options, id, fragmentOffset, moreFragments: words.take('more') };
}

function readPacket(words: Words, options: FrameOptions): Packet {
  const name = words.next();
  const from = readEndpoint(words);
  words.expect('>');
  const to = readEndpoint(words);
  const src = from.address;
  const dst = to.address;
  const ports: [number, number] = [from.port ?? 0, to.port ?? 0];
  const done = (protocol: number, transport: Uint8Array, field: number, its: FrameOptions): Packet => ({
    bytes: ipPacket(src, dst, protocol, transport, field, readFragment(words, its)),
    src,
  });

  if (name === 'tcp' && from.port !== undefined) return done(6, readTcp(words, ports, options), 16, options);
  if (name === 'udp' && from.port !== undefined) {
    const payload = payloadBytes(words.number('len') ?? options.payload);
    return done(17, udpDatagram(ports[0], ports[1], payload), 6, options);
  }
  if (name === 'vxlan') {
    const vni = words.number('vni') ?? 1;
    const header = new Uint8Array(8);
    emitVxlan(viewOf(header), 0, vni);
    words.expect('(');
    const inner = readFrame(words, options);
    words.expect(')');
    const transport = udpDatagram(from.port ?? 49152, to.port ?? 4789, concat(header, inner));
    // RFC 7348 §5: the outer checksum should be zero.
    return done(17, transport, 6, { udpChecksum: false, ...options.outer });
  }
  if (name === 'icmp') return done(1, readIcmp(words, options, icmpName, isIcmpError), 2, options);
  if (name === 'icmp6')
    return done(
      58,
      readIcmp(words, options, icmpv6Name, (type) => type < 128),
      2,
      options,
    );
  if (name === 'ipip') {
    words.expect('(');
    const inner = readPacket(words, options);
    words.expect(')');
    return done(addressFamily(inner.src) === 4 ? 4 : 41, inner.bytes, -1, options.outer ?? {});
  }
  const payload = payloadBytes(words.number('len') ?? options.payload);
  const transport = name === 'sctp' && from.port !== undefined ? sctpPacket(ports, payload) : payload;
  return done(protocolNumber(words, name), transport, -1, options);
}

function protocolNumber(words: Words, name: string): number {
  for (let protocol = 0; protocol < 256; protocol++) if (protocolName(protocol) === name) return protocol;
  return words.fail(`a protocol instead of ${name}`);
}

function readTcp(words: Words, [srcPort, dstPort]: [number, number], options: FrameOptions): Uint8Array {
  let flags = 0;
  const letters = words.peek();
  if (letters === '-') words.next();
  else if (/^[SFRPAUEC]+$/.test(letters)) for (const letter of words.next()) flags |= FLAG_BITS[letter] ?? 0;
  const seq = words.number('seq') ?? options.seq ?? 1;
  const ack = words.number('ack') ?? options.ack ?? ((flags & 16) !== 0 ? 1 : 0);
  const win = words.number('win') ?? options.win ?? 64240;
  const inText = words.peek().startsWith('<') ? words.next().slice(1, -1) : undefined;
  const header = new Uint8Array(20);
  const optionBytes = tcpOptionBytes(inText ?? options.tcpOptions ?? '');
  const view = viewOf(header);
  view.setUint16(0, srcPort);
  view.setUint16(2, dstPort);
  view.setUint32(4, seq);
  view.setUint32(8, ack);
  view.setUint8(12, (20 + optionBytes.length) << 2);
  view.setUint8(13, flags);
  view.setUint16(14, win);
  return concat(header, optionBytes, payloadBytes(words.number('len') ?? options.payload));
}

function udpDatagram(srcPort: number, dstPort: number, payload: Uint8Array): Uint8Array {
  const header = new Uint8Array(8);
  emitUdp(viewOf(header), 0, srcPort, dstPort, 8 + payload.length);
  return concat(header, payload);
}

/** Ports, tag 0, and a CRC32c of 0: nobody here computes it. */
function sctpPacket([srcPort, dstPort]: [number, number], payload: Uint8Array): Uint8Array {
  const header = new Uint8Array(12);
  viewOf(header).setUint16(0, srcPort);
  viewOf(header).setUint16(2, dstPort);
  return concat(header, payload);
}

/** ICMP of either family: the type by its name, then identifier and sequence, or the quoted packet. */
function readIcmp(
  words: Words,
  options: FrameOptions,
  nameOf: (type: number, code: number) => string,
  isError: (type: number) => boolean,
): Uint8Array {
  const [type, code] = readType(words, nameOf);
  const header = new Uint8Array(8);
  if (isError(type)) {
    const rest = words.number('mtu') ?? 0;
    emitIcmp(viewOf(header), 0, type, code, rest);
    words.expect('(');
    const quoted = readPacket(words, options.quoted ?? {}).bytes;
    words.expect(')');
    return concat(header, quoted.subarray(0, options.quotedBytes ?? quoted.length));
  }
  const id = words.number('id') ?? 0;
  const sequence = words.number('seq') ?? options.seq ?? 0;
  emitIcmp(viewOf(header), 0, type, code, (id << 16) | sequence);
  return concat(header, payloadBytes(words.number('len') ?? options.payload));
}

type TypeNames = Map<string, [type: number, code: number]>;
const typesByName = new Map<(type: number, code: number) => string, TypeNames>();

/** Every name with the first type and code that has it. */
function namesOf(nameOf: (type: number, code: number) => string): TypeNames {
  const known = typesByName.get(nameOf);
  if (known) return known;
  const names: TypeNames = new Map();
  for (let type = 0; type < 256; type++) {
    for (let code = 0; code < 256; code++) {
      const name = nameOf(type, code);
      if (!names.has(name)) names.set(name, [type, code]);
    }
  }
  typesByName.set(nameOf, names);
  return names;
}

/** Type and code by name. A name may have two words (`unreachable port`): the longer one wins. */
function readType(words: Words, nameOf: (type: number, code: number) => string): [number, number] {
  const first = words.next();
  const names = namesOf(nameOf);
  const long = names.get(`${first} ${words.peek()}`);
  if (long) words.next();
  return long ?? names.get(first) ?? words.fail(`an ICMP type instead of ${first}`);
}
