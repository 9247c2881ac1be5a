/**
 * All objects of the cluster, in memory, with one counter of changes: every change takes the next version, every object
 * carries the version of its last change. Synchronous: what happens between two awaits is one transaction.
 *
 * Order within a commit: journal, memory, listeners (indexes first, as they subscribed first), watches. When the journal
 * refuses, nothing has happened. Stored objects are shared with everyone and must never be changed in place.
 */
import { randomUUID } from 'node:crypto';
import { tooLarge } from '../errors.ts';
import { collectionOf, hasGeneration, RESOURCES } from '../resources.ts';
import type { Kind, KubeObject, ObjectByKind, ObjectMeta } from '../types/objects.ts';
import { Collection } from './collection.ts';
import { type Change, EventLog, jsonOf } from './event-log.ts';
import { Journal } from './journal.ts';

/** Changes per kind a watch may lag behind before it must list again, and bytes of their JSON. */
const HISTORY = 5000;
const HISTORY_BYTES = 16 * 1024 * 1024;
/** As etcd's limit of a request. */
const MAX_OBJECT_BYTES = 1.5 * 1024 * 1024;

export interface StoreOptions {
  /** Where to persist; undefined keeps everything in memory. */
  directory?: string | undefined;
  /** Changes per kind kept for watches. Default 5000. */
  history?: number;
  /** Log size in bytes from which a snapshot is considered. Default 8 MiB. */
  minLogBytes?: number;
}

export type Listener<K extends Kind> = (change: {
  type: Change['type'];
  object: ObjectByKind[K];
  old: ObjectByKind[K] | undefined;
}) => void;

export class Store {
  /** Version of the last change. */
  version = 0;
  private readonly journal: Journal | undefined;
  private readonly collections = new Map<Kind, Collection>();
  private readonly logs = new Map<Kind, EventLog>();
  private readonly listeners = new Map<Kind, Listener<Kind>[]>();
  private readonly historyLength: number;
  private readonly firstFloor: number;
  /** What of the directory could not be read, a sentence each. */
  readonly damages: readonly string[];

  /** Loads what `directory` holds. Throws JournalDamagedError when nothing is left of it. */
  constructor(options: StoreOptions = {}) {
    this.journal = options.directory === undefined ? undefined : new Journal(options.directory, options.minLogBytes);
    const loaded = this.journal?.load();
    this.historyLength = options.history ?? HISTORY;
    this.damages = loaded?.damages ?? [];
    const changes = loaded?.changes ?? [];
    this.version = loaded?.snapshotVersion ?? 0;
    // What happened between two versions is known only if nothing of it was lost.
    const whole = this.damages.length === 0;
    this.firstFloor = whole ? this.version : Math.max(this.version, changes.at(-1)?.version ?? 0) + 1;
    for (const { key } of RESOURCES) this.collection(key);
    for (const collection of this.collections.values()) collection.expectMany();
    for (const object of loaded?.objects ?? []) this.collection(collectionOf(object)).put(object);
    for (const { version, type, object } of changes) {
      const old = this.get(collectionOf(object), object.metadata.namespace, object.metadata.name);
      this.version = version;
      this.remember({ type, version, object, old, json: undefined }, whole);
    }
    if (whole) return;
    // A version of its own, for files of their own: the damaged ones go when the snapshot is done.
    this.version++;
    this.journal!.snapshot(this.version, this.everything()).catch(() => {});
  }

  /** Made when it is first needed: custom resources come and go. */
  private collection(key: Kind): Collection {
    let collection = this.collections.get(key);
    if (collection === undefined) {
      collection = new Collection();
      this.collections.set(key, collection);
      this.logs.set(key, new EventLog(this.historyLength, this.firstFloor, HISTORY_BYTES));
      this.listeners.set(key, []);
    }
    return collection;
  }

  private everything(): KubeObject[] {
    return [...this.collections.values()].flatMap((collection) => collection.list());
  }

