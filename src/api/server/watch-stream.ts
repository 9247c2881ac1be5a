/**
 * One client's watch. It reads from the event log at the client's pace; a client that has fallen behind the log's
 * oldest change gets a 410 event and must list again.
 *
 * A change is sent in a microtask after its commit: together with the other changes of the same transaction, but before
 * anything else that is due, and before the client that made it gets its answer (server/writes.ts).
 */
import { expired } from '../errors.ts';
import type { Predicate } from '../selectors.ts';
import { type Change, type EventLog, jsonOf } from '../store/event-log.ts';
import type { KubeObject, WatchEventType } from '../types/objects.ts';
import type { Output, Renderer } from './render.ts';
import type { WatchSink } from './watch-sink.ts';

/** Bytes collected before they are handed to the socket. */
const CHUNK = 64 * 1024;
/** After this many changes that the watch does not select, a bookmark sends the client the current version. */
const BOOKMARK_AFTER = 1000;

export interface WatchRequest {
  renderer: Renderer;
  namespace: string | undefined;
  selects: Predicate | undefined;
  bookmarks: boolean;
  timeoutMs: number;
  /** Send changes after this version. */
  version: number;
  /** Objects to send first, as ADDED; with `endMark` a bookmark marks their end (sendInitialEvents). */
  initial: readonly KubeObject[] | undefined;
  endMark: boolean;
}

/** Starts the stream. Returns a function that ends it normally. */
export function startWatch(sink: WatchSink, log: EventLog, request: WatchRequest): () => void {
  const stream = new WatchStream(sink, log, request);
  stream.start();
  return () => stream.end();
}

class WatchStream {
  private readonly sink: WatchSink;
  private readonly log: EventLog;
  private readonly request: WatchRequest;
  private cursor = 0;
  private lastVersion: number;
  private unsent = 0;
  private first = true;
  private scheduled = false;
  private blocked = false;
  private open = true;
  private timer: NodeJS.Timeout | undefined;
  private unsubscribe: () => void = () => {};

  constructor(sink: WatchSink, log: EventLog, request: WatchRequest) {
    this.sink = sink;
    this.log = log;
    this.request = request;
    this.lastVersion = request.version;
  }

  start(): void {
    const { sink, log, request } = this;
    sink.open(request.renderer.watchType);
    this.cursor = log.after(request.version);
    if (this.cursor < 0) {
      this.fail(`too old resource version: ${request.version} (${log.floor})`);
      return;
    }
    sink.onDrain(() => {
      this.blocked = false;
      this.schedule();
    });
    sink.onClose(() => this.stop());
    this.unsubscribe = log.subscribe(() => this.schedule());
    this.timer = setTimeout(() => this.end(), request.timeoutMs);
    const events = (request.initial ?? []).map((object) => this.event('ADDED', object, () => JSON.stringify(object)));
    if (request.endMark) events.push(this.bookmark({ 'k8s.io/initial-events-end': 'true' }));
    if (events.length > 0) this.send(events);
    this.schedule();
  }

  /** Ends the stream; the client resumes from the last version it received. */
  end(): void {
    if (!this.open) return;
    if (this.request.bookmarks) this.sink.send([this.bookmark()]);
    this.stop();
    this.sink.end();
  }

  private stop(): void {
    this.open = false;
    clearTimeout(this.timer);
    this.unsubscribe();
  }

  private fail(message: string): void {
    const { renderer } = this.request;
    this.sink.send([renderer.frame('ERROR', renderer.failure(expired(message).status))]);
    this.stop();
    this.sink.end();
  }

  private schedule(): void {
    if (this.scheduled || this.blocked || !this.open) return;
    this.scheduled = true;
    queueMicrotask(() => {
      this.scheduled = false;
      this.pump();
    });
  }

  private pump(): void {
    const { log } = this;
    let events: Output[] = [];
    let size = 0;
    while (this.open && !this.blocked && this.cursor < log.next) {
      if (this.cursor < log.first) {
        this.fail(`too old resource version: ${this.lastVersion} (${log.floor})`);
        return;
      }
      const change = log.at(this.cursor++);
      this.lastVersion = change.version;
      const event = this.eventOf(change);
      if (event !== undefined) events.push(event);
      else if (++this.unsent >= BOOKMARK_AFTER && this.request.bookmarks) {
        events.push(this.bookmark());
        this.unsent = 0;
      }
      size += event?.length ?? 0;
      if (size >= CHUNK) {
        this.send(events);
        events = [];
        size = 0;
      }
    }
    if (events.length > 0 && this.open) this.send(events);
  }

  private send(events: readonly Output[]): void {
    this.unsent = 0;
    this.blocked = !this.sink.send(events);
  }

  /** The event for this client; undefined if its selectors match neither the old nor the new object. */
  private eventOf(change: Change): Output | undefined {
    const { namespace, selects } = this.request;
    const { type, object, old } = change;
    if (namespace !== undefined && object.metadata.namespace !== namespace) return undefined;
    if (selects === undefined) return this.event(type, object, () => jsonOf(change));
    const before = old !== undefined && selects(old);
    if (type === 'DELETED') return before ? this.event('DELETED', object, () => jsonOf(change)) : undefined;
    const after = selects(object);
    if (after) return this.event(before ? 'MODIFIED' : 'ADDED', object, () => jsonOf(change));
    if (!before) return undefined;
    // It no longer matches the selectors: DELETED, with its last state that matched.
    const metadata = { ...old!.metadata, resourceVersion: String(change.version) };
    const last = { ...old!, metadata };
    return this.event('DELETED', last, () => JSON.stringify(last));
  }

  private event(type: WatchEventType, object: KubeObject, json: () => string): Output {
    const { renderer } = this.request;
    const event = renderer.frame(type, renderer.event(object, json, this.first));
    this.first = false;
    return event;
  }

  private bookmark(annotations?: Record<string, string>): Output {
    const metadata = {
      resourceVersion: String(this.lastVersion),
      creationTimestamp: null,
      ...(annotations && { annotations }),
    };
    const { renderer } = this.request;
    return renderer.frame('BOOKMARK', renderer.bookmark(metadata));
  }
}
