/**
 * Addresses between text and numbers, for the control path and for people. Everything here may throw and allocate;
 * the data path never calls it.
 *
 * An IP address is four int32 words, an IPv4 one mapped (0, 0, 0xffff, a.b.c.d); a prefix counts in 128 bits, so
 * 10.0.0.0/8 has prefix 104. A MAC is its first 16 bits and the 32 below.
 *
 * See RFC 4291 §2.2 and §2.5.5.2 (text, mapped), RFC 5952 §4 (the one way to write it).
 */

/** A text that is not an address. `code` is stable. */
export class AddressError extends Error {
  readonly code = 'ADDRESS_INVALID';
  constructor(text: string, expected: string) {
    super(`${JSON.stringify(text)}: expected ${expected}`);
    this.name = 'AddressError';
  }
}

export interface Cidr {
  /** First address of the network; bits behind the prefix are 0. */
  readonly words: Int32Array;
  /** Bits out of 128: an IPv4 prefix has 96 more. */
  readonly prefix: number;
  readonly family: 4 | 6;
}

export interface Mac {
  /** First 16 bits. */
  readonly high: number;
  /** Last 32 bits, int32. */
  readonly low: number;
}

const IPV4_MAPPED = 0xffff;

/** Int32 of an IPv4 address in dotted text, or NaN. Leading zeros are refused: they meant octal (CVE-2021-29923). */
function tryIpv4(text: string): number {
  const parts = text.split('.');
  if (parts.length !== 4) return Number.NaN;
  let word = 0;
  for (const part of parts) {
    if (!/^(0|[1-9][0-9]{0,2})$/.test(part) || Number(part) > 255) return Number.NaN;
    word = (word << 8) | Number(part);
  }
  return word;
}

/**
 * IPv4 text to int32.
 * @throws AddressError
 */
export function parseIpv4(text: string): number {
  const word = tryIpv4(text);
  if (Number.isNaN(word)) throw new AddressError(text, 'an IPv4 address such as 10.244.1.2');
  return word;
}

/** Int32 (or uint32) to dotted text. */
export function formatIpv4(word: number): string {
  return `${word >>> 24}.${(word >>> 16) & 255}.${(word >>> 8) & 255}.${word & 255}`;
}

/** The eight 16-bit groups of an IPv6 text, or undefined. */
function tryIpv6(text: string): number[] | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const groups: number[][] = [];
  for (let i = 0; i < halves.length; i++) {
    const half: number[] = [];
    const parts = halves[i] === '' ? [] : halves[i].split(':');
    for (let j = 0; j < parts.length; j++) {
      const part = parts[j];
      if (/^[0-9a-fA-F]{1,4}$/.test(part)) half.push(Number.parseInt(part, 16));
      else {
        // The last 32 bits may be dotted (RFC 4291 §2.2, form 3).
        const dotted = i === halves.length - 1 && j === parts.length - 1 ? tryIpv4(part) : Number.NaN;
        if (Number.isNaN(dotted)) return undefined;
        half.push(dotted >>> 16, dotted & 0xffff);
      }
    }
    groups.push(half);
  }
  if (halves.length === 1) return groups[0].length === 8 ? groups[0] : undefined;
  const missing = 8 - groups[0].length - groups[1].length;
  if (missing < 1) return undefined;
  return [...groups[0], ...new Array<number>(missing).fill(0), ...groups[1]];
}

/**
 * IP text to four words, written to `into` from `at` on.
 * @returns its family: 4 for dotted text and for mapped addresses
 * @throws AddressError
 */
export function parseAddress(text: string, into: Int32Array, at = 0): 4 | 6 {
  const word = tryIpv4(text);
  if (!Number.isNaN(word)) {
    into[at] = 0;
    into[at + 1] = 0;
    into[at + 2] = IPV4_MAPPED;
    into[at + 3] = word;
    return 4;
  }
  const groups = text.includes(':') ? tryIpv6(text) : undefined;
  if (!groups) throw new AddressError(text, 'an IP address such as 10.244.1.2 or fd00::2');
  for (let i = 0; i < 4; i++) into[at + i] = (groups[2 * i] << 16) | groups[2 * i + 1];
  return addressFamily(into, at);
}

