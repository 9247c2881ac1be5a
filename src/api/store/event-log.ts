/**
 * The recent changes of one kind, in order, for watches: a ring bounded in length and in bytes. A watch holds a cursor
 * into it, so a slow reader costs nothing but its place; when the ring has moved past that place, it must list again
 * (410).
 *
 * Invariants: versions rise strictly; every change with a version above `floor` is in the ring.
 */
import type { KubeObject } from '../types/objects.ts';

export type ChangeType = 'ADDED' | 'MODIFIED' | 'DELETED';

export interface Change {
  type: ChangeType;
  version: number;
  /** After the change; for DELETED the last state, with the version of its deletion. */
  object: KubeObject;
  /** Before the change. */
  old: KubeObject | undefined;
  /** `object` as JSON, made when first needed. */
  json: string | undefined;
}

/** `object` as JSON text, made at most once per change. */
export function jsonOf(change: Change): string {
  change.json ??= JSON.stringify(change.object);
  return change.json;
}

export class EventLog {
  /** Changes up to here may be missing. */
  floor: number;
  /** Sequence number of the oldest change kept. */
  first = 0;
  /** Sequence number the next change gets. */
  next = 0;
  private readonly ring: (Change | undefined)[];
  private readonly maxBytes: number;
  private bytes = 0;
  private readonly listeners = new Set<() => void>();

  /** `maxBytes` of JSON; the last change is kept however large it is. */
  constructor(capacity: number, floor: number, maxBytes: number = Number.MAX_SAFE_INTEGER) {
    this.maxBytes = maxBytes;
    this.ring = new Array<Change | undefined>(capacity).fill(undefined);
    this.floor = floor;
  }

  push(change: Change): void {
    if (this.next - this.first === this.ring.length) this.forget();
    this.ring[this.next % this.ring.length] = change;
    this.next++;
    this.bytes += jsonOf(change).length;
    while (this.bytes > this.maxBytes && this.next - this.first > 1) this.forget();
    for (const listener of this.listeners) listener();
  }

  private forget(): void {
    const oldest = this.at(this.first);
    this.ring[this.first % this.ring.length] = undefined;
    this.first++;
    this.floor = oldest.version;
    this.bytes -= jsonOf(oldest).length;
  }

  /** The change with this sequence number, which must be in [first, next). */
  at(sequence: number): Change {
    return this.ring[sequence % this.ring.length]!;
  }

  /** Sequence number of the first change after `version`, or -1 when changes after it are no longer known. */
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

  /** Calls `listener` after every push; returns the function that ends this. */
  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}
