/**
 * Request lines and status lines of HTTP/1 (RFC 9112 §3, §4), where a segment begins with one. Neither bodies nor header
 * fields are read, except for Host, which is part of the URL.
 */
import { PROTOCOL_TCP } from '../../../native-free-dataplane/protocols.ts';
import type { Segment } from './segment.ts';

export interface HttpRequest {
  readonly kind: 'http';
  readonly isReply: false;
  readonly method: string;
  readonly url: string;
  /** `HTTP/1.1` */
  readonly version: string;
}

export interface HttpResponse {
  readonly kind: 'http';
  readonly isReply: true;
  readonly code: number;
  readonly version: string;
}

/** RFC 9110 §9, and PATCH (RFC 5789). */
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH'];
/** `GET /path HTTP/1.1`; a line longer than its segment has no version. */
const REQUEST = new RegExp(`^(${METHODS.join('|')}) ([^\\x00-\\x20\\x7f]+)(?: (HTTP/1\\.[01])\\r?\\n|$)`);
const STATUS = /^(HTTP\/1\.[01]) ([1-5]\d\d)[ \r\n]/;
const HOST = /\r?\nhost:[ \t]*([\x21-\x7e]{1,255})[ \t]*\r?\n/i;

/** The first four characters of a message. */
const STARTS = [...METHODS.map((method) => `${method} `.slice(0, 4)), 'HTTP'];
/** The first byte of the payload, in the language of filters. */
const PAYLOAD = '((tcp[12] & 0xf0) >> 2)';

/**
 * A filter for segments that begin as a message does. The first byte alone rules out most others: uppercase letters from
 * C to T.
 */
export const HTTP_FILTER: string = `(tcp[${PAYLOAD}] >= 0x43 and tcp[${PAYLOAD}] <= 0x54 and (${STARTS.map(
  (text) => `tcp[${PAYLOAD}:4] = 0x${Buffer.from(text).toString('hex')}`,
).join(' or ')}))`;

/** Undefined: the segment does not begin with a request or status line. */
export function readHttp({ protocol, payload }: Segment): HttpRequest | HttpResponse | undefined {
  if (protocol !== PROTOCOL_TCP || payload.length < STARTS[0]!.length) return undefined;
  const text = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString('latin1');
  const status = STATUS.exec(text);
  if (status !== null) return { kind: 'http', isReply: true, version: status[1]!, code: Number(status[2]) };
  const [, method, target, version] = REQUEST.exec(text) ?? [];
  if (method === undefined || target === undefined) return undefined;
  const url = urlOf(printable(target), HOST.exec(text)?.[1]);
  return {
    kind: 'http',
    isReply: false,
    method,
    url: version === undefined ? `${url}…` : url,
    version: version ?? 'HTTP/1',
  };
}

/** The target of a request to a server is a path; that of one to a proxy is a URL. */
function urlOf(target: string, host: string | undefined): string {
  return host !== undefined && target.startsWith('/') ? `http://${host}${target}` : target;
}

const printable = (target: string): string =>
  target.replace(/[^\x21-\x7e]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