/** The same into an array of its own. @throws AddressError */
export function addressWords(text: string): Int32Array {
  const words = new Int32Array(4);
  parseAddress(text, words);
  return words;
}

/** 4 for an IPv4-mapped address, else 6. */
export function addressFamily(words: Int32Array, at = 0): 4 | 6 {
  return words[at] === 0 && words[at + 1] === 0 && words[at + 2] === IPV4_MAPPED ? 4 : 6;
}

/** Four words to text: dotted for IPv4, RFC 5952 for IPv6. */
export function formatAddress(words: Int32Array, at = 0): string {
  return addressFamily(words, at) === 4
    ? formatIpv4(words[at + 3])
    : formatIpv6(words[at], words[at + 1], words[at + 2], words[at + 3]);
}

/** Four words as IPv6 text: lower case, the longest run of two or more zero groups as "::" (RFC 5952 §4.2). */
export function formatIpv6(a: number, b: number, c: number, d: number): string {
  const groups: number[] = [];
  for (const word of [a, b, c, d]) groups.push(word >>> 16, word & 0xffff);
  let best = -1;
  let bestRun = 1;
  for (let i = 0; i < 8; i++) {
    let run = 0;
    while (i + run < 8 && groups[i + run] === 0) run++;
    if (run > bestRun) {
      best = i;
      bestRun = run;
    }
    i += run;
  }
  const hex = (from: number, to: number): string =>
    groups
      .slice(from, to)
      .map((group) => group.toString(16))
      .join(':');
  return best < 0 ? hex(0, 8) : `${hex(0, best)}::${hex(best + bestRun, 8)}`;
}

/**
 * Network text such as 10.244.0.0/16 or fd00::/48. Bits behind the prefix are cleared, as Kubernetes does.
 * @throws AddressError
 */
export function parseCidr(text: string): Cidr {
  const parts = text.split('/');
  const expected = 'a network such as 10.244.0.0/16';
  if (parts.length !== 2 || !/^(0|[1-9][0-9]{0,2})$/.test(parts[1])) throw new AddressError(text, expected);
  const words = addressWords(parts[0]);
  const dotted = !parts[0].includes(':');
  const bits = Number(parts[1]);
  if (bits > (dotted ? 32 : 128)) throw new AddressError(text, expected);
  const prefix = dotted ? bits + 96 : bits;
  for (let i = 0; i < 4; i++) words[i] &= prefixMask(prefix - 32 * i);
  return { words, prefix, family: prefix >= 96 ? addressFamily(words) : 6 };
}

/** Mask of the leading bits of a word, int32; any number of bits. */
export function prefixMask(bits: number): number {
  if (bits <= 0) return 0;
  return bits >= 32 ? -1 : -1 << (32 - bits);
}

/** Is the address (four words at `at`) inside the network? */
export function inCidr(cidr: Cidr, words: Int32Array, at = 0): boolean {
  for (let i = 0; i < 4; i++) {
    if (((words[at + i] ^ cidr.words[i]) & prefixMask(cidr.prefix - 32 * i)) !== 0) return false;
  }
  return true;
}

/** Network to text, in the bits of its own family. */
export function formatCidr(cidr: Cidr): string {
  if (cidr.family === 4) return `${formatIpv4(cidr.words[3])}/${cidr.prefix - 96}`;
  return `${formatIpv6(cidr.words[0], cidr.words[1], cidr.words[2], cidr.words[3])}/${cidr.prefix}`;
}

/**
 * MAC text (six hex pairs with colons) to its two numbers.
 * @throws AddressError
 */
export function parseMac(text: string): Mac {
  if (!/^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$/.test(text))
    throw new AddressError(text, 'a MAC address such as 0a:58:0a:f4:01:02');
  const hex = text.replaceAll(':', '');
  return { high: Number.parseInt(hex.slice(0, 4), 16), low: Number.parseInt(hex.slice(4), 16) | 0 };
}

/** The two numbers of a MAC to text. */
export function formatMac(high: number, low: number): string {
  const hex = (high & 0xffff).toString(16).padStart(4, '0') + (low >>> 0).toString(16).padStart(8, '0');
  return hex.replace(/..(?=.)/g, '$&:');
}
