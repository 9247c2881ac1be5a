/** Identifiers of filter expressions with their qualifiers: `tcp src port 80`, `net 10.244.0.0/16`, `ip proto 6`. */
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_SCTP, PROTOCOL_TCP, PROTOCOL_UDP } from '../protocols.ts';
import type { Mac } from '../wire/address.ts';
import type { Condition } from './condition.ts';
import { FilterError } from './filter-error.ts';
import {
  type Direction,
  ETHERTYPES,
  etherType,
  ipv4Address,
  ipv6Address,
  type Layers,
  macAddress,
  overIp,
  overIpv4,
  overIpv6,
  port,
} from './primitives.ts';

export interface Qualifiers {
  readonly protocol: string | undefined;
  readonly direction: Direction;
  readonly kind: 'host' | 'net' | 'port' | 'portrange' | 'proto';
  readonly column: number;
}

/** What an identifier is read with. */
export interface Context {
  readonly layers: Layers;
  readonly qualifiers: Qualifiers;
  readonly column: number;
}

const PORT_PROTOCOLS: Readonly<Record<string, number>> = { tcp: PROTOCOL_TCP, udp: PROTOCOL_UDP, sctp: PROTOCOL_SCTP };

const PROTOCOL_NUMBERS: Readonly<Record<string, number>> = {
  icmp: PROTOCOL_ICMP,
  igmp: 2,
  igrp: 9,
  tcp: PROTOCOL_TCP,
  udp: PROTOCOL_UDP,
  sctp: PROTOCOL_SCTP,
  icmp6: PROTOCOL_ICMPV6,
  'ipv6-icmp': PROTOCOL_ICMPV6,
  esp: 50,
  ah: 51,
  pim: 103,
  vrrp: 112,
  carp: 112,
};
const IPV4_ONLY = new Set(['icmp', 'igmp', 'igrp', 'vrrp', 'carp']);

/** Ports with names; the others have to be given as numbers, since a filter means the same on every machine. */
const PORT_NAMES: Readonly<Record<string, number>> = {
  ssh: 22,
  smtp: 25,
  domain: 53,
  http: 80,
  ntp: 123,
  https: 443,
  mdns: 5353,
};

/** A protocol by itself: `tcp`, `arp`. */
export function protocolCondition(layers: Layers, protocol: string, column: number): Condition {
  const type = ETHERTYPES[protocol];
  if (type !== undefined) return etherType(layers, type);
  const number = PROTOCOL_NUMBERS[protocol];
  if (number === undefined) throw new FilterError(`"${protocol}" needs a test, such as ${protocol} host`, column);
  if (protocol === 'icmp6') return overIpv6(layers, number);
  return IPV4_ONLY.has(protocol) ? overIpv4(layers, number) : overIp(layers, number);
}

function bad({ protocol, kind }: Qualifiers, column: number): FilterError {
  return new FilterError(`"${protocol}" cannot be combined with "${kind}"`, column);
}

export function numberCondition(context: Context, value: number): Condition {
  const { layers, qualifiers, column } = context;
  switch (qualifiers.kind) {
    case 'port':
    case 'portrange':
      return portCondition(context, value, value);
    case 'proto':
      return protocolNumber(layers, qualifiers, value);
    default: {
      if (qualifiers.protocol === 'ether') throw new FilterError('expected a MAC address', column);
      // `net 10` is 10.0.0.0/8; `host 10` is 0.0.0.10.
      let [address, mask] = [value, 0xffffffff];
      while (qualifiers.kind === 'net' && address !== 0 && address < 0x1000000) {
        address *= 256;
        mask = (mask << 8) >>> 0;
      }
      return ipv4Condition(context, address, mask);
    }
  }
}

export function nameCondition(context: Context, name: string): Condition {
  const { layers, qualifiers, column } = context;
  if (qualifiers.kind === 'proto') {
    const known = qualifiers.protocol === 'ether' ? ETHERTYPES : PROTOCOL_NUMBERS;
    if (Object.hasOwn(known, name)) return protocolNumber(layers, qualifiers, known[name]);
    throw new FilterError(`unknown protocol "${name}": give its number`, column);
  }
  if (qualifiers.kind === 'port' || qualifiers.kind === 'portrange') {
    const [low, high = low] = (/^(\d+)-(\d+)$/.exec(name)?.slice(1) ?? []).map(Number);
    if (low !== undefined && qualifiers.kind === 'portrange') return portCondition(context, low, high as number);
    if (Object.hasOwn(PORT_NAMES, name)) return portCondition(context, PORT_NAMES[name], PORT_NAMES[name]);
    const expected = qualifiers.kind === 'port' ? 'a port number' : 'a range such as 80-90';
    throw new FilterError(`"${name}": expected ${expected}`, column);
  }
  throw new FilterError(`"${name}": expected an address, names are not looked up`, column);
}

