/**
 * The lines of the journal's files: a checksum of the rest (CRC-32, 8 hex digits), a blank, JSON. Lines of earlier
 * versions have no checksum and begin with the JSON. A damaged line costs itself only: its neighbours are still read.
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

/** The JSON of a line without its end; undefined when it is not what was written. */
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
  /** Offsets in bytes at which a line is damaged. */
  damaged: number[];
  /** Bytes up to the end of the last whole line: what follows was half-written. */
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
