/** Everything that is no resource: version, health, discovery, OpenAPI. */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { methodNotAllowed, noSuchPath } from '../errors.ts';
import { OpenApiV3, openApiV2 } from '../openapi/documents.ts';
import { ANSWERED_V2, encodeV2, PROTOBUF_V2 } from '../openapi/v2-protobuf.ts';
import { SERVED } from '../resources.ts';
import { replyJson, replyText } from './call.ts';
import { aggregated, discoveryDocument } from './discovery.ts';
import { acceptRanges } from './negotiation.ts';

interface Text {
  body: string | Uint8Array;
  type: string;
}

const openApiV3 = new OpenApiV3(SERVED, randomUUID());
let v2Json: string | undefined;
let v2Protobuf: Uint8Array | undefined;

/** Answers, when there is such a document. @throws ApiError 404, 405 */
export function serveDocument(request: IncomingMessage, response: ServerResponse, path: string): void {
  const document = documentAt(path, request.headers.accept);
  if (document === undefined) throw noSuchPath(path);
  if (request.method !== 'GET' && request.method !== 'HEAD') throw methodNotAllowed();
  if ('body' in document) replyText(response, 200, document.body, document.type);
  else replyJson(response, 200, JSON.stringify(document.json));
}

function documentAt(given: string, accept: string | undefined): Text | { json: unknown } | undefined {
  const path = given.length > 1 ? given.replace(/\/$/, '') : given;
  if (/^\/(healthz|livez|readyz)$/.test(path)) return { body: 'ok', type: 'text/plain' };
  if (path === '/openapi/v2') return openApiV2Text(accept);
  if (path === '/openapi/v3') return { json: openApiV3.index() };
  if (path.startsWith('/openapi/v3/')) {
    const body = openApiV3.document(path.slice('/openapi/v3/'.length));
    return body === undefined ? undefined : { body, type: 'application/json' };
  }
  if (path === '/api' || path === '/apis') {
    for (const { type, parameters } of acceptRanges(accept)) {
      if (type !== 'application/json' && type !== '*/*') continue;
      const version = parameters.get('v');
      const wanted = parameters.get('as') === 'APIGroupDiscoveryList' && parameters.get('g') === 'apidiscovery.k8s.io';
      if (wanted && (version === 'v2' || version === 'v2beta1')) {
        const body = JSON.stringify(aggregated(path === '/api', version));
        return { body, type: `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList` };
      }
      if (!parameters.has('as')) break;
    }
  }
  const json = discoveryDocument(path);
  return json === undefined ? undefined : { json };
}

function openApiV2Text(accept: string | undefined): Text {
  for (const { type } of acceptRanges(accept)) {
    if (type === PROTOBUF_V2) {
      v2Protobuf ??= encodeV2(openApiV2(SERVED));
      return { body: v2Protobuf, type: ANSWERED_V2 };
    }
    if (type === 'application/json' || type === '*/*') break;
  }
  v2Json ??= JSON.stringify(openApiV2(SERVED));
  return { body: v2Json, type: 'application/json' };
}
