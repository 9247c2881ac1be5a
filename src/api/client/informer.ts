/**
 * A local cache of the objects of one kind: list, then watch from the list's version. When the connection breaks, the
 * informer resumes from the last version seen; if that has expired (410), it lists again and reports only what differs.
 * It retries for ever, and keeps its objects while the API is unreachable.
 */
import { ApiError } from '../errors.ts';
import type { Kind, KubeObject, ObjectByKind } from '../types/objects.ts';
import type { ApiClient, Selection } from './client.ts';

export interface InformerHandlers<T extends KubeObject> {
  /** What is kept of an object, and passed to the other handlers. Default: all of it. */
  kept?(object: T): T;
  added?(object: T): void;
  updated?(object: T, old: T): void;
  deleted?(object: T): void;
  /** The initial list is complete: `added` has been called for all of it. Called once. */
  synced?(): void;
  /** The API is unreachable or returned an error; the informer retries. */
  problem?(error: Error, retryInMs: number): void;
  /** The watch is established again after a problem. */
  recovered?(): void;
}

export interface InformerOptions extends Selection {
  /** First wait after a failure, doubled up to `maxBackoffMs`; each wait is 50–100 % of that. Default 50. */
  minBackoffMs?: number;
  /** Default 2000. */
  maxBackoffMs?: number;
}

export interface Informer<T extends KubeObject> {
  /** `namespace` empty for cluster-scoped kinds. */
  get(namespace: string, name: string): T | undefined;
  /** All objects, in no particular order. */
  values(): IterableIterator<T>;
  readonly size: number;
  readonly synced: boolean;
  /** The version that the cache is known to be up to date with. */
  readonly resourceVersion: string | undefined;
  /** Resolves after the first complete list; rejects only if closed before that. */
  whenSynced(): Promise<void>;
  close(): void;
}

/** Starts at once. Handlers are called in the order of the changes and must not throw. */
export function startInformer<K extends Kind>(
  client: ApiClient,
  kind: K,
  options: InformerOptions = {},
  handlers: InformerHandlers<ObjectByKind[K]> = {},
): Informer<ObjectByKind[K]> {
  return new ListWatcher<K>(client, kind, options, handlers);
}

/** Shorter waits are not ended early: informers whose watches open and break at once would keep each other from waiting. */
const SHORT_MS = 100;

/** Unauthorized, forbidden. */
const REFUSALS: readonly number[] = [401, 403];

const keyOf = (namespace: string | undefined, name: string) => `${namespace ?? ''}/${name}`;

class ListWatcher<K extends Kind> implements Informer<ObjectByKind[K]> {
  resourceVersion: string | undefined;
  synced = false;
  private readonly objects = new Map<string, ObjectByKind[K]>();
  private readonly stop = new AbortController();
  private readonly waiters: { resolve: () => void; reject: (error: Error) => void }[] = [];
  private failures = 0;
  private readonly client: ApiClient;
  private readonly kind: K;
  private readonly options: InformerOptions;
  private readonly handlers: InformerHandlers<ObjectByKind[K]>;

  constructor(client: ApiClient, kind: K, options: InformerOptions, handlers: InformerHandlers<ObjectByKind[K]>) {
    this.client = client;
    this.kind = kind;
    this.options = options;
    this.handlers = handlers;
    void this.run();
  }

  get size(): number {
    return this.objects.size;
  }

  get(namespace: string, name: string): ObjectByKind[K] | undefined {
    return this.objects.get(keyOf(namespace, name));
  }

  values(): IterableIterator<ObjectByKind[K]> {
    return this.objects.values();
  }

  whenSynced(): Promise<void> {
    if (this.synced) return Promise.resolve();
    if (this.stop.signal.aborted) return Promise.reject(new Error('the informer is closed'));
    return new Promise((resolve, reject) => this.waiters.push({ resolve, reject }));
  }

  close(): void {
    this.stop.abort();
    for (const w of this.waiters.splice(0)) w.reject(new Error('the informer was closed before its first list'));
  }

  private async run(): Promise<void> {
    const { signal } = this.stop;
    while (!signal.aborted) {
      try {
        if (this.resourceVersion === undefined) await this.relist();
        if (signal.aborted) return;
        await this.follow();
        // The server ended the stream normally (its time limit, or it is stopping): pause briefly, report nothing.
        await this.pause(this.minBackoff());
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof ApiError && error.code === 410) {
          this.resourceVersion = undefined;
          continue;
        }
        if (error instanceof ApiError && REFUSALS.includes(error.code)) this.client.refused(this.kind, error);
        const wait = Math.min(this.minBackoff() * 2 ** this.failures++, this.options.maxBackoffMs ?? 2000);
        const waitMs = wait * (0.5 + Math.random() / 2);
        this.handlers.problem?.(error as Error, waitMs);
        await this.pause(waitMs);
      }
    }
  }

  private minBackoff(): number {
    return this.options.minBackoffMs ?? 50;
  }

  private async relist(): Promise<void> {
    const list = await this.client.list(this.kind, this.options);
    if (this.stop.signal.aborted) return;
    const gone = new Set(this.objects.keys());
    for (const object of list.items) {
      gone.delete(keyOf(object.metadata.namespace, object.metadata.name));
      this.store(object);
    }
    for (const key of gone) this.remove(key);
    this.resourceVersion = list.metadata.resourceVersion;
    if (this.synced) return;
    this.synced = true;
    this.handlers.synced?.();
    for (const w of this.waiters.splice(0)) w.resolve();
  }

  private follow(): Promise<void> {
    return this.client.watch(
      this.kind,
      {
        ...this.options,
        resourceVersion: this.resourceVersion!,
        allowWatchBookmarks: true,
        signal: this.stop.signal,
        onOpen: () => this.connected(),
      },
      (event) => {
        if (this.stop.signal.aborted) return;
        const { metadata } = event.object;
        if (event.type === 'DELETED') this.remove(keyOf(metadata.namespace, metadata.name), event.object);
        else if (event.type !== 'BOOKMARK') this.store(event.object);
        this.resourceVersion = metadata.resourceVersion;
      },
    );
  }

  private connected(): void {
    if (this.failures === 0) return;
    this.failures = 0;
    this.client.reached();
    this.client.allowed(this.kind);
    this.handlers.recovered?.();
  }

  private store(given: ObjectByKind[K]): void {
    const key = keyOf(given.metadata.namespace, given.metadata.name);
    const old = this.objects.get(key);
    if (old?.metadata.resourceVersion === given.metadata.resourceVersion) return;
    if (old !== undefined && old.metadata.uid !== given.metadata.uid) {
      // Deleted and created again since the last event: for the handlers these are two objects.
      this.remove(key);
      this.store(given);
      return;
    }
    const object = this.handlers.kept?.(given) ?? given;
    this.objects.set(key, object);
    if (old === undefined) this.handlers.added?.(object);
    else this.handlers.updated?.(object, old);
  }

  private remove(key: string, last?: ObjectByKind[K]): void {
    const old = this.objects.get(key);
    if (old === undefined) return;
    this.objects.delete(key);
    this.handlers.deleted?.(last === undefined ? old : (this.handlers.kept?.(last) ?? last));
  }

  /** Ends early when another informer of this client has reached the API. */
  private pause(ms: number): Promise<void> {
    const { signal } = this.stop;
    return new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const done = () => {
        clearTimeout(timer);
        takeBack();
        signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      const takeBack = ms > SHORT_MS ? this.client.whenReached(done) : () => {};
      signal.addEventListener('abort', done, { once: true });
    });
  }
}