function portCondition({ layers, qualifiers, column }: Context, low: number, high: number): Condition {
  const { protocol, direction } = qualifiers;
  const number = protocol === undefined ? undefined : PORT_PROTOCOLS[protocol];
  if (protocol !== undefined && number === undefined) throw bad(qualifiers, qualifiers.column);
  const largest = Math.max(low, high);
  if (largest > 0xffff) throw new FilterError(`port ${largest} is above 65535`, column);
  return port(layers, number, direction, Math.min(low, high), largest);
}

function protocolNumber(layers: Layers, qualifiers: Qualifiers, value: number): Condition {
  // The field has one byte (two in the frame's header): a larger number never matches, as in libpcap.
  switch (qualifiers.protocol) {
    case undefined:
      return overIp(layers, value);
    case 'ip':
      return overIpv4(layers, value);
    case 'ip6':
      return overIpv6(layers, value);
    case 'ether':
      return etherType(layers, value);
    default:
      throw bad(qualifiers, qualifiers.column);
  }
}

/** An address as written; exactly one of the first three is present. */
export interface WrittenAddress {
  readonly mac?: Mac | undefined;
  readonly ipv6?: Int32Array;
  readonly ipv4?: string;
  readonly text: string;
  readonly prefix?: number | undefined;
  readonly mask?: string | undefined;
}

export function addressCondition(context: Context, written: WrittenAddress): Condition {
  const { qualifiers, column, layers } = context;
  const { protocol, kind, direction } = qualifiers;
  const { mac, ipv6, ipv4, text, prefix, mask } = written;
  if (kind !== 'host' && kind !== 'net') throw new FilterError(`"${text}" is not a ${kind}`, column);
  if (ipv4 === undefined && ipv6 === undefined) {
    if (mac === undefined) throw new FilterError(`"${text}" is not a MAC address`, column);
    if (protocol !== 'ether' || kind !== 'host') {
      throw new FilterError(`"${text}" is a MAC address: use ether host, ether src or ether dst`, column);
    }
    return macAddress(layers, direction, mac.high, mac.low);
  }
  if (protocol === 'ether') throw new FilterError(`"${text}": expected a MAC address`, column);
  if (ipv6 !== undefined) return ipv6Condition(context, ipv6, text, prefix ?? 128);
  const [word, bits] = partsOf(ipv4 as string, column);
  const full = bits === 32 ? 0xffffffff : ~(0xffffffff >>> bits) >>> 0;
  if (prefix === undefined && mask === undefined) return ipv4Condition(context, word, full);
  if (kind !== 'net') throw new FilterError(`"${text}": only net takes a prefix length or a mask`, column);
  const length = prefix ?? 0;
  const given = mask === undefined ? (length === 0 ? 0 : (-1 << (32 - length)) >>> 0) : partsOf(mask, column)[0];
  if ((word & ~given) !== 0) throw new FilterError(`"${text}" has bits outside the network`, column);
  return ipv4Condition(context, word, given);
}

/** The address from one to four decimal parts, and how many bits they are. */
function partsOf(text: string, column: number): [word: number, bits: number] {
  const parts = text.split('.').map(Number);
  if (parts.some((part) => part > 255)) throw new FilterError(`"${text}" is not an IPv4 address`, column);
  const word = parts.reduce((sum, part, i) => sum + part * 2 ** (24 - 8 * i), 0);
  return [word, 8 * parts.length];
}

function ipv4Condition({ layers, qualifiers }: Context, address: number, mask: number): Condition {
  const { protocol, direction } = qualifiers;
  if (protocol !== undefined && !['ip', 'arp', 'rarp'].includes(protocol)) throw bad(qualifiers, qualifiers.column);
  return ipv4Address(layers, protocol, direction, { address: [address | 0], mask: [mask | 0] });
}

function ipv6Condition({ layers, qualifiers, column }: Context, words: Int32Array, text: string, prefix: number) {
  const { protocol, direction, kind } = qualifiers;
  if (protocol !== undefined && protocol !== 'ip6') throw bad(qualifiers, qualifiers.column);
  if (kind === 'host' && prefix !== 128) throw new FilterError(`"${text}": only net takes a prefix length`, column);
  const mask = [0, 32, 64, 96].map((before) => {
    const bits = Math.min(32, Math.max(0, prefix - before));
    return bits === 0 ? 0 : -1 << (32 - bits);
  });
  if (mask.some((bits, i) => (words[i] & ~bits) !== 0)) {
    throw new FilterError(`"${text}" has bits outside the network`, column);
  }
  return ipv6Address(layers, direction, { address: [...words], mask });
}
