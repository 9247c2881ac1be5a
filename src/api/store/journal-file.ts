/**
 * The lines of the journal's files: a CRC-32 of the JSON (8 hex digits), a space, JSON. Lines of earlier versions have
 * only the JSON. A damaged line does not affect the others.
 */
import { readFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';

const NEWLINE = 10;
const BRACE = 0x7b;
const SUM_LENGTH = 8;

export function encodeLine(json: string): Buffer {
  const sum = crc32(json).toString(16).padStart(SUM_LENGTH, '0');
  return Buffer.from(`${sum} ${json}\n`);
}

/** The JSON of a line without its newline; undefined if the line is damaged. */
function decodeLine(line: Buffer): unknown {
  let json = line;
  if (line[0] !== BRACE) {
    json = line.subarray(SUM_LENGTH + 1);
    if (parseInt(line.toString('latin1', 0, SUM_LENGTH), 16) !== crc32(json)) return undefined;
  }
  try {
    return JSON.parse(json.toString('utf8'));
  } catch {
    return undefined;
  }
}

export interface Lines {
  /** The intact lines. */
  values: unknown[];
  /** Byte offsets of damaged lines. */
  damaged: number[];
  /** Byte offset of the end of the last complete line; anything after it was written only in part. */
  end: number;
}

export function readLines(path: string): Lines {
  const bytes = readFileSync(path);
  const lines: Lines = { values: [], damaged: [], end: 0 };
  while (lines.end < bytes.length) {
    const end = bytes.indexOf(NEWLINE, lines.end);
    if (end < 0) return lines;
    const value = decodeLine(bytes.subarray(lines.end, end));
    if (value === undefined) lines.damaged.push(lines.end);
    else lines.values.push(value);
    lines.end = end + 1;
  }
  return lines;
}
