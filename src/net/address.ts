/**
 * IP addresses, networks and ranges of the control path: text, numbers, comparison. One type for both families; a
 * bigint makes arithmetic the same for both. Text is parsed by native-free-dataplane/wire/address.ts, in the form that
 * the tables use.
 *
 * Errors: `parse…` returns undefined for invalid text, and the caller knows what to report.
 */
import { formatIpv4, formatIpv6, parseAddress } from '../../native-free-dataplane/wire/address.ts';

export interface IpAddress {
  readonly family: 4 | 6;
  readonly value: bigint;
}

/** All addresses from `first` to `last`, inclusive. */
export interface Range {
  readonly family: 4 | 6;
  readonly first: bigint;
  readonly last: bigint;
}

/** A range that is a network. */
export interface Cidr extends Range {
  /** Bits of its own family: 0 to 32, or 0 to 128. */
  readonly prefix: number;
}

/** Undefined if `text` is not an address, has leading zeros (CVE-2021-29923) or a zone. */
export function parseIp(text: string): IpAddress | undefined {
  const words = parseAddress(text);
  if (words === undefined) return undefined;
  // A mapped address keeps the family it was written in: Kubernetes rejects ::ffff:1.2.3.4 where 1.2.3.4 is valid.
  if (!text.includes(':')) return { family: 4, value: BigInt(words[3]! >>> 0) };
  return { family: 6, value: words.reduce((value, word) => (value << 32n) | BigInt(word >>> 0), 0n) };
}

/** Dotted text, or RFC 5952 form for IPv6. */
export function printIp(ip: IpAddress): string {
  if (ip.family === 4) return formatIpv4(Number(ip.value));
  const words = ipWords(ip);
  return formatIpv6(words[0]!, words[1]!, words[2]!, words[3]!);
}

/** The address as the tables hold it: four int32 words, IPv4 mapped. */
export function ipWords({ family, value }: IpAddress): Int32Array {
  const mapped = family === 4 ? value | 0xffff_0000_0000n : value;
  return Int32Array.from([96n, 64n, 32n, 0n], (shift) => Number((mapped >> shift) & 0xffff_ffffn) | 0);
}

/** Undefined if `text` is not `address/prefix`. Host bits are cleared, as in Kubernetes. */
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

export function printCidr({ family, first, prefix }: Cidr): string {
  return `${printIp({ family, value: first })}/${prefix}`;
}

/** The network as the tables hold it: its first address in four words, and a prefix length of 128 bits. */
export function networkWords({ family, first, prefix }: Cidr): { words: Int32Array; prefix: number } {
  return { words: ipWords({ family, value: first }), prefix: family === 4 ? prefix + 96 : prefix };
}

/** A CIDR or `first-last`. */
export function parseRange(text: string): Range | undefined {
  const dash = text.indexOf('-');
  if (dash < 0) return parseCidr(text);
  const first = parseIp(text.slice(0, dash).trim());
  const last = parseIp(text.slice(dash + 1).trim());
  if (!first || !last || first.family !== last.family || first.value > last.value) return undefined;
  return { family: first.family, first: first.value, last: last.value };
}

/** The range of one address. */
export const rangeOf = ({ family, value }: IpAddress): Range => ({ family, first: value, last: value });

export function contains(range: Range, ip: IpAddress): boolean {
  return range.family === ip.family && ip.value >= range.first && ip.value <= range.last;
}

export function overlap(a: Range, b: Range): boolean {
  return a.family === b.family && a.first <= b.last && b.first <= a.last;
}

/** The `n`-th address of a range, counted from 0; undefined beyond its end. */
export function nthAddress({ family, first, last }: Range, n: number): IpAddress | undefined {
  const value = first + BigInt(n);
  return value <= last ? { family, value } : undefined;
}
