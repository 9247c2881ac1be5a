/**
 * Kubernetes events about a node's pods and services, for `describe`. As in client-go's recorder
 * (tools/record/events_cache.go), a repeated event increments the count of the existing one, many events with the same
 * reason are combined, and the events of one object are limited to 25 at once and then one per five minutes. A failure
 * to write an event is ignored.
 */
import type { ApiClient } from '../api/client/client.ts';
import { eventName } from '../api/event-name.ts';
import type { EventObject, KubeObject } from '../api/types/objects.ts';

export type RecordEvent = (
  object: KubeObject,
  type: 'Normal' | 'Warning',
  reason: string,
  message: string,
  /** The part of the object it is about, such as `spec.containers{main}`. */
  fieldPath?: string,
) => void;

/** Limit of entries in each of the maps below; the least recently used one is removed. */
const MAX_KNOWN = 4096;
const BURST = 25;
const REFILL_MS = 5 * 60_000;
/** Number of different messages with one reason about one object, within SIMILAR_MS, after which they are combined. */
const MAX_SIMILAR = 10;
const SIMILAR_MS = 10 * 60_000;
const COMBINED = '(combined from similar events): ';

interface Written {
  namespace: string;
  name: string;
  count: number;
  /** Resolves when the event has been created, and its last change written. */
  last: Promise<unknown>;
}

/** Records the events of one node. */
export class EventRecorder {
  private readonly client: Pick<ApiClient, 'create' | 'patch'>;
  private readonly nodeName: string;
  private readonly now: () => number;
  private readonly written = new Recent<Written>();
  private readonly budgets = new Recent<{ left: number; atMs: number }>();
  private readonly similar = new Recent<{ sinceMs: number; messages: Set<string> }>();

  /** @param now the time in milliseconds since 1970 */
  constructor(client: Pick<ApiClient, 'create' | 'patch'>, nodeName: string, now: () => number = Date.now) {
    this.client = client;
    this.nodeName = nodeName;
    this.now = now;
  }

  readonly record: RecordEvent = (object, type, reason, text, fieldPath) => {
    const nowMs = this.now();
    if (!this.mayWrite(object.metadata.uid, nowMs)) return;
    const kind = `${object.metadata.uid}|${fieldPath}|${type}|${reason}`;
    const combined = this.isOneOfMany(kind, text, nowMs);
    const message = combined ? COMBINED + text : text;
    const key = combined ? kind : `${kind}|${text}`;
    const before = this.written.get(key);
    const what = { type, reason, message, fieldPath };
    if (before === undefined) this.create(key, object, what, 1);
    else this.countUp(key, before, object, what);
  };

  private mayWrite(uid: string, nowMs: number): boolean {
    const before = this.budgets.get(uid) ?? { left: BURST, atMs: nowMs };
    const left = Math.min(BURST, before.left + (nowMs - before.atMs) / REFILL_MS);
    const allowed = left >= 1;
    this.budgets.set(uid, { left: allowed ? left - 1 : left, atMs: nowMs });
    return allowed;
  }

  private isOneOfMany(kind: string, message: string, nowMs: number): boolean {
    let seen = this.similar.get(kind);
    if (seen === undefined || nowMs - seen.sinceMs > SIMILAR_MS) seen = { sinceMs: nowMs, messages: new Set() };
    this.similar.set(kind, seen);
    if (seen.messages.size >= MAX_SIMILAR && !seen.messages.has(message)) return true;
    seen.messages.add(message);
    return false;
  }

  private countUp(key: string, written: Written, object: KubeObject, what: What): void {
    written.count++;
    const { count, namespace, name } = written;
    const change = { count, lastTimestamp: seconds(this.now()), message: what.message };
    written.last = written.last
      .then(() => this.client.patch('Event', name, change, { namespace }))
      // The event has expired, or could not be created: create a new one with the count so far.
      .catch(() => this.create(key, object, what, count));
  }

  private create(key: string, object: KubeObject, { fieldPath, ...what }: What, count: number): void {
    const { apiVersion, kind, metadata } = object;
    const { name, namespace = 'default', uid } = metadata;
    const nowMs = this.now();
    const unique = eventName(name, nowMs);
    const event = {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: unique, namespace },
      involvedObject: { apiVersion, kind, name, namespace, uid, ...(fieldPath !== undefined && { fieldPath }) },
      ...what,
      source: { component: 'kubelet', host: this.nodeName },
      reportingComponent: 'kubelet',
      reportingInstance: this.nodeName,
      firstTimestamp: seconds(nowMs),
      lastTimestamp: seconds(nowMs),
      count,
    };
    const last = this.client.create(event as unknown as EventObject).catch(() => undefined);
    this.written.set(key, { namespace, name: unique, count, last });
  }
}

interface What {
  type: 'Normal' | 'Warning';
  reason: string;
  message: string;
  fieldPath: string | undefined;
}

/** A map of MAX_KNOWN entries that removes the least recently used one. */
class Recent<T> {
  private readonly values = new Map<string, T>();

  get(key: string): T | undefined {
    const value = this.values.get(key);
    if (value !== undefined) {
      this.values.delete(key);
      this.values.set(key, value);
    }
    return value;
  }

  set(key: string, value: T): void {
    this.values.delete(key);
    this.values.set(key, value);
    if (this.values.size > MAX_KNOWN) this.values.delete(this.values.keys().next().value!);
  }
}

const seconds = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`;
