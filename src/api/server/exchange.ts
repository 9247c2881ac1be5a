/**
 * One request to the API and its answer: which verb on which path, its query and its body, Status errors. What a write
 * means is `registry.ts`, what a watch sends is `watch-stream.ts`.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  ApiError,
  badRequest,
  expired,
  internalError,
  methodNotAllowed,
  noSuchPath,
  unsupportedMediaType,
} from '../errors.ts';
import { apiVersionOf } from '../resources.ts';
import { warningText } from '../schema/schema.ts';
import { type Predicate, parseFieldSelector, parseLabelSelector, SelectorError } from '../selectors.ts';
import type { Registry, WriteRequest, WriteResult } from '../store/registry.ts';
import type { KubeObject } from '../types/objects.ts';
import { discoveryDocument } from './discovery.ts';
import { PatchError } from './patches.ts';
import { APPLY, applyPatch, parseJson, parseYaml, readBody } from './request-body.ts';
import { parseResourcePath, type ResourcePath } from './request-path.ts';
import { startWatch } from './watch-stream.ts';

const LIST_BATCH = 200;
const WATCH_TIMEOUT_S = 30 * 60;

/** One request and its answer. */
export class Exchange {
  private readonly registry: Registry;
  private readonly streams: Set<() => void>;
  private readonly request: IncomingMessage;
  private readonly response: ServerResponse;
  private readonly path: string;
  private readonly query: URLSearchParams;

