/**
 * A queue of keys to process, with these guarantees (client-go, util/workqueue):
 *
 * - A key that is added several times before it is processed is processed once.
 * - A key that is added while it is being processed is processed again afterwards.
 * - Keys are processed in the order in which they were first added.
 * - A key whose work throws is retried: after 20 ms, then after twice the delay each time, up to five seconds. Only a
 *   success resets the delay.
 * - `addAfter` adds a key after a delay; of several delays for one key, the one that ends first counts.
 * - After `close` no key is processed.
 *
 * Work runs in slices of a few milliseconds, so that a burst does not delay the API. Queues that share a WorkSlice share
 * the milliseconds of each turn of the event loop; each of them processes at least one key in a turn.
 */

const SLICE_MS = 8;
const FIRST_RETRY_MS = 20;
const MAX_RETRY_MS = 5000;

/** Timers, replaced in tests. */
export interface QueueClock {
  now(): number;
  setTimeout(work: () => void, ms: number): { unref(): unknown };
  clearTimeout(timer: unknown): void;
  /** After the callbacks that are already pending. */
  setImmediate(work: () => void): void;
}

const SYSTEM: QueueClock = {
  now: () => performance.now(),
  setTimeout: (work, ms) => setTimeout(work, ms),
  clearTimeout: (timer) => clearTimeout(timer as NodeJS.Timeout),
  setImmediate: (work) => {
    setImmediate(work);
  },
};

/** The time that work may take in the present turn of the event loop. */
export class WorkSlice {
  readonly clock: QueueClock;
  private endMs: number | undefined;

  constructor(clock: QueueClock = SYSTEM) {
    this.clock = clock;
  }

  /** When the queues have to let others run. */
  end(): number {
    if (this.endMs === undefined) {
      this.endMs = this.clock.now() + SLICE_MS;
      // Before any queue that continues in the next turn: those schedule themselves later.
      this.clock.setImmediate(() => {
        this.endMs = undefined;
      });
    }
    return this.endMs;
  }
}

export class WorkQueue {
  private readonly work: (key: string) => void;
  private readonly failed: (key: string, error: Error) => void;
  private readonly clock: QueueClock;
  private readonly slice: WorkSlice;
  private readonly keys = new Set<string>();
  private readonly failures = new Map<string, number>();
  private readonly later = new Map<string, { dueMs: number; timer: unknown }>();
  private scheduled = false;
  private closed = false;
  private addedKeys = 0;
  private retriedKeys = 0;

  /**
   * @param work processes a key, synchronously, from the current state of the store
   * @param failed called with every exception that `work` throws
   */
  constructor(work: (key: string) => void, failed: (key: string, error: Error) => void, slice: WorkSlice) {
    this.work = work;
    this.failed = failed;
    this.slice = slice;
    this.clock = slice.clock;
  }

  /** Keys waiting now, and added and retried so far. */
  get counts(): { depth: number; added: number; retried: number } {
    return { depth: this.keys.size, added: this.addedKeys, retried: this.retriedKeys };
  }

  add(key: string): void {
    if (this.closed) return;
    if (!this.keys.has(key)) this.addedKeys++;
    this.keys.add(key);
    this.schedule();
  }

  addAfter(key: string, ms: number): void {
    if (this.closed) return;
    const dueMs = this.clock.now() + ms;
    const waiting = this.later.get(key);
    if (waiting !== undefined && waiting.dueMs <= dueMs) return;
    if (waiting !== undefined) this.clock.clearTimeout(waiting.timer);
    // setTimeout allows at most 24 days: after a longer delay the key comes early, and its work calls addAfter again.
    const timer = this.clock.setTimeout(
      () => {
        this.later.delete(key);
        this.add(key);
      },
      Math.min(Math.max(0, ms), 2 ** 31 - 1),
    );
    timer.unref();
    this.later.set(key, { dueMs, timer });
  }

  close(): void {
    this.closed = true;
    this.keys.clear();
    for (const { timer } of this.later.values()) this.clock.clearTimeout(timer);
    this.later.clear();
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    this.clock.setImmediate(() => {
      this.scheduled = false;
      this.run();
    });
  }

  private run(): void {
    const end = this.slice.end();
    for (const key of this.keys) {
      this.keys.delete(key);
      try {
        this.work(key);
        this.failures.delete(key);
      } catch (error) {
        this.retry(key, error as Error);
      }
      if (this.clock.now() > end) break;
    }
    if (this.keys.size > 0 && !this.closed) this.schedule();
  }

  private retry(key: string, error: Error): void {
    this.failed(key, error);
    this.retriedKeys++;
    const failures = this.failures.get(key) ?? 0;
    this.failures.set(key, failures + 1);
    this.addAfter(key, Math.min(FIRST_RETRY_MS * 2 ** failures, MAX_RETRY_MS));
  }
}

/** `namespace/name`, with an empty namespace for cluster-scoped objects. */
export function keyOf(object: { metadata: { namespace?: string; name: string } }): string {
  return `${object.metadata.namespace ?? ''}/${object.metadata.name}`;
}

export function splitKey(key: string): [namespace: string, name: string] {
  const slash = key.indexOf('/');
  return [key.slice(0, slash), key.slice(slash + 1)];
}
