/**
 * DNS messages: reading queries, writing responses that fit. The wire format is dns-packet's; the rules are RFC 1035
 * §4, RFC 2308 (negative responses), RFC 6891 (EDNS), RFC 8482 (ANY) and RFC 8914 (extended errors).
 */
import {
  type Answer,
  AUTHORITATIVE_ANSWER,
  decode,
  encode,
  type OptAnswer,
  type Packet,
  RECURSION_AVAILABLE,
  RECURSION_DESIRED,
  TRUNCATED_RESPONSE,
} from 'dns-packet';

export const Rcode = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5, BADVERS: 16 } as const;
export type Rcode = (typeof Rcode)[keyof typeof Rcode];

/** Bytes of the header. */
export const HEADER_BYTES = 12;
/** Longest response over UDP to a client without EDNS (RFC 1035 §2.3.4). */
export const PLAIN_UDP_BYTES = 512;
/**
 * Longest response that we send over UDP, and the size we announce: it is not fragmented on any path (DNS flag day
 * 2020).
 */
export const UDP_BYTES = 1232;
export const TCP_BYTES = 65535;
/** Extended DNS error "other" (RFC 8914 §4.1). */
const EDE_OTHER = 0;
const OPTION_EDE = 15;

export interface Query {
  readonly id: number;
  /** As the client wrote it, without the final dot. */
  readonly name: string;
  /** In lower case. */
  readonly labels: readonly string[];
  readonly type: string;
  readonly class: string;
  readonly recursionDesired: boolean;
  /** Bytes that the client accepts over UDP; 0 if it does not use EDNS. */
  readonly udpBytes: number;
}

/**
 * A query, or the code to refuse it with; undefined if it must not be answered (it is a response, or has no header).
 */
export function readQuery(message: Buffer): Query | { readonly id: number; readonly rcode: Rcode } | undefined {
  if (message.length < HEADER_BYTES || (message.readUInt8(2) & 0x80) !== 0) return undefined;
  const id = message.readUInt16BE(0);
  const opcode = (message.readUInt8(2) >> 3) & 0xf;
  if (opcode !== 0) return { id, rcode: Rcode.NOTIMP };
  let packet: Packet;
  try {
    packet = decode(message);
  } catch {
    return { id, rcode: Rcode.FORMERR };
  }
  const [question, ...more] = packet.questions ?? [];
  if (question === undefined || more.length > 0) return { id, rcode: Rcode.FORMERR };
  // A label may have any bytes (RFC 2181 §11). A dot within one, or bytes that are not UTF-8, could not be repeated in the
  // response; no name of ours has them.
  if (!survivesAsText(message, question.name)) return { id, rcode: Rcode.REFUSED };
  const options = (packet.additionals ?? []).filter((record): record is OptAnswer => record.type === 'OPT');
  if (options.length > 1) return { id, rcode: Rcode.FORMERR };
  const [opt] = options;
  if (opt && opt.ednsVersion !== 0) return { id, rcode: Rcode.BADVERS };
  return {
    id,
    name: question.name,
    labels: question.name === '' || question.name === '.' ? [] : question.name.toLowerCase().split('.'),
    type: question.type,
    class: question.class ?? 'IN',
    recursionDesired: ((packet.flags ?? 0) & RECURSION_DESIRED) !== 0,
    udpBytes: opt ? Math.max(PLAIN_UDP_BYTES, opt.udpPayloadSize) : 0,
  };
}

/** Is the message's first name, read as text and written again, the same bytes? */
function survivesAsText(message: Buffer, name: string): boolean {
  let at = HEADER_BYTES;
  for (const label of name === '' || name === '.' ? [] : name.split('.')) {
    const bytes = Buffer.from(label);
    // No name precedes the first one, so it cannot be compressed.
    if (bytes.length === 0 || message[at] !== bytes.length) return false;
    if (!message.subarray(at + 1, at + 1 + bytes.length).equals(bytes)) return false;
    at += 1 + bytes.length;
  }
  return message[at] === 0;
}

export interface Response {
  readonly rcode: Rcode;
  readonly answers?: readonly Answer[];
  readonly authorities?: readonly Answer[];
  readonly additionals?: readonly Answer[];
  /** The response is authoritative. */
  readonly authoritative: boolean;
  readonly recursionAvailable: boolean;
  /** Explanation for people, sent to clients that use EDNS. */
  readonly reason?: string;
}

/**
 * The bytes of a response, at most `maxBytes` long. Records that do not fit over UDP are omitted, and the response is
 * marked as truncated, so that the client retries over TCP.
 */
export function writeResponse(query: Query, response: Response, maxBytes: number): Buffer {
  const {
    rcode,
    answers = [],
    authorities = [],
    additionals = [],
    authoritative,
    recursionAvailable,
    reason,
  } = response;
  const edns = query.udpBytes > 0;
  const opt: Answer[] = edns ? [optRecord(reason)] : [];
  const flags =
    rcode |
    (authoritative ? AUTHORITATIVE_ANSWER : 0) |
    (query.recursionDesired ? RECURSION_DESIRED : 0) |
    (recursionAvailable ? RECURSION_AVAILABLE : 0);
  const message = (
    sections: { answers?: readonly Answer[]; authorities?: readonly Answer[]; additionals: readonly Answer[] },
    more = 0,
  ) =>
    encode({
      type: 'response',
      id: query.id,
      flags: flags | more,
      questions: [{ name: query.name, type: query.type, class: query.class } as never],
      answers: [...(sections.answers ?? [])],
      authorities: [...(sections.authorities ?? [])],
      additionals: [...sections.additionals],
    });
  const whole = message({ answers, authorities, additionals: [...additionals, ...opt] });
  if (whole.length <= maxBytes) return whole;
  // Additional records may be omitted without truncation (RFC 2181 §9).
  const shorter = message({ answers, authorities, additionals: opt });
  return shorter.length <= maxBytes ? shorter : message({ additionals: opt }, TRUNCATED_RESPONSE);
}

/** Maximum size of a response over UDP. */
export function udpRoom(query: Query): number {
  return query.udpBytes === 0 ? PLAIN_UDP_BYTES : Math.min(query.udpBytes, UDP_BYTES);
}

/** The response to a message that could not be parsed as a query: only a header. */
export function writeRefusal(id: number, rcode: Rcode): Buffer {
  const additionals: Answer[] =
    rcode === Rcode.BADVERS ? [{ ...optRecord(undefined), extendedRcode: 1 } as Answer] : [];
  return encode({ type: 'response', id, flags: rcode & 0xf, additionals });
}

function optRecord(reason: string | undefined): Answer {
  const options =
    reason === undefined
      ? []
      : [{ code: OPTION_EDE, data: Buffer.concat([Buffer.from([0, EDE_OTHER]), Buffer.from(reason)]) }];
  return {
    type: 'OPT',
    name: '.',
    udpPayloadSize: UDP_BYTES,
    extendedRcode: 0,
    ednsVersion: 0,
    flags: 0,
    flag_do: false,
    options,
  } as never;
}
