/**
 * All objects of the cluster, in memory, with one version counter: every change increments it, and every object has the
 * version of its last change. Synchronous: everything between two awaits is one transaction.
 *
 * Order within a commit: journal, memory, listeners (indexes first, as they subscribed first), watches. If the journal
 * fails, nothing has changed. Stored objects are shared and must never be changed in place.
 */
import { randomUUID } from 'node:crypto';
import { tooLarge } from '../errors.ts';
import { hasGeneration, RESOURCES } from '../resources.ts';
import type { Kind, KubeObject, ObjectByKind, ObjectMeta } from '../types/objects.ts';
import { Collection, keyOf } from './collection.ts';
import { type Change, type ChangeType, EventLog, jsonOf, StoredChange } from './event-log.ts';
import { Journal, type SnapshotPart } from './journal.ts';
import { type ChangeLine, type Place, placeOf } from './journal-file.ts';
import { type Held, StoredText } from './stored-text.ts';

/** Changes kept per kind for watches, and the limit on the bytes of their JSON. */
const HISTORY = 5000;
const HISTORY_BYTES = 16 * 1024 * 1024;
/** How long requests wait for the parsing of stored objects. */
const SLICE_MS = 5;
/** etcd's limit on a request. */
const MAX_OBJECT_BYTES = 1.5 * 1024 * 1024;

export interface StoreOptions {
  /** The journal's directory; undefined: nothing is persisted. */
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
  /** What could not be read from the directory, one sentence each. */
  readonly damages: readonly string[];

  /** Loads the state from `directory`. @throws JournalDamagedError if nothing of it can be read */
  constructor(options: StoreOptions = {}) {
    this.journal = options.directory === undefined ? undefined : new Journal(options.directory, options.minLogBytes);
    const loaded = this.journal?.load();
    this.historyLength = options.history ?? HISTORY;
    this.damages = loaded?.damages ?? [];
    const changes = loaded?.changes ?? [];
    this.version = loaded?.snapshotVersion ?? 0;
    // After damage, some changes may be missing: watches must not resume from earlier versions.
    const whole = this.damages.length === 0;
    this.firstFloor = whole ? this.version : Math.max(this.version, changes.at(-1)?.version ?? 0) + 1;
    for (const { key } of RESOURCES) this.collection(key);
    for (const collection of this.collections.values()) collection.expectMany();
    for (const { kind, key, held } of loaded?.objects ?? []) this.collection(kind).put(key, held);
    for (const change of changes) this.restore(change, whole);
    if (whole) return;
    // A new version, so that snapshot and log get new files: the damaged ones are removed when the snapshot is written.
    this.version++;
    this.journal!.snapshot(this.version, this.everything()).catch(() => {});
  }

  /** Created on first use: custom kinds are defined at run time. */
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

  private everything(): SnapshotPart[] {
    return [...this.collections].map(([kind, collection]) => ({ kind, ...collection.everything() }));
  }

  /** A change that was read from the journal. */
  private restore(line: ChangeLine, log: boolean): void {
    const { version, type, kind, key, held } = line;
    const before = this.collection(kind).held(key);
    this.version = version;
    this.keep(line, type, held);
    if (!log) return;
    const size = held instanceof StoredText ? held.size : JSON.stringify(held).length;
    this.logs.get(kind)!.push(new StoredChange(type, version, held, before), size);
  }

  private keep({ kind, key }: Place, type: ChangeType, held: Held): void {
    if (type === 'DELETED') this.collection(kind).take(key);
    else this.collection(kind).put(key, held);
  }

  /**
   * Parses what was read from the directory and has not been needed yet, a few milliseconds at a time, so that requests
   * are answered meanwhile. The contents of the files are then no longer in memory.
   */
  async parseAll(): Promise<void> {
    let sliceEnd = performance.now() + SLICE_MS;
    const pause = async () => {
      if (performance.now() < sliceEnd) return;
      await new Promise((resolve) => setImmediate(resolve));
      sliceEnd = performance.now() + SLICE_MS;
    };
    for (const collection of [...this.collections.values()]) {
      for (const key of collection.everything().keys) {
        collection.parse(key);
        await pause();
      }
    }
    for (const log of this.logs.values()) {
      for (let i = log.first; i < log.next; i = Math.max(i + 1, log.first)) {
        const change = log.at(i);
        if (change instanceof StoredChange) change.parse();
        await pause();
      }
    }
  }

  get<K extends Kind>(kind: K, namespace: string | undefined, name: string): ObjectByKind[K] | undefined {
    return this.collection(kind).get(namespace ?? '', name) as ObjectByKind[K] | undefined;
  }

  /** Objects of one kind, in one namespace or all, sorted by namespace and name. */
  list<K extends Kind>(kind: K, namespace?: string): ObjectByKind[K][] {
    return this.collection(kind).list(namespace) as ObjectByKind[K][];
  }

  /** The list as of an earlier version; undefined if that is no longer known. */
  listAt<K extends Kind>(kind: K, namespace: string | undefined, version: number): ObjectByKind[K][] | undefined {
    const log = this.history(kind);
    const first = log.after(version);
    if (first < 0) return undefined;
    if (first === log.next) return this.list(kind, namespace);
    const then = new Collection();
    then.expectMany();
    for (const object of this.list(kind, namespace)) then.put(keyOf(object), object);
    for (let i = log.next - 1; i >= first; i--) {
      const { object, old } = log.at(i);
      if (namespace !== undefined && object.metadata.namespace !== namespace) continue;
      if (old === undefined) then.take(keyOf(object));
      else then.put(keyOf(old), old);
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

  /** Calls `listener` synchronously after each commit of this kind, before the write returns. */
  onCommit<K extends Kind>(kind: K, listener: Listener<K>): void {
    this.collection(kind);
    this.listeners.get(kind)!.push(listener as Listener<Kind>);
  }

  /** Adds a new object and sets its version, creation time, generation and, if missing, uid. The name must be free. */
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

  /** Replaces `old`, which must be the stored object, with `object`. */
  replace<T extends KubeObject>(object: T, old: T): T {
    const version = this.version + 1;
    const stored = { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } };
    this.commit({ type: 'MODIFIED', version, object: stored, old, json: undefined });
    return stored;
  }

  /** Removes `old`, which must be the stored object; returns its last state. */
  remove<T extends KubeObject>(old: T): T {
    const version = this.version + 1;
    const object = { ...old, metadata: { ...old.metadata, resourceVersion: String(version) } };
    this.commit({ type: 'DELETED', version, object, old, json: undefined });
    return object;
  }

  /** Waits for a snapshot in progress and closes the files. */
  async close(): Promise<void> {
    await this.journal?.close();
  }

  private commit(change: Change): void {
    const { type, object, old } = change;
    if (type !== 'DELETED' && jsonOf(change).length > MAX_OBJECT_BYTES) throw tooLarge(MAX_OBJECT_BYTES);
    const place = placeOf(object);
    this.journal?.append(change, place);
    this.version = change.version;
    this.keep(place, type, object);
    this.logs.get(place.kind)!.push(change);
    for (const listener of this.listeners.get(place.kind)!) listener({ type, object, old } as never);
    if (this.journal?.wantsSnapshot()) {
      // A failed snapshot only costs space: the logs are kept, and it is tried again when they have grown.
      this.journal.snapshot(this.version, this.everything()).catch(() => {});
    }
  }
}

/** A time as in Kubernetes objects: RFC 3339, UTC, whole seconds. */
export function nowText(ms: number = Date.now()): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
