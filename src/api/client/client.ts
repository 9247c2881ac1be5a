/**
 * Client of the Kubernetes API over a unix socket, HTTP or HTTPS. Every call either returns the object or throws `ApiError`
 * (the server refused: has `code`, `reason`, `status`) or `ApiUnreachableError` (no answer).
 */
import { Agent, type ClientRequest, type IncomingMessage, request } from 'node:http';
import { Agent as TlsAgent, request as tlsRequest } from 'node:https';
import { ApiError, ApiUnreachableError } from '../errors.ts';
import { type Resource, resourceOfKind, resourcePath } from '../resources.ts';
import type { Kind, KubeObject, Manifest, ObjectByKind, ObjectList, Status, WatchEvent } from '../types/objects.ts';
import { type ApiServer, serverAt } from './api-server.ts';
import { isSystemError, query, readLines, readText, refusal, warningsOf } from './http.ts';

export interface Selection {
  /** Leave out for all namespaces (and for cluster-scoped kinds). */
  namespace?: string | undefined;
  labelSelector?: string | undefined;
  fieldSelector?: string | undefined;
}

export interface WriteOptions {
  /** Process the request as usual, but persist nothing. */
  dryRun?: boolean;
  /** Unknown fields: refuse (the default), warn, or drop silently. */
  fieldValidation?: 'Strict' | 'Warn' | 'Ignore';
  subresource?: 'status';
  /** Called once for each warning in the response. */
  onWarning?: (text: string) => void;
}

export interface DeleteOptions {
  namespace?: string;
  /** Seconds that a pod has to terminate; 0 removes the object at once. */
  gracePeriodSeconds?: number;
  dryRun?: boolean;
  /** What happens to the objects it owns; default: as is usual for the kind. */
  propagationPolicy?: 'Foreground' | 'Background' | 'Orphan';
  /** The deletion fails with 409 unless the object still has this uid and version. */
  preconditions?: { uid?: string; resourceVersion?: string };
}

export interface WatchOptions extends Selection {
  /** Watch changes after this version; if omitted, the present objects come first, as ADDED. */
  resourceVersion?: string;
  allowWatchBookmarks?: boolean;
  timeoutSeconds?: number;
  signal?: AbortSignal;
  /** Called when the server has accepted the watch. */
  onOpen?: () => void;
}

export type PatchType = 'merge' | 'json' | 'strategic' | 'apply';

const PATCH_MEDIA_TYPES: Record<PatchType, string> = {
  merge: 'application/merge-patch+json',
  json: 'application/json-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  apply: 'application/apply-patch+yaml',
};

/** How long a connection is idle before the kernel sends keep-alive probes. */
const KEEP_ALIVE_MS = 2000;

const ROLES_NOT_FOUND = /: RBAC: .*not found/;

/** How many pooled connections in a row may turn out to be closed before a call fails. */
const MAX_STALE = 16;

export interface ClientOptions {
  /** Milliseconds without a response before a call fails; an accepted watch has no limit. Default 30000. */
  timeoutMs?: number;
  /** Name of the program: what it writes is owned by it (`metadata.managedFields`). Left out: by nobody. */
  program?: string;
  /** Called once for each kind that the API does not let an informer list or watch; the informer tries again. */
  onRefused?: (kind: Kind, error: ApiError) => void;
  /** Called when such a kind is listed and watched after all. */
  onAllowed?: (kind: Kind) => void;
  /** Called once for each kind of write that is forbidden to this client; the call fails nevertheless. */
  onForbidden?: (error: ApiError) => void;
}

/** A client of one API server. */
export class ApiClient {
  /** The server, as messages name it. */
  readonly target: string;
  private readonly server: ApiServer;
  private readonly timeoutMs: number;
  private readonly program: string | undefined;
  private readonly onRefused: ClientOptions['onRefused'];
  private readonly onAllowed: ClientOptions['onAllowed'];
  private readonly onForbidden: ClientOptions['onForbidden'];
  private readonly refusedKinds = new Set<Kind>();
  /** How often each kind of write was forbidden. */
  private readonly forbiddenWrites = new Map<string, number>();
  /** Those that wait for their next attempt to reach the API (`whenReached`). */
  private readonly waiting = new Set<() => void>();
  private readonly calls: Agent;
  private readonly streams: Agent;

