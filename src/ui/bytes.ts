/** A frame before and after a step, byte by byte: which fields changed, came or went. */
import { frameLayout, type PlacedField, type PlacedHeader } from '../../native-free-dataplane/wire/layout.ts';
import { bytesOfHex, hexOf } from '../observe/trace/hex.ts';

export type Mark = 'same' | 'changed' | 'added' | 'removed';

export interface MarkedField extends PlacedField {
  /** The bytes in hexadecimal, such as `0a f4 02 02`. */
  readonly hex: string;
  readonly mark: Mark;
}

export interface MarkedHeader extends Omit<PlacedHeader, 'fields'> {
  readonly mark: Mark;
  readonly fields: readonly MarkedField[];
}

export interface Comparison {
  readonly before: readonly MarkedHeader[];
  readonly after: readonly MarkedHeader[];
}

/** Bytes of a payload that are shown. */
const SHOWN_BYTES = 32;

function spaced(bytes: Uint8Array): string {
  const pairs = hexOf(bytes.subarray(0, SHOWN_BYTES)).replace(/..(?=.)/g, '$& ');
  return bytes.length > SHOWN_BYTES ? `${pairs} …` : pairs;
}

/**
 * Headers correspond from the inside: a tunnel adds and removes them in front. The inner headers of one frame are compared
 * with the headers of the other that is in no tunnel.
 */
export function compareFrames(beforeHex: string, afterHex: string): Comparison {
  const before = bytesOfHex(beforeHex);
  const after = bytesOfHex(afterHex);
  const was = frameLayout(before);
  const is = frameLayout(after);
  const shift = is.length - was.length;
  return {
    before: was.map((header, i) => marked(header, before, is[i + shift], after, 'removed')),
    after: is.map((header, i) => marked(header, after, was[i - shift], before, 'added')),
  };
}

/** A frame by itself. */
export function showFrame(hex: string): readonly MarkedHeader[] {
  const bytes = bytesOfHex(hex);
  return frameLayout(bytes).map((header) => marked(header, bytes, header, bytes, 'added'));
}

const areEqual = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, i) => byte === b[i]);

function marked(
  header: PlacedHeader,
  bytes: Uint8Array,
  other: PlacedHeader | undefined,
  otherBytes: Uint8Array,
  alone: Mark,
): MarkedHeader {
  const counterpart = other?.name === header.name ? other : undefined;
  const fields = header.fields.map((field): MarkedField => {
    const hex = spaced(bytes.subarray(field.at, field.at + field.bytes));
    const same = counterpart?.fields.find(({ name }) => name === field.name);
    if (same === undefined) return { ...field, hex, mark: alone };
    const now = bytes.subarray(field.at, field.at + field.bytes);
    const then = otherBytes.subarray(same.at, same.at + same.bytes);
    return { ...field, hex, mark: areEqual(now, then) ? 'same' : 'changed' };
  });
  const mark = counterpart === undefined ? alone : fields.every((field) => field.mark === 'same') ? 'same' : 'changed';
  return { ...header, fields, mark };
}
