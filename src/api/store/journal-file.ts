/**
 * The lines of the journal's files: a CRC-32 of the rest (8 hex digits), a space, what the line is about, JSON.
 *
 *     1b2c3d4e Pod default/web {"apiVersion":…}                  an object of a snapshot
 *     1b2c3d4e 123 MODIFIED Pod default/web {"apiVersion":…}     a change of a log, with its version
 *
 * The JSON is not parsed here. Lines of earlier versions have only the JSON, with or without a sum: in these everything is
 * inside. A damaged line does not affect the others.
 */
import { readFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { collectionOf } from '../resources.ts';
import type { Kind, KubeObject } from '../types/objects.ts';
import { keyOf } from './collection.ts';
import type { ChangeType } from './event-log.ts';
import { type Held, StoredText } from './stored-text.ts';

const NEWLINE = 10;
const BRACE = 0x7b;
const SUM_LENGTH = 8;
/** Names of RBAC objects may contain nearly everything (path segments). */
const PLAIN = /^[\w.:/-]*$/;

/** Where an object belongs: its collection, and `namespace/name`. */
export interface Place {
  kind: Kind;
  key: string;
}

export interface ObjectLine extends Place {
  held: Held;
}

export interface ChangeLine extends ObjectLine {
  version: number;
  type: ChangeType;
}

export const placeOf = (object: KubeObject): Place => ({ kind: collectionOf(object), key: keyOf(object) });

const encodeLine = (text: string): Buffer =>
  Buffer.from(`${crc32(text).toString(16).padStart(SUM_LENGTH, '0')} ${text}\n`);

const placeText = ({ kind, key }: Place) => `${kind} ${PLAIN.test(key) ? key : encodeURI(key)}`;

export const encodeHead = (head: object): Buffer => encodeLine(JSON.stringify(head));

export const encodeObject = (place: Place, json: string): Buffer => encodeLine(`${placeText(place)} ${json}`);

export const encodeChange = (version: number, type: ChangeType, place: Place, json: string): Buffer =>
  encodeLine(`${version} ${type} ${placeText(place)} ${json}`);

/** A line: the fields before its JSON, and where that is. */
interface Line {
  fields: readonly string[];
  file: Buffer;
  start: number;
  end: number;
}

const NONE: readonly string[] = [];

/** Undefined if the line is damaged. */
function decodeLine(file: Buffer, from: number, end: number): Line | undefined {
  if (file[from] === BRACE) return { fields: NONE, file, start: from, end };
  const text = from + SUM_LENGTH + 1;
  if (parseInt(file.toString('latin1', from, from + SUM_LENGTH), 16) !== crc32(file.subarray(text, end)))
    return undefined;
  const start = file.indexOf(BRACE, text);
  if (start < 0 || start >= end) return undefined;
  return { fields: start === text ? NONE : file.toString('latin1', text, start - 1).split(' '), file, start, end };
}

const keyIn = (text: string) => (text.includes('%') ? decodeURI(text) : text);
const parsed = ({ file, start, end }: Line): unknown => JSON.parse(file.toString('utf8', start, end));

/** @throws SyntaxError if the JSON of an earlier version is damaged */
export function objectLine(line: Line): ObjectLine | { count?: number } {
  const [kind, key] = line.fields;
  if (kind !== undefined) {
    return { kind: kind as Kind, key: keyIn(key!), held: new StoredText(line.file, line.start, line.end) };
  }
  const value = parsed(line) as KubeObject | { count?: number };
  return 'metadata' in value ? placed(value) : value;
}

/** @throws SyntaxError */
export function changeLine(line: Line): ChangeLine {
  const [version, type, kind, key] = line.fields;
  if (version !== undefined) {
    const held = new StoredText(line.file, line.start, line.end);
    return { version: Number(version), type: type as ChangeType, kind: kind as Kind, key: keyIn(key!), held };
  }
  const { v, t, o } = parsed(line) as { v: number; t: ChangeType; o: KubeObject };
  return { version: v, type: t, ...placed(o) };
}

const placed = (object: KubeObject): ObjectLine => ({ ...placeOf(object), held: object });

export interface Lines<T> {
  /** The intact lines. */
  values: T[];
  /** Byte offsets of damaged lines. */
  damaged: number[];
  /** Byte offset of the end of the last complete line; anything after it was written only in part. */
  end: number;
}

/** @param read what a line contains; throws if it is damaged */
export function readLines<T>(path: string, read: (line: Line) => T): Lines<T> {
  const bytes = readFileSync(path);
  const lines: Lines<T> = { values: [], damaged: [], end: 0 };
  while (lines.end < bytes.length) {
    const end = bytes.indexOf(NEWLINE, lines.end);
    if (end < 0) return lines;
    const line = decodeLine(bytes, lines.end, end);
    const value = line === undefined ? undefined : attempt(line, read);
    if (value === undefined) lines.damaged.push(lines.end);
    else lines.values.push(value);
    lines.end = end + 1;
  }
  return lines;
}

function attempt<T>(line: Line, read: (line: Line) => T): T | undefined {
  try {
    return read(line);
  } catch {
    return undefined;
  }
}
