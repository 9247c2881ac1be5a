/** Routes one request to its handler. Paths are parsed in `request-path.ts`, query strings in `query.ts`. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { methodNotAllowed, noSuchPath } from '../errors.ts';
import type { Registry } from '../store/registry.ts';
import { type Call, replyError } from './call.ts';
import { serveDocument } from './documents.ts';
import { get } from './reads.ts';
import { parseResourcePath } from './request-path.ts';
import { serveSubresource } from './subresources.ts';
import { create, patch, remove, update } from './writes.ts';

/** One request and its response. */
export class Exchange {
  private readonly registry: Registry;
  private readonly streams: Set<() => void>;
  private readonly request: IncomingMessage;
  private readonly response: ServerResponse;
  private readonly by: Call['by'];

  constructor(
    registry: Registry,
    streams: Set<() => void>,
    request: IncomingMessage,
    response: ServerResponse,
    by: Call['by'],
  ) {
    this.registry = registry;
    this.streams = streams;
    this.request = request;
    this.response = response;
    this.by = by;
  }

  run(): void {
    this.answer().catch((error: unknown) => replyError(this.response, error));
  }

  private async answer(): Promise<void> {
    const { registry, streams, request, response, by } = this;
    const url = request.url ?? '/';
    const mark = url.indexOf('?');
    const path = mark < 0 ? url : url.slice(0, mark);
    const target = parseResourcePath(path, registry.kinds);
    if (target === undefined) return serveDocument(request, response, path, registry.kinds);
    const query = new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1));
    const call: Call = { registry, streams, request, response, target, query, by };
    const { subresource, resource } = target;
    if (subresource !== undefined && !(subresource === 'status' && resource.status)) {
      const served = serveSubresource(call);
      if (served === false) throw noSuchPath(path);
      return served;
    }
    return this.handler(call)(call);
  }

  private handler({ target, request }: Call): (call: Call) => void | Promise<void> {
    const { name, subresource } = target;
    const collection = name === undefined;
    switch (request.method) {
      case 'GET':
      case 'HEAD':
        return get;
      case 'POST':
        if (collection) return create;
        break;
      case 'PUT':
        if (!collection) return update;
        break;
      case 'PATCH':
        if (!collection) return patch;
        break;
      case 'DELETE':
        if (subresource === undefined) return remove;
        break;
    }
    throw methodNotAllowed();
  }
}
