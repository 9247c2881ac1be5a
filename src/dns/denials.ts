/**
 * Responses to queries for names that do not exist. A program that looks up `example.com` asks for it in each domain of its
 * search list first, so most queries are of this kind, and no two clients ask the same. The responses that deny names at
 * one place differ in the identifier and the question only: the rest is written once, by the same code as every response,
 * and kept as bytes. Anything but a plain question of one name takes the ordinary way.
 */
import { HEADER_BYTES, PLAIN_UDP_BYTES, readQuery, udpRoom, writeResponse } from './message.ts';
import type { Resolver } from './resolver.ts';

const MAX_LABEL_BYTES = 63;
/** A root name, type, class, TTL and the length of no data. */
const OPT_BYTES = 11;
const TYPE_OPT = 41;
const CLASS_IN = 1;
/** IXFR, AXFR, MAILB, MAILA and ANY have rules of their own. */
const FIRST_QUERY_TYPE = 251;
/** In the third byte of the header. */
const RECURSION_DESIRED = 0x01;

interface Question {
  /** In lower case. */
  readonly labels: readonly string[];
  /** Offset of the byte after the question. */
  readonly end: number;
  readonly edns: boolean;
}

/** A response without its identifier and its question. */
interface Template {
  readonly header: Buffer;
  readonly records: Buffer;
}

export class Denials {
  private readonly resolver: Resolver;
  private readonly templates = new Map<string, Template>();

  constructor(resolver: Resolver) {
    this.resolver = resolver;
  }

  /** The response to a plain query for a name that does not exist; undefined for all others. */
  find(message: Buffer): Buffer | undefined {
    const question = readQuestion(message);
    if (question === undefined) return undefined;
    const place = this.resolver.placeOfDenial(question.labels);
    if (place === undefined) return undefined;
    const key = `${place} ${question.edns} ${message[2]! & RECURSION_DESIRED}`;
    let template = this.templates.get(key);
    if (template === undefined) {
      template = this.makeTemplate(message, question.end);
      if (template === undefined) return undefined;
      this.templates.set(key, template);
    }
    const { header, records } = template;
    const response = Buffer.allocUnsafe(question.end + records.length);
    if (response.length > PLAIN_UDP_BYTES) return undefined;
    message.copy(response, 0, 0, question.end);
    header.copy(response, 2);
    records.copy(response, question.end);
    return response;
  }

  private makeTemplate(message: Buffer, end: number): Template | undefined {
    const query = readQuery(message);
    if (query === undefined || 'rcode' in query) return undefined;
    const answer = this.resolver.resolve(query);
    if (answer instanceof Promise) return undefined;
    const whole = writeResponse(query, answer, udpRoom(query));
    return { header: whole.subarray(2, HEADER_BYTES), records: whole.subarray(end) };
  }
}

/** Reads a query with one question of class IN and at most an OPT record without options. */
function readQuestion(message: Buffer): Question | undefined {
  const { length } = message;
  if (length < HEADER_BYTES + 5) return undefined;
  // A query (QR 0, opcode 0) that is not truncated, with one question and no other records than perhaps the OPT.
  if ((message[2]! & 0xfa) !== 0 || message.readUInt32BE(4) !== 0x10000 || message.readUInt16BE(8) !== 0)
    return undefined;
  const additionals = message.readUInt16BE(10);
  const labels: string[] = [];
  let at = HEADER_BYTES;
  for (let bytes = message[at]!; bytes !== 0; bytes = message[at]!) {
    const next = at + 1 + bytes;
    if (bytes > MAX_LABEL_BYTES || next >= length) return undefined;
    for (let i = at + 1; i < next; i++) if (!isPlain(message[i]!)) return undefined;
    labels.push(message.toString('latin1', at + 1, next).toLowerCase());
    at = next;
  }
  const end = at + 5;
  const type = end <= length ? message.readUInt16BE(at + 1) : FIRST_QUERY_TYPE;
  if (type >= FIRST_QUERY_TYPE || message.readUInt16BE(at + 3) !== CLASS_IN) return undefined;
  if (additionals === 0) return end === length ? { labels, end, edns: false } : undefined;
  if (additionals !== 1 || length !== end + OPT_BYTES || !isPlainOpt(message, end)) return undefined;
  return { labels, end, edns: true };
}

/** Letters, digits, hyphen and underscore: as text and as bytes the same, and never part of the notation. */
const isPlain = (byte: number): boolean =>
  (byte >= 0x61 && byte <= 0x7a) ||
  (byte >= 0x30 && byte <= 0x39) ||
  byte === 0x2d ||
  (byte >= 0x41 && byte <= 0x5a) ||
  byte === 0x5f;

/** EDNS version 0 without options (RFC 6891 §6.1.2). */
function isPlainOpt(message: Buffer, at: number): boolean {
  return (
    message[at] === 0 &&
    message.readUInt16BE(at + 1) === TYPE_OPT &&
    message[at + 6] === 0 &&
    message.readUInt16BE(at + 9) === 0
  );
}