  get<K extends Kind>(kind: K, namespace: string | undefined, name: string): ObjectByKind[K] | undefined {
    return this.collection(kind).get(namespace ?? '', name) as ObjectByKind[K] | undefined;
  }

  /** Objects of one kind, of one namespace or of all, by namespace and name. */
  list<K extends Kind>(kind: K, namespace?: string): ObjectByKind[K][] {
    return this.collection(kind).list(namespace) as ObjectByKind[K][];
  }

  /** The list as it was at an earlier version; undefined when that is no longer known. */
  listAt<K extends Kind>(kind: K, namespace: string | undefined, version: number): ObjectByKind[K][] | undefined {
    const log = this.history(kind);
    const first = log.after(version);
    if (first < 0) return undefined;
    if (first === log.next) return this.list(kind, namespace);
    const then = new Collection();
    then.expectMany();
    for (const object of this.list(kind, namespace)) then.put(object);
    for (let i = log.next - 1; i >= first; i--) {
      const { object, old } = log.at(i);
      if (namespace !== undefined && object.metadata.namespace !== namespace) continue;
      if (old === undefined) then.take(object);
      else then.put(old);
    }
    return then.list(namespace) as ObjectByKind[K][];
  }

  count(kind: Kind, namespace: string): number {
    return this.collection(kind).count(namespace);
  }

  history(kind: Kind): EventLog {
    this.collection(kind);
    return this.logs.get(kind)!;
  }

  /** Calls `listener` synchronously after each commit of this kind, before the writer gets its answer. */
  onCommit<K extends Kind>(kind: K, listener: Listener<K>): void {
    this.collection(kind);
    this.listeners.get(kind)!.push(listener as Listener<Kind>);
  }

  /** Adds a new object, giving it a uid if it has none, version, time and generation. The name must be free. */
  insert<T extends KubeObject>(object: T): T {
    const version = this.version + 1;
    const metadata: ObjectMeta = {
      ...object.metadata,
      uid: object.metadata.uid || randomUUID(),
      resourceVersion: String(version),
      ...(hasGeneration(object) && { generation: 1 }),
      creationTimestamp: nowText(),
    };
    const stored = { ...object, metadata };
    this.commit({ type: 'ADDED', version, object: stored, old: undefined, json: undefined });
    return stored;
  }

  /** Puts `object` in the place of `old`, which must be what is stored now. */
  replace<T extends KubeObject>(object: T, old: T): T {
    const version = this.version + 1;
    const stored = { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } };
    this.commit({ type: 'MODIFIED', version, object: stored, old, json: undefined });
    return stored;
  }

  /** Removes `old`, which must be what is stored now; returns its last state. */
  remove<T extends KubeObject>(old: T): T {
    const version = this.version + 1;
    const object = { ...old, metadata: { ...old.metadata, resourceVersion: String(version) } };
    this.commit({ type: 'DELETED', version, object, old, json: undefined });
    return object;
  }

  /** Waits for a snapshot under way and closes the files. */
  async close(): Promise<void> {
    await this.journal?.close();
  }

  private commit(change: Change): void {
    const { type, object, old } = change;
    if (type !== 'DELETED' && jsonOf(change).length > MAX_OBJECT_BYTES) throw tooLarge(MAX_OBJECT_BYTES);
    this.journal?.append(change);
    this.version = change.version;
    this.remember(change, true);
    for (const listener of this.listeners.get(collectionOf(object))!) listener({ type, object, old } as never);
    if (this.journal?.wantsSnapshot()) {
      // A failed snapshot costs nothing but space: the logs stay, and the next one is tried when they have grown again.
      this.journal.snapshot(this.version, this.everything()).catch(() => {});
    }
  }

  private remember(change: Change, log: boolean): void {
    const key = collectionOf(change.object);
    const collection = this.collection(key);
    if (change.type === 'DELETED') collection.take(change.object);
    else collection.put(change.object);
    if (log) this.logs.get(key)!.push(change);
  }
}

/** Now as Kubernetes writes times: RFC 3339, UTC, whole seconds. */
export function nowText(ms: number = Date.now()): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
