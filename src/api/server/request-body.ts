/** The body of a request: read within limits of size and depth, and parsed by media type. */
import type { IncomingMessage } from 'node:http';
import { badRequest, tooLarge, unsupportedMediaType } from '../errors.ts';
import { decodeBody, PROTOBUF, ProtobufError } from '../protobuf/envelope.ts';

/** The limit of kube-apiserver. */
const MAX_BODY_BYTES = 3 * 1024 * 1024;
/** Go's JSON decoder allows 10,000; no Kubernetes object needs a hundred. */
const MAX_DEPTH = 1000;

/** @throws ApiError 413 when the body is longer than 3 MiB */
export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) throw tooLarge(MAX_BODY_BYTES);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

export function mediaTypeOf(request: IncomingMessage): string {
  return (request.headers['content-type'] || 'application/json').split(';')[0]!.trim().toLowerCase();
}

const OBJECT_TYPES = ['application/json', 'application/yaml', PROTOBUF];

/** The object in a body. @throws ApiError 415, 400 */
export async function parseObject(request: IncomingMessage, body: Buffer): Promise<unknown> {
  const mediaType = mediaTypeOf(request);
  switch (mediaType) {
    case 'application/json':
      return parseJson(body);
    case 'application/yaml':
      return parseYaml(body);
    case PROTOBUF:
      return parseProtobuf(body);
    default:
      throw unsupportedMediaType(mediaType, OBJECT_TYPES);
  }
}

function parseProtobuf(body: Buffer): unknown {
  try {
    return decodeBody(body);
  } catch (error) {
    if (error instanceof ProtobufError) throw badRequest(error.message);
    throw error;
  }
}

/** @throws ApiError 400 */
export function parseJson(body: Buffer): unknown {
  const text = body.toString('utf8');
  checkDepth(text);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw badRequest(`the body is not JSON: ${(error as Error).message}`);
  }
}

/** Tries JSON first: it is valid YAML, and most clients that declare YAML send it. @throws ApiError 400 */
export async function parseYaml(body: Buffer): Promise<unknown> {
  const text = body.toString('utf8');
  checkDepth(text);
  try {
    return JSON.parse(text);
  } catch {
    const { readYaml } = await import('../yaml.ts');
    try {
      return readYaml(text);
    } catch (error) {
      throw badRequest(`the body is not YAML: ${(error as Error).message}`);
    }
  }
}

/**
 * Limits the nesting depth: code that walks an object is recursive and would exhaust the stack. @throws ApiError 400
 */
function checkDepth(text: string): void {
  let depth = 0;
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (quoted) {
      if (c === 0x5c) i++;
      else if (c === 0x22) quoted = false;
    } else if (c === 0x22) quoted = true;
    else if (c === 0x7b || c === 0x5b) {
      if (++depth > MAX_DEPTH) throw badRequest(`the body is nested more than ${MAX_DEPTH} levels deep`);
    } else if (c === 0x7d || c === 0x5d) depth--;
  }
}
