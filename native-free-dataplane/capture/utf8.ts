/**
 * UTF-8, the encoding of pcapng's texts. The pipeline runs where there is no TextEncoder, and these texts are short.
 */

const REPLACEMENT = '\ufffd';

/** Decode; never throws. Bytes that are not UTF-8 become U+FFFD, one each. */
export function decodeUtf8(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; ) {
    const first = bytes[at];
    const more = first < 0x80 ? 0 : first >= 0xc2 && first < 0xe0 ? 1 : first < 0xf0 ? 2 : first < 0xf5 ? 3 : -1;
    const point = first < 0x80 || first >= 0xc2 ? codePoint(bytes, at, more) : -1;
    text += point < 0 ? REPLACEMENT : String.fromCodePoint(point);
    at += point < 0 ? 1 : 1 + more;
  }
  return text;
}

/** The code point of the `1 + more` bytes at `at`; -1 if they are not well-formed (Unicode 15, table 3-7). */
function codePoint(bytes: Uint8Array, at: number, more: number): number {
  if (more < 0 || at + more >= bytes.length) return -1;
  if (more === 0) return bytes[at];
  let point = bytes[at] & (0x3f >> more);
  for (let i = 1; i <= more; i++) {
    const next = bytes[at + i];
    if ((next & 0xc0) !== 0x80) return -1;
    point = (point << 6) | (next & 0x3f);
  }
  const shortest = more === 1 ? 0x80 : more === 2 ? 0x800 : 0x10000;
  if (point < shortest || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) return -1;
  return point;
}

/** Encode; lone surrogates become U+FFFD. */
export function encodeUtf8(text: string): Uint8Array {
  const bytes: number[] = [];
  for (const character of text) {
    const value = character.codePointAt(0) as number;
    const point = value >= 0xd800 && value < 0xe000 ? 0xfffd : value;
    if (point < 0x80) bytes.push(point);
    else if (point < 0x800) bytes.push(0xc0 | (point >> 6), 0x80 | (point & 0x3f));
    else if (point < 0x10000) bytes.push(0xe0 | (point >> 12), 0x80 | ((point >> 6) & 0x3f), 0x80 | (point & 0x3f));
    else {
      bytes.push(
        0xf0 | (point >> 18),
        0x80 | ((point >> 12) & 0x3f),
        0x80 | ((point >> 6) & 0x3f),
        0x80 | (point & 0x3f),
      );
    }
  }
  return Uint8Array.from(bytes);
}