  /** @param server a server, or the path of a unix socket, or `http://host:port` */
  constructor(server: ApiServer | string, options: ClientOptions = {}) {
    this.server = typeof server === 'string' ? serverAt(server) : server;
    this.target = this.server.name;
    this.timeoutMs = options.timeoutMs ?? 30_000;
    this.program = options.program;
    this.onRefused = options.onRefused;
    this.onAllowed = options.onAllowed;
    this.onForbidden = options.onForbidden;
    const Pool = this.server.credentials === undefined ? Agent : TlsAgent;
    this.calls = new Pool({ keepAlive: true, maxSockets: 16 });
    this.streams = new Pool({ keepAlive: false });
  }

  /**
   * Call once when somebody has reached the API again: the others need not wait for their own next attempt.
   * @returns takes it back
   */
  whenReached(retry: () => void): () => void {
    this.waiting.add(retry);
    return () => this.waiting.delete(retry);
  }

  /** The API was away, and has just answered. */
  reached(): void {
    for (const retry of [...this.waiting]) retry();
  }

  get<K extends Kind>(kind: K, name: string, namespace?: string): Promise<ObjectByKind[K]> {
    return this.call('GET', this.path(kind, namespace, name));
  }

  /** As `get`, but undefined instead of a 404. */
  async find<K extends Kind>(kind: K, name: string, namespace?: string): Promise<ObjectByKind[K] | undefined> {
    try {
      return await this.get(kind, name, namespace);
    } catch (error) {
      if (error instanceof ApiError && error.code === 404) return undefined;
      throw error;
    }
  }

  list<K extends Kind>(kind: K, selection: Selection = {}): Promise<ObjectList<ObjectByKind[K]>> {
    return this.call('GET', this.path(kind, selection.namespace) + query(selectionQuery(selection)));
  }

  create<T extends KubeObject>(object: Manifest<T> | T, options: WriteOptions = {}): Promise<T> {
    const namespace = object.metadata.namespace ?? 'default';
    return this.call('POST', this.path(object.kind, namespace) + query(writeQuery(options)), object, options);
  }

  /** Replaces the object. If `metadata.resourceVersion` is set, fails with 409 when the object has changed since. */
  update<T extends KubeObject>(object: T, options: WriteOptions = {}): Promise<T> {
    const { namespace, name } = object.metadata;
    const path = this.path(object.kind, namespace ?? 'default', name, options.subresource);
    return this.call('PUT', path + query(writeQuery(options)), object, options);
  }

  /** Patches the object by RFC 7396 (`merge`, the default), RFC 6902 (`json`) or Kubernetes' own rules. */
  patch<K extends Kind>(
    kind: K,
    name: string,
    patch: unknown,
    options: WriteOptions & { namespace?: string; type?: PatchType } = {},
  ): Promise<ObjectByKind[K]> {
    const path = this.path(kind, options.namespace ?? 'default', name, options.subresource);
    const mediaType = PATCH_MEDIA_TYPES[options.type ?? 'merge'];
    const extra = options.type === 'apply' ? { fieldManager: 'dataplane', force: 'true' } : {};
    return this.call('PATCH', path + query({ ...writeQuery(options), ...extra }), patch, options, mediaType);
  }

  /** Writes only `status`, as a merge patch. */
  patchStatus<K extends Kind>(kind: K, name: string, namespace: string | undefined, status: unknown) {
    return this.patch(kind, name, { status }, { ...(namespace && { namespace }), subresource: 'status' });
  }

  /** Returns the terminating object, or its last state if it was removed at once. */
  delete<K extends Kind>(kind: K, name: string, options: DeleteOptions = {}): Promise<ObjectByKind[K]> {
    const { namespace, gracePeriodSeconds, preconditions, dryRun, propagationPolicy } = options;
    const body = {
      apiVersion: 'v1',
      kind: 'DeleteOptions',
      ...(gracePeriodSeconds !== undefined && { gracePeriodSeconds }),
      ...(preconditions && { preconditions }),
      ...(propagationPolicy && { propagationPolicy }),
      ...(dryRun && { dryRun: ['All'] }),
    };
    return this.call('DELETE', this.path(kind, namespace ?? 'default', name), body);
  }

