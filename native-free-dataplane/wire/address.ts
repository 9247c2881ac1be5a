/**
 * Addresses between text and the words of the tables; never called for a packet. Networks, ranges and arithmetic are
 * src/net/address.ts.
 *
 * An IP address is four int32 words, an IPv4 one mapped (0, 0, 0xffff, a.b.c.d). A MAC is its upper 16 and its lower 32
 * bits. `parse…` returns undefined for invalid text; `addressWords` and `macWords` are for text that has been
 * validated, and throw.
 *
 * See RFC 4291 §2.2 and §2.5.5.2 (text, mapped), RFC 5952 §4 (the canonical form).
 */

/** Thrown for text that is not a valid address. `code` is stable. */
export class AddressError extends Error {
  readonly code = 'ADDRESS_INVALID';
  constructor(text: string, expected: string) {
    super(`${JSON.stringify(text)}: expected ${expected}`);
    this.name = 'AddressError';
  }
}

/** A MAC address as two numbers. */
export interface Mac {
  /** First 16 bits. */
  readonly high: number;
  /** Last 32 bits, int32. */
  readonly low: number;
}

const IPV4_MAPPED = 0xffff;

/**
 * Int32 of an IPv4 address in dotted text, or NaN. Leading zeros are refused: other parsers read octal
 * (CVE-2021-29923).
 */
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

/** The four words of an IPv4 address that is given as one word. */
export const mappedIpv4 = (word: number): Int32Array => Int32Array.of(0, 0, IPV4_MAPPED, word);

/** The four words of an IP address; undefined if the text is not one. */
export function parseAddress(text: string): Int32Array | undefined {
  const word = tryIpv4(text);
  if (!Number.isNaN(word)) return mappedIpv4(word);
  const groups = text.includes(':') ? tryIpv6(text) : undefined;
  return groups && Int32Array.from({ length: 4 }, (_, i) => (groups[2 * i] << 16) | groups[2 * i + 1]);
}

/** The same for text that has been validated. @throws AddressError */
export function addressWords(text: string): Int32Array {
  const words = parseAddress(text);
  if (words === undefined) throw new AddressError(text, 'an IP address such as 10.244.1.2 or fd00::2');
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

/** The two numbers of a MAC (six hex pairs with colons); undefined if the text is not one. */
export function parseMac(text: string): Mac | undefined {
  if (!/^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$/.test(text)) return undefined;
  const hex = text.replaceAll(':', '');
  return { high: Number.parseInt(hex.slice(0, 4), 16), low: Number.parseInt(hex.slice(4), 16) | 0 };
}

/** The same for text that has been validated. @throws AddressError */
export function macWords(text: string): Mac {
  const mac = parseMac(text);
  if (mac === undefined) throw new AddressError(text, 'a MAC address such as 0a:58:0a:f4:01:02');
  return mac;
}

/** The two numbers of a MAC to text. */
export function formatMac(high: number, low: number): string {
  const hex = (high & 0xffff).toString(16).padStart(4, '0') + (low >>> 0).toString(16).padStart(8, '0');
  return hex.replace(/..(?=.)/g, '$&:');
}
