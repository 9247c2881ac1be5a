/** Non-resource paths: version, health, discovery, OpenAPI. */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { CustomKinds } from '../custom/kinds.ts';
import { methodNotAllowed, noSuchPath } from '../errors.ts';
import { METRICS_RESOURCES } from '../metrics/resources.ts';
import { OpenApiV3, openApiV2 } from '../openapi/documents.ts';
import { ANSWERED_V2, encodeV2, PROTOBUF_V2 } from '../openapi/v2-protobuf.ts';
import { type Resource, SERVED } from '../resources.ts';
import { replyJson, replyText } from './call.ts';
import { Discovery } from './discovery.ts';
import { acceptRanges } from './negotiation.ts';

interface Text {
  body: string | Uint8Array;
  type: string;
}

const SHARED: readonly Resource[] = [...SERVED, ...METRICS_RESOURCES];

/** All documents of a set of resources; each is made on first use. */
class Documents {
  private readonly resources: readonly Resource[];
  private readonly discovery: Discovery;
  private readonly openApiV3: OpenApiV3;
  private v2Json: string | undefined;
  private v2Protobuf: Uint8Array | undefined;

  constructor(resources: readonly Resource[]) {
    this.resources = resources;
    this.discovery = new Discovery(resources);
    this.openApiV3 = new OpenApiV3(resources, randomUUID());
  }

  at(given: string, accept: string | undefined): Text | { json: unknown } | undefined {
    const path = given.length > 1 ? given.replace(/\/$/, '') : given;
    if (/^\/(healthz|livez|readyz)(\/ping)?$/.test(path)) return { body: 'ok', type: 'text/plain' };
    if (path === '/openapi/v2') return this.openApiV2Text(accept);
    if (path === '/openapi/v3') return { json: this.openApiV3.index() };
    if (path.startsWith('/openapi/v3/')) {
      const body = this.openApiV3.document(path.slice('/openapi/v3/'.length));
      return body === undefined ? undefined : { body, type: 'application/json' };
    }
    if (path === '/api' || path === '/apis') {
      for (const { type, parameters } of acceptRanges(accept)) {
        if (type !== 'application/json' && type !== '*/*') continue;
        const version = parameters.get('v');
        const wanted =
          parameters.get('as') === 'APIGroupDiscoveryList' && parameters.get('g') === 'apidiscovery.k8s.io';
        if (wanted && (version === 'v2' || version === 'v2beta1')) {
          const body = JSON.stringify(this.discovery.aggregated(path === '/api', version));
          return { body, type: `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList` };
        }
        if (!parameters.has('as')) break;
      }
    }
    const json = this.discovery.document(path);
    return json === undefined ? undefined : { json };
  }

  private openApiV2Text(accept: string | undefined): Text {
    for (const { type } of acceptRanges(accept)) {
      if (type === PROTOBUF_V2) {
        this.v2Protobuf ??= encodeV2(openApiV2(this.resources));
        return { body: this.v2Protobuf, type: ANSWERED_V2 };
      }
      if (type === 'application/json' || type === '*/*') break;
    }
    this.v2Json ??= JSON.stringify(openApiV2(this.resources));
    return { body: this.v2Json, type: 'application/json' };
  }
}

/** The documents of a cluster without custom kinds. */
const COMMON = new Documents(SHARED);
/** The documents of clusters with custom kinds, for one generation of these. */
const own = new WeakMap<CustomKinds, { generation: number; documents: Documents }>();

function documentsOf(kinds: CustomKinds): Documents {
  const custom = kinds.resources();
  if (custom.length === 0) return COMMON;
  const known = own.get(kinds);
  if (known?.generation === kinds.generation) return known.documents;
  const documents = new Documents([...SHARED, ...custom]);
  own.set(kinds, { generation: kinds.generation, documents });
  return documents;
}

/** Sends the document, if there is one at this path. @throws ApiError 404, 405 */
export function serveDocument(
  request: IncomingMessage,
  response: ServerResponse,
  path: string,
  kinds: CustomKinds,
): void {
  const check = /^\/(healthz|livez|readyz)\/?$/.exec(path);
  if (check !== null && /[?&]verbose(?![^=&])/.test(request.url ?? '')) {
    replyText(response, 200, `[+]ping ok\n[+]store ok\n${check[1]} check passed\n`, 'text/plain');
    return;
  }
  const document = documentsOf(kinds).at(path, request.headers.accept);
  if (document === undefined) throw noSuchPath(path);
  if (request.method !== 'GET' && request.method !== 'HEAD') throw methodNotAllowed();
  if ('body' in document) replyText(response, 200, document.body, document.type);
  else replyJson(response, 200, JSON.stringify(document.json));
}