  constructor(registry: Registry, streams: Set<() => void>, request: IncomingMessage, response: ServerResponse) {
    this.registry = registry;
    this.streams = streams;
    this.request = request;
    this.response = response;
    const url = request.url ?? '/';
    const mark = url.indexOf('?');
    this.path = mark < 0 ? url : url.slice(0, mark);
    this.query = new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1));
  }

  run(): void {
    this.answer().catch((error: unknown) => this.refuse(error));
  }

  private async answer(): Promise<void> {
    const target = parseResourcePath(this.path);
    if (target === undefined) return this.answerOther();
    const { method } = this.request;
    const { subresource } = target;
    if (subresource !== undefined && !(subresource === 'status' && target.resource.status)) throw noSuchPath(this.path);
    if (method === 'GET') return target.name === undefined ? this.collection(target) : this.object(target);
    const body = await readBody(this.request);
    if (method === 'POST' && target.name === undefined) return this.create(target, body);
    if (method === 'PUT' && target.name !== undefined) return this.update(target, body);
    if (method === 'PATCH' && target.name !== undefined) return this.patch(target, body);
    if (method === 'DELETE' && subresource === undefined) return this.remove(target, body);
    throw methodNotAllowed();
  }

  private answerOther(): void {
    if (this.request.method !== 'GET') throw methodNotAllowed();
    if (/^\/(healthz|livez|readyz)$/.test(this.path)) {
      this.response.writeHead(200, { 'content-type': 'text/plain' }).end('ok');
      return;
    }
    const document = discoveryDocument(this.path);
    if (document === undefined) throw noSuchPath(this.path);
    this.reply(200, JSON.stringify(document));
  }

  private object({ resource, namespace, name }: ResourcePath): void {
    const selects = this.selection(resource.kind);
    if (this.query.get('watch') === 'true' || this.query.get('watch') === '1') {
      const byName: Predicate = (o) => o.metadata.name === name && (selects?.(o) ?? true);
      this.watch({ resource, namespace, name: undefined, subresource: undefined }, byName);
      return;
    }
    this.reply(200, JSON.stringify(this.registry.get(resource, namespace, name!)));
  }

  private collection(target: ResourcePath): void | Promise<void> {
    const selects = this.selection(target.resource.kind);
    const watch = this.query.get('watch');
    if (watch === 'true' || watch === '1') return this.watch(target, selects);
    return this.list(target, selects);
  }

  private select(target: ResourcePath, selects: Predicate | undefined): KubeObject[] {
    const all: KubeObject[] = this.registry.store.list(target.resource.key, target.namespace);
    return selects === undefined ? all : all.filter(selects);
  }

  private async list(target: ResourcePath, selects: Predicate | undefined): Promise<void> {
    const { resource } = target;
    const { store } = this.registry;
    const items = this.select(target, selects);
    const head = `{"kind":"${resource.kind}List","apiVersion":"${apiVersionOf(resource)}","metadata":{"resourceVersion":"${store.version}"},"items":[`;
    if (items.length <= LIST_BATCH) return this.reply(200, `${head}${items.map((o) => JSON.stringify(o)).join()}]}\n`);
    // Long lists go out in parts, so that they do not hold up the writes and watches of everybody else. The objects
    // are never changed in place, so all of them are as they were at the version in the head.
    this.response.writeHead(200, { 'content-type': 'application/json' });
    this.response.write(head);
    for (let i = 0; i < items.length && !this.response.destroyed; i += LIST_BATCH) {
      const part = items.slice(i, i + LIST_BATCH).map((o) => JSON.stringify(o));
      const flowing = this.response.write((i === 0 ? '' : ',') + part.join());
      await new Promise<void>((resolve) => {
        if (flowing) setImmediate(resolve);
        else this.onceWritable(resolve);
      });
    }
    this.response.end(']}\n');
  }

  /** Calls back when the client has read on, or has gone. */
  private onceWritable(done: () => void): void {
    const { response } = this;
    const either = () => {
      response.off('drain', either);
      response.off('close', either);
      done();
    };
    response.on('drain', either);
    response.on('close', either);
  }

  private watch(target: ResourcePath, selects: Predicate | undefined): void {
    const { resource, namespace } = target;
    const { store } = this.registry;
    const asked = this.query.get('resourceVersion') ?? '';
    const version = Number(asked || '0');
    if (!Number.isSafeInteger(version) || version < 0) throw badRequest(`invalid resource version: "${asked}"`);
    if (version > store.version) throw expired(`too large resource version: ${version}, current: ${store.version}`);
    const seconds = Number(this.query.get('timeoutSeconds') ?? 0);
    const sendInitial = this.query.get('sendInitialEvents') === 'true';
    const fromNow = version === 0 || sendInitial;
    const end = startWatch(this.response, store.history(resource.key), {
      kind: resource.kind,
      apiVersion: apiVersionOf(resource),
      namespace,
      selects,
      bookmarks: this.query.get('allowWatchBookmarks') === 'true',
      timeoutMs: (seconds > 0 ? Math.min(seconds, 2_000_000) : WATCH_TIMEOUT_S * (1 + Math.random())) * 1000,
      version: fromNow ? store.version : version,
      initial: fromNow ? this.select(target, selects) : undefined,
      endMark: sendInitial,
    });
    this.streams.add(end);
    this.response.on('close', () => this.streams.delete(end));
  }

  private create({ resource, namespace }: ResourcePath, body: string): void {
    if (resource.namespaced && namespace === undefined) throw methodNotAllowed();
    const mediaType = this.mediaType();
    if (mediaType !== 'application/json') throw unsupportedMediaType(mediaType, ['application/json']);
    this.written(201, this.registry.create(resource, namespace, parseJson(body), this.writeRequest()));
  }

  private update({ resource, namespace, name, subresource }: ResourcePath, body: string): void {
    const mediaType = this.mediaType();
    if (mediaType !== 'application/json') throw unsupportedMediaType(mediaType, ['application/json']);
    const request = { ...this.writeRequest(), subresource: subresource as 'status' | undefined };
    this.written(200, this.registry.update(resource, namespace, name!, parseJson(body), request));
  }

  private async patch({ resource, namespace, name, subresource }: ResourcePath, body: string): Promise<void> {
    const request = { ...this.writeRequest(), subresource: subresource as 'status' | undefined };
    const mediaType = this.mediaType();
    const patch = mediaType === APPLY ? await parseYaml(body) : parseJson(body);
    const old = this.registry.store.get(resource.key, namespace, name!);
    if (old === undefined && mediaType === APPLY && subresource === undefined) {
      this.written(201, this.registry.create(resource, namespace, patch, request));
      return;
    }
    const target = old ?? this.registry.get(resource, namespace, name!);
    try {
      const patched = applyPatch(mediaType, target, patch);
      this.written(200, this.registry.update(resource, namespace, name!, patched, request));
    } catch (error) {
      if (error instanceof PatchError) throw badRequest(`the patch cannot be applied: ${error.message}`);
      throw error;
    }
  }

  private remove(target: ResourcePath, body: string): void {
    const { resource, namespace, name } = target;
    const options = (body === '' ? {} : parseJson(body)) as {
      gracePeriodSeconds?: number;
      preconditions?: { uid?: string; resourceVersion?: string };
      dryRun?: string[];
    };
    const grace = this.query.get('gracePeriodSeconds') ?? options?.gracePeriodSeconds;
    const request = {
      dryRun: this.query.get('dryRun') === 'All' || options?.dryRun?.includes('All') === true,
      gracePeriodSeconds: grace === undefined || grace === null ? undefined : Number(grace),
      preconditions: options?.preconditions,
    };
    const { gracePeriodSeconds } = request;
    if (gracePeriodSeconds !== undefined && !(Number.isInteger(gracePeriodSeconds) && gracePeriodSeconds >= 0)) {
      throw badRequest(`gracePeriodSeconds: expected integer of 0 or more, got ${grace}`);
    }
    if (name !== undefined) {
      this.reply(200, JSON.stringify(this.registry.delete(resource, namespace, name, request).object));
      return;
    }
    if (resource.namespaced && namespace === undefined) throw methodNotAllowed();
    const victims = this.select(target, this.selection(resource.kind));
    for (const { metadata } of victims) this.registry.delete(resource, metadata.namespace, metadata.name, request);
    this.reply(200, JSON.stringify({ apiVersion: 'v1', kind: 'Status', metadata: {}, status: 'Success' }));
  }

  private selection(kind: string): Predicate | undefined {
    try {
      const byLabel = parseLabelSelector(this.query.get('labelSelector') ?? '');
      const byField = parseFieldSelector(kind, this.query.get('fieldSelector') ?? '');
      return byLabel && byField ? (object) => byLabel(object) && byField(object) : (byLabel ?? byField);
    } catch (error) {
      if (error instanceof SelectorError) throw badRequest(error.message);
      throw error;
    }
  }

  private writeRequest(): WriteRequest {
    const validation = this.query.get('fieldValidation') ?? 'Warn';
    if (validation !== 'Strict' && validation !== 'Warn' && validation !== 'Ignore') {
      throw badRequest(`fieldValidation: expected Strict, Warn or Ignore, got ${validation}`);
    }
    return { dryRun: this.query.get('dryRun') === 'All', fieldValidation: validation };
  }

  private mediaType(): string {
    return (this.request.headers['content-type'] ?? 'application/json').split(';')[0]!.trim().toLowerCase();
  }

  private written(code: number, { object, warnings }: WriteResult): void {
    const texts = warnings.map((warning) => `299 - "${headerText(warningText(warning))}"`);
    if (texts.length > 0) this.response.setHeader('warning', texts);
    this.reply(code, JSON.stringify(object));
  }

  private reply(code: number, json: string): void {
    this.response.writeHead(code, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(json) });
    this.response.end(json);
  }

  private refuse(error: unknown): void {
    if (this.response.headersSent || this.response.destroyed) {
      this.response.destroy();
      return;
    }
    const told = error instanceof ApiError ? error : internalError((error as Error).message);
    if (told.code === 413) this.response.setHeader('connection', 'close');
    this.reply(told.code, JSON.stringify(told.status));
  }
}

/** As quoted-string of a header: ASCII only. */
function headerText(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').replace(/["\\]/g, '\\$&');
}