  /**
   * Watches until the server ends the stream (resolves), `signal` aborts (resolves) or the connection fails
   * (throws). An `ERROR` event, such as 410 for an expired version, is thrown as ApiError.
   */
  async watch<K extends Kind>(
    kind: K,
    options: WatchOptions,
    onEvent: (event: WatchEvent<ObjectByKind[K]>) => void,
  ): Promise<void> {
    const { resourceVersion, allowWatchBookmarks, timeoutSeconds, signal } = options;
    const path =
      this.path(kind, options.namespace) +
      query({
        ...selectionQuery(options),
        watch: 'true',
        resourceVersion,
        allowWatchBookmarks: allowWatchBookmarks ? 'true' : undefined,
        timeoutSeconds: timeoutSeconds === undefined ? undefined : String(timeoutSeconds),
      });
    if (signal?.aborted) return;
    let outgoing: ClientRequest | undefined;
    const abort = () => outgoing?.destroy();
    signal?.addEventListener('abort', abort, { once: true });
    try {
      const response = await this.send('GET', path, undefined, undefined, this.streams, (req) => {
        outgoing = req;
        if (signal?.aborted) req.destroy();
        req.setTimeout(this.timeoutMs, () => req.destroy(noAnswer()));
      });
      // From here on there is no timeout: nothing may change for hours.
      outgoing?.setTimeout(0);
      if (response.statusCode !== 200) throw refusal(response, await readText(response));
      options.onOpen?.();
      await readLines(response, (line) => {
        const event = JSON.parse(line) as WatchEvent<ObjectByKind[K]>;
        if (event.type === 'ERROR') throw new ApiError(event.object as unknown as Status);
        onEvent(event);
      });
    } catch (error) {
      if (signal?.aborted) return;
      throw error instanceof ApiError || !isSystemError(error) ? error : new ApiUnreachableError(this.target, error);
    } finally {
      signal?.removeEventListener('abort', abort);
      outgoing?.destroy();
    }
  }

  /** Any path of the API, for discovery documents and the like: the parsed JSON answer. */
  raw<T>(path: string): Promise<T> {
    return this.call('GET', path);
  }

