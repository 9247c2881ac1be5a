/**
 * Keys to be looked at. What a caller may rely on (client-go, util/workqueue):
 *
 * - A key added several times before it is looked at is looked at once.
 * - A key added while it is looked at is looked at again afterwards.
 * - Keys come in the order in which they were first added.
 * - A key whose work throws comes again: after 20 ms, then twice as long each time up to five seconds. Work that succeeds
 *   ends that; so does nothing else.
 * - `addAfter` adds a key when the time is up; of several times for one key the earliest counts.
 * - After `close` nothing is looked at any more.
 *
 * Runs in slices of a few milliseconds, so that a burst of work does not hold up the API.
 */

const SLICE_MS = 8;
const FIRST_RETRY_MS = 20;
const MAX_RETRY_MS = 5000;

/** Timers, to be replaced in tests. */
export interface QueueClock {
  now(): number;
  setTimeout(work: () => void, ms: number): { unref(): unknown };
  clearTimeout(timer: unknown): void;
  /** Soon, but not before what is waiting has had its turn. */
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

export class WorkQueue {
  private readonly work: (key: string) => void;
  private readonly failed: (key: string, error: Error) => void;
  private readonly clock: QueueClock;
  private readonly keys = new Set<string>();
  private readonly failures = new Map<string, number>();
  private readonly later = new Map<string, { dueMs: number; timer: unknown }>();
  private scheduled = false;
  private closed = false;

  /** `work` is synchronous and must see the store as it is now; `failed` is called with every exception. */
  constructor(work: (key: string) => void, failed: (key: string, error: Error) => void, clock: QueueClock = SYSTEM) {
    this.work = work;
    this.failed = failed;
    this.clock = clock;
  }

  add(key: string): void {
    if (this.closed) return;
    this.keys.add(key);
    this.schedule();
  }

  addAfter(key: string, ms: number): void {
    if (this.closed) return;
    const dueMs = this.clock.now() + ms;
    const waiting = this.later.get(key);
    if (waiting !== undefined && waiting.dueMs <= dueMs) return;
    if (waiting !== undefined) this.clock.clearTimeout(waiting.timer);
    // setTimeout takes 24 days at most: a longer wait is looked at early, and put off again by who asked.
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
    const end = this.clock.now() + SLICE_MS;
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
