/** The context of one request, and the functions that write responses. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { ApiError, badRequest, internalError } from '../errors.ts';
import { encodeBody, PROTOBUF } from '../protobuf/envelope.ts';
import { hasProtobuf } from '../published/types.ts';
import { type FieldWarning, warningText } from '../schema/schema.ts';
import type { Registry, WriteRequest } from '../store/registry.ts';
import type { IncludeObject } from '../tables/table.ts';
import type { KubeObject } from '../types/objects.ts';
import { acceptRanges, negotiate } from './negotiation.ts';
import { type Renderer, renderer } from './render.ts';
import type { ResourcePath } from './request-path.ts';

export interface Call {
  registry: Registry;
  /** One function per open watch; called when the server stops, to end it. */
  streams: Set<() => void>;
  request: IncomingMessage;
  response: ServerResponse;
  target: ResourcePath;
  query: URLSearchParams;
  /** Who makes the request, and what else they may do; undefined for a watch over a WebSocket. */
  by?: WriteRequest['by'];
}

/** The renderer for the form that the client accepts. @throws ApiError 406, 400 */
export function rendererOf({ request, target, query }: Call): Renderer {
  const include = query.get('includeObject') ?? 'Metadata';
  if (include !== 'None' && include !== 'Metadata' && include !== 'Object') {
    throw badRequest(`unrecognized includeObject value: ${JSON.stringify(include)}`);
  }
  const { group, version, kind } = target.resource;
  const form = negotiate(request.headers.accept, hasProtobuf(group, version, kind));
  return renderer(target.resource, form, include as IncludeObject);
}

export function replyText(response: ServerResponse, code: number, text: string | Uint8Array, type: string): void {
  response.writeHead(code, { 'content-type': type, 'content-length': Buffer.byteLength(text) });
  response.end(text);
}

/** Sends an object that is no resource's: a Status, a Scale, a review. In protobuf if the client prefers that. */
export function replyValue(response: ServerResponse, code: number, value: { apiVersion: string; kind: string }): void {
  if (prefersProtobuf(response.req.headers.accept)) replyText(response, code, encodeBody(value), PROTOBUF);
  else replyJson(response, code, JSON.stringify(value));
}

function prefersProtobuf(accept: string | undefined): boolean {
  // Most clients send no such type; an error must not depend on what else they accept.
  if (accept === undefined || !accept.includes(PROTOBUF)) return false;
  const [first] = acceptRanges(accept).filter(({ parameters }) => !parameters.has('as'));
  return first?.type === PROTOBUF;
}

export function replyJson(response: ServerResponse, code: number, json: string): void {
  replyText(response, code, json, 'application/json');
}

/** Sends an object, with warnings as headers (RFC 7234 §5.5). */
export function replyObject(
  call: Call,
  code: number,
  object: KubeObject,
  warnings: readonly FieldWarning[] = [],
): void {
  const texts = warnings.map((warning) => `299 - "${headerText(warningText(warning))}"`);
  if (texts.length > 0) call.response.setHeader('warning', texts);
  const { mediaType, object: render } = rendererOf(call);
  replyText(call.response, code, render(object), mediaType);
}

/** Text as a quoted-string of a header: ASCII only. */
function headerText(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').replace(/["\\]/g, '\\$&');
}

/** Sends the Status of an error; closes a response whose head is already sent. */
export function replyError(response: ServerResponse, error: unknown): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const refusal = error instanceof ApiError ? error : internalError((error as Error).message);
  if (refusal.code === 413) response.setHeader('connection', 'close');
  const { retryAfterSeconds } = refusal.status.details ?? {};
  if (retryAfterSeconds !== undefined) response.setHeader('retry-after', String(retryAfterSeconds));
  replyValue(response, refusal.code, refusal.status);
}
