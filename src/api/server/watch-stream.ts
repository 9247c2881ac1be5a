/**
 * One client's watch: newline-separated events on a response that stays open. It pulls from the event log at the
 * client's pace; a client that falls behind further than the log reaches gets a 410 event and must list again.
 */
import type { ServerResponse } from 'node:http';
import { expired } from '../errors.ts';
import type { Predicate } from '../selectors.ts';
import { type Change, type EventLog, jsonOf } from '../store/event-log.ts';
import type { KubeObject, WatchEventType } from '../types/objects.ts';

/** Bytes collected before they are handed to the socket. */
const CHUNK = 64 * 1024;
/** After so many changes that were not the client's, a bookmark moves its version on. */
const BOOKMARK_AFTER = 1000;

export interface WatchRequest {
  kind: string;
  apiVersion: string;
  namespace: string | undefined;
  selects: Predicate | undefined;
  bookmarks: boolean;
  timeoutMs: number;
  /** Follow changes after this version. */
  version: number;
  /** Objects to begin with, as ADDED; `endMark` has a bookmark say where they end (sendInitialEvents). */
  initial: readonly KubeObject[] | undefined;
  endMark: boolean;
}

/** Begins the stream; `response` must be fresh. Returns the function that ends it in good order. */
export function startWatch(response: ServerResponse, log: EventLog, request: WatchRequest): () => void {
  const stream = new WatchStream(response, log, request);
  stream.start();
  return () => stream.end();
}

class WatchStream {
  private readonly response: ServerResponse;
  private readonly log: EventLog;
  private readonly request: WatchRequest;
  private cursor = 0;
  private lastVersion: number;
  private unsent = 0;
  private scheduled = false;
  private blocked = false;
  private open = true;
  private timer: NodeJS.Timeout | undefined;
  private unsubscribe: () => void = () => {};

  constructor(response: ServerResponse, log: EventLog, request: WatchRequest) {
    this.response = response;
    this.log = log;
    this.request = request;
    this.lastVersion = request.version;
  }

  start(): void {
    const { response, log, request } = this;
    response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-cache, private' });
    response.flushHeaders();
    this.cursor = log.after(request.version);
    if (this.cursor < 0) {
      this.fail(`too old resource version: ${request.version} (${log.floor})`);
      return;
    }
    response.on('drain', () => {
      this.blocked = false;
      this.schedule();
    });
    response.on('close', () => this.stop());
    this.unsubscribe = log.subscribe(() => this.schedule());
    this.timer = setTimeout(() => this.end(), request.timeoutMs);
    let text = '';
    for (const object of request.initial ?? []) text += line('ADDED', JSON.stringify(object));
    if (request.endMark) text += this.bookmark({ 'k8s.io/initial-events-end': 'true' });
    if (text !== '') this.send(text);
    this.schedule();
  }

  /** Ends the stream: the client comes back with the version it has. */
  end(): void {
    if (!this.open) return;
    if (this.request.bookmarks) this.response.write(this.bookmark());
    this.stop();
    this.response.end();
  }

  private stop(): void {
    this.open = false;
    clearTimeout(this.timer);
    this.unsubscribe();
  }

  private fail(message: string): void {
    const { status } = expired(message);
    this.response.write(line('ERROR', JSON.stringify(status)));
    this.stop();
    this.response.end();
  }

  private schedule(): void {
    if (this.scheduled || this.blocked || !this.open) return;
    this.scheduled = true;
    setImmediate(() => {
      this.scheduled = false;
      this.pump();
    });
  }

  private pump(): void {
    const { log } = this;
    let text = '';
    while (this.open && !this.blocked && this.cursor < log.next) {
      if (this.cursor < log.first) {
        this.fail(`too old resource version: ${this.lastVersion} (${log.floor})`);
        return;
      }
      const change = log.at(this.cursor++);
      this.lastVersion = change.version;
      const event = this.eventOf(change);
      if (event !== '') text += event;
      else if (++this.unsent >= BOOKMARK_AFTER && this.request.bookmarks) text += this.bookmark();
      if (text.length >= CHUNK) {
        this.send(text);
        text = '';
      }
    }
    if (text !== '' && this.open) this.send(text);
  }

  private send(text: string): void {
    this.unsent = 0;
    this.blocked = !this.response.write(text);
  }

  /** The line for this client, or '' when the change is none of its business. */
  private eventOf(change: Change): string {
    const { namespace, selects } = this.request;
    if (namespace !== undefined && change.object.metadata.namespace !== namespace) return '';
    if (selects === undefined) return line(change.type, jsonOf(change));
    const before = change.old !== undefined && selects(change.old);
    if (change.type === 'DELETED') return before ? line('DELETED', jsonOf(change)) : '';
    const after = selects(change.object);
    if (after) return line(before ? 'MODIFIED' : 'ADDED', jsonOf(change));
    if (!before) return '';
    // It left the selection: to this client it is gone, in the last state that it was allowed to see.
    const { metadata } = change.old!;
    const last = { ...change.old, metadata: { ...metadata, resourceVersion: String(change.version) } };
    return line('DELETED', JSON.stringify(last));
  }

  private bookmark(annotations?: Record<string, string>): string {
    const { kind, apiVersion } = this.request;
    const metadata = {
      resourceVersion: String(this.lastVersion),
      creationTimestamp: null,
      ...(annotations && { annotations }),
    };
    return line('BOOKMARK', JSON.stringify({ kind, apiVersion, metadata }));
  }
}

const line = (type: WatchEventType, json: string) => `{"type":"${type}","object":${json}}\n`;
