/**
 * The recent changes of one kind, in order, for watches: a ring bounded in length and in bytes. A watch holds only a
 * cursor into it, so a slow client costs no memory; once the ring has overwritten the cursor's position, it must list
 * again (410).
 *
 * Invariants: versions increase strictly; every change with a version above `floor` is in the ring.
 */
import type { KubeObject } from '../types/objects.ts';
import { type Held, objectOf } from './stored-text.ts';

export type ChangeType = 'ADDED' | 'MODIFIED' | 'DELETED';

export interface Change {
  readonly type: ChangeType;
  readonly version: number;
  /** After the change; for DELETED the last state, with the version of its deletion. */
  readonly object: KubeObject;
  /** Before the change. */
  readonly old: KubeObject | undefined;
  /** `object` as JSON, made when first needed. */
  json: string | undefined;
}

/** `object` as JSON text, made at most once per change. */
export function jsonOf(change: Change): string {
  change.json ??= JSON.stringify(change.object);
  return change.json;
}

/** A change that was read from a file; its objects are parsed when a watch needs them. */
export class StoredChange implements Change {
  readonly type: ChangeType;
  readonly version: number;
  json: string | undefined = undefined;
  private readonly after: Held;
  private readonly before: Held | undefined;

  constructor(type: ChangeType, version: number, after: Held, before: Held | undefined) {
    this.type = type;
    this.version = version;
    this.after = after;
    this.before = before;
  }

  get object(): KubeObject {
    return objectOf(this.after);
  }

  get old(): KubeObject | undefined {
    return this.before && objectOf(this.before);
  }

  /** Parses what has not been parsed yet: then the file that it was read from is no longer kept in memory. */
  parse(): void {
    objectOf(this.after);
    if (this.before !== undefined) objectOf(this.before);
  }
}

export class EventLog {
  /** Changes up to and including this version may be missing. */
  floor: number;
  /** Sequence number of the oldest change kept. */
  first = 0;
  /** Sequence number of the next change. */
  next = 0;
  private readonly ring: (Change | undefined)[];
  /** Characters of each change's JSON, or bytes of those that were read from a file. */
  private readonly sizes: number[];
  private readonly maxBytes: number;
  private bytes = 0;
  private readonly listeners = new Set<() => void>();

  /** @param maxBytes limit on the changes' JSON; the last change is kept even if it is larger */
  constructor(capacity: number, floor: number, maxBytes: number = Number.MAX_SAFE_INTEGER) {
    this.maxBytes = maxBytes;
    this.ring = new Array<Change | undefined>(capacity).fill(undefined);
    this.sizes = new Array<number>(capacity).fill(0);
    this.floor = floor;
  }

  push(change: Change, size: number = jsonOf(change).length): void {
    if (this.next - this.first === this.ring.length) this.forget();
    this.ring[this.next % this.ring.length] = change;
    this.sizes[this.next % this.ring.length] = size;
    this.next++;
    this.bytes += size;
    while (this.bytes > this.maxBytes && this.next - this.first > 1) this.forget();
    for (const listener of this.listeners) listener();
  }

  private forget(): void {
    const oldest = this.at(this.first);
    const slot = this.first % this.ring.length;
    this.ring[slot] = undefined;
    this.first++;
    this.floor = oldest.version;
    this.bytes -= this.sizes[slot]!;
  }

  /** The change with this sequence number, which must be in [first, next). */
  at(sequence: number): Change {
    return this.ring[sequence % this.ring.length]!;
  }

  /** Sequence number of the first change after `version`; -1 if some changes after it are no longer in the ring. */
  after(version: number): number {
    if (version < this.floor) return -1;
    let low = this.first;
    let high = this.next;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.at(middle).version > version) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** Calls `listener` after every push; returns a function that unsubscribes it. */
  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}