  /** A token of a service account (TokenRequest). */
  async requestToken(
    namespace: string,
    account: string,
    spec: { audiences?: string[]; expirationSeconds?: number; boundObjectRef?: object },
  ): Promise<{ token: string; expiresAtMs: number }> {
    const path = this.path('ServiceAccount', namespace, account, 'token');
    const body = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec };
    const { status } = await this.call<{ status: { token: string; expirationTimestamp: string } }>('POST', path, body);
    return { token: status.token, expiresAtMs: Date.parse(status.expirationTimestamp) };
  }

  /** For informers: the API refused a list or a watch. */
  refused(kind: Kind, error: ApiError): void {
    if (this.refusedKinds.has(kind)) return;
    this.refusedKinds.add(kind);
    this.onRefused?.(kind, error);
  }

  /** Close the connections that wait for the next call: it opens a new one. */
  closeIdle(): void {
    for (const sockets of Object.values(this.calls.freeSockets)) for (const socket of sockets ?? []) socket.destroy();
  }

  /** For informers: the API has accepted a watch. */
  allowed(kind: Kind): void {
    if (this.refusedKinds.delete(kind)) this.onAllowed?.(kind);
  }

  /** Closes kept connections; calls under way fail. */
  close(): void {
    this.calls.destroy();
    this.streams.destroy();
  }

  private path(kind: string, namespace?: string, name?: string, subresource?: string): string {
    const resource: Resource | undefined = resourceOfKind(kind);
    if (resource === undefined) throw new TypeError(`no kind "${kind}" is served`);
    return resourcePath(resource, namespace, name, subresource);
  }

  private async call<T>(
    method: string,
    path: string,
    body?: unknown,
    options?: WriteOptions,
    mediaType = 'application/json',
  ): Promise<T> {
    const text = body === undefined ? undefined : JSON.stringify(body);
    let answer: { response: IncomingMessage; text: string };
    try {
      answer = await this.exchange(method, path, text, mediaType);
    } catch (error) {
      if (!isSystemError(error)) throw error;
      throw new ApiUnreachableError(this.target, error);
    }
    const status = answer.response.statusCode ?? 500;
    if (options?.onWarning) for (const w of warningsOf(answer.response)) options.onWarning(w);
    if (status >= 300) {
      const error = refusal(answer.response, answer.text);
      if (status === 403 && method !== 'GET') this.forbidden(error);
      throw error;
    }
    return JSON.parse(answer.text) as T;
  }

  private forbidden(error: ApiError): void {
    // What RBAC says of a write is the same for all objects of a kind, but for their names.
    const what = /cannot \w+ resource "[^"]+"/.exec(error.message)?.[0];
    if (what === undefined) return;
    const times = (this.forbiddenWrites.get(what) ?? 0) + 1;
    this.forbiddenWrites.set(what, times);
    // A server that has just started may not have read its roles yet, and says which it does not find: `RBAC: [...]`.
    if (times !== (ROLES_NOT_FOUND.test(error.message) ? 2 : 1)) return;
    this.onForbidden?.(error);
  }

  private async exchange(method: string, path: string, body: string | undefined, mediaType: string) {
    for (let attempt = 0; ; attempt++) {
      let reused = false;
      try {
        const response = await this.send(method, path, body, mediaType, this.calls, (req) => {
          req.setTimeout(this.timeoutMs, () => req.destroy(noAnswer()));
          req.on('socket', () => {
            reused = req.reusedSocket;
          });
        });
        return { response, text: await readText(response) };
      } catch (error) {
        // The server had closed the pooled connection, which is no failure of the request: retry on another. After
        // EPIPE the server cannot have read the whole request. After ECONNRESET it may have, so only idempotent
        // requests are sent again.
        const code = isSystemError(error) ? error.code : '';
        const again =
          reused &&
          (code === 'EPIPE' || (code === 'ECONNRESET' && method !== 'POST' && mediaType !== PATCH_MEDIA_TYPES.json));
        if (!again || attempt >= MAX_STALE) throw error;
      }
    }
  }

  private send(
    method: string,
    path: string,
    body: string | undefined,
    mediaType: string | undefined,
    agent: Agent,
    onRequest: (req: ClientRequest) => void,
  ): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const headers: Record<string, string | number> = { accept: 'application/json' };
      if (this.program !== undefined) headers['user-agent'] = this.program;
      if (body !== undefined) {
        headers['content-type'] = mediaType ?? 'application/json';
        headers['content-length'] = Buffer.byteLength(body);
      }
      const { where, basePath, credentials } = this.server;
      const to = { ...where, method, path: basePath + path, headers, agent };
      const { tls, authorization } = credentials?.now() ?? {};
      if (authorization !== undefined) headers.authorization = authorization;
      // The options of TLS belong to the name of a pooled connection: others are opened after certificates have changed.
      const req =
        tls === undefined ? request({ ...to, ...WITHOUT_TLS }, resolve) : tlsRequest({ ...to, ...tls }, resolve);
      req.on('error', reject);
      // A server that disappears without closing (a partition, a power failure) is noticed within twelve seconds: the
      // kernel then probes an idle connection every second, ten times (libuv src/unix/tcp.c uv__tcp_keepalive).
      req.on('socket', (socket) => socket.setKeepAlive(true, KEEP_ALIVE_MS));
      onRequest(req);
      req.end(body);
    });
  }
}

/**
 * An empty server name keeps Node from matching the host with its pattern of IPv6 addresses, which takes milliseconds to
 * compile in each new process (lib/internal/net.js isIPv6).
 */
const WITHOUT_TLS: object = { servername: '' };

const noAnswer = (): Error => Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' });

function selectionQuery(s: Selection): Record<string, string | undefined> {
  return { labelSelector: s.labelSelector || undefined, fieldSelector: s.fieldSelector || undefined };
}

function writeQuery(o: WriteOptions): Record<string, string | undefined> {
  return { dryRun: o.dryRun ? 'All' : undefined, fieldValidation: o.fieldValidation ?? 'Strict' };
}
