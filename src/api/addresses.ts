/** IP addresses and networks as numbers, for allocation and checks. Control path only: BigInt is fine here. */
import { isIPv4, isIPv6 } from 'node:net';

export interface IpAddress {
  family: 4 | 6;
  value: bigint;
}

export interface Cidr {
  family: 4 | 6;
  /** First address. */
  first: bigint;
  /** Last address, inclusive. */
  last: bigint;
  prefix: number;
}

/** Undefined when `text` is no address; IPv4 with leading zeros is none (CVE-2021-29923). */
export function parseIp(text: string): IpAddress | undefined {
  if (isIPv4(text)) return { family: 4, value: BigInt(text.split('.').reduce((v, part) => v * 256 + Number(part), 0)) };
  if (!isIPv6(text) || text.includes('%')) return undefined;
  const tail = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  let hex = text;
  if (tail) {
    const low = parseIp(tail[2]!)!.value;
    hex = `${tail[1]}${(low >> 16n).toString(16)}:${(low & 0xffffn).toString(16)}`;
  }
  const [head = '', rest] = hex.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = rest === undefined || rest === '' ? [] : rest.split(':');
  const words = [...left, ...new Array<string>(8 - left.length - right.length).fill('0'), ...right];
  return { family: 6, value: words.reduce((v, word) => (v << 16n) | BigInt(`0x${word}`), 0n) };
}

/** Dotted text, or RFC 5952 form for IPv6. */
export function printIp({ family, value }: IpAddress): string {
  if (family === 4) {
    const v = Number(value);
    return `${Math.floor(v / 0x1000000)}.${(v >>> 16) & 255}.${(v >>> 8) & 255}.${v & 255}`;
  }
  const words = Array.from({ length: 8 }, (_, i) => Number((value >> BigInt(112 - 16 * i)) & 0xffffn));
  const zeros = longestZeroRun(words);
  const hex = (part: number[]) => part.map((w) => w.toString(16)).join(':');
  if (zeros.length < 2) return hex(words);
  return `${hex(words.slice(0, zeros.at))}::${hex(words.slice(zeros.at + zeros.length))}`;
}

function longestZeroRun(words: number[]): { at: number; length: number } {
  let best = { at: 0, length: 0 };
  for (let at = 0; at < 8; at++) {
    let length = 0;
    while (at + length < 8 && words[at + length] === 0) length++;
    if (length > best.length) best = { at, length };
  }
  return best;
}

/** Undefined when `text` is not `address/prefix`. Host bits may be set; they are cleared. */
export function parseCidr(text: string): Cidr | undefined {
  const match = /^([^/]+)\/(0|[1-9]\d{0,2})$/.exec(text);
  const ip = match && parseIp(match[1]!);
  if (!ip) return undefined;
  const width = ip.family === 4 ? 32 : 128;
  const prefix = Number(match[2]);
  if (prefix > width) return undefined;
  const hosts = (1n << BigInt(width - prefix)) - 1n;
  const last = ip.value | hosts;
  return { family: ip.family, first: last - hosts, last, prefix };
}

export function printCidr(cidr: Cidr): string {
  return `${printIp({ family: cidr.family, value: cidr.first })}/${cidr.prefix}`;
}

/** A CIDR or `first-last`. */
export function parseRange(text: string): Cidr | undefined {
  const dash = text.indexOf('-');
  if (dash < 0) return parseCidr(text);
  const first = parseIp(text.slice(0, dash).trim());
  const last = parseIp(text.slice(dash + 1).trim());
  if (!first || !last || first.family !== last.family || first.value > last.value) return undefined;
  return { family: first.family, first: first.value, last: last.value, prefix: -1 };
}

export function contains(cidr: Cidr, ip: IpAddress): boolean {
  return cidr.family === ip.family && ip.value >= cidr.first && ip.value <= cidr.last;
}

export function overlap(a: Cidr, b: Cidr): boolean {
  return a.family === b.family && a.first <= b.last && b.first <= a.last;
}

const NEVER_ENDPOINTS: readonly (readonly [Cidr, string])[] = (
  [
    ['0.0.0.0/8', 'may not be unspecified or in 0.0.0.0/8'],
    ['::/128', 'may not be unspecified (0.0.0.0 or ::)'],
    ['127.0.0.0/8', 'may not be in the loopback range (127.0.0.0/8, ::1/128)'],
    ['::1/128', 'may not be in the loopback range (127.0.0.0/8, ::1/128)'],
    ['169.254.0.0/16', 'may not be in the link-local range (169.254.0.0/16, fe80::/10)'],
    ['fe80::/10', 'may not be in the link-local range (169.254.0.0/16, fe80::/10)'],
    ['224.0.0.0/4', 'may not be in the multicast range (224.0.0.0/4, ff00::/8)'],
    ['ff00::/8', 'may not be in the multicast range (224.0.0.0/4, ff00::/8)'],
    ['255.255.255.255/32', 'may not be the broadcast address'],
  ] as const
).map(([cidr, why]) => [parseCidr(cidr)!, why]);

/**
 * Why traffic may not be sent to `ip` through a service, or undefined. CVE-2021-25737, and IPv4 mapped into IPv6, which
 * would be a way round it.
 */
export function whyNotEndpoint(ip: IpAddress): string | undefined {
  const mapped = ip.family === 6 && ip.value >> 32n === 0xffffn;
  if (mapped) return 'must not be an IPv4-mapped IPv6 address';
  return NEVER_ENDPOINTS.find(([cidr]) => contains(cidr, ip))?.[1];
}
