/**
 * Keys to be looked at, each once however often it was added meanwhile. Runs in slices of a few milliseconds, so that a
 * burst of work does not hold up the API. A key whose work throws comes again, later each time.
 */

const SLICE_MS = 8;
const MAX_RETRY_MS = 5000;

export class WorkQueue {
  private readonly work: (key: string) => void;
  private readonly failed: (key: string, error: Error) => void;
  private readonly keys = new Set<string>();
  private readonly failures = new Map<string, number>();
  private readonly retries = new Set<NodeJS.Timeout>();
  private scheduled = false;
  private closed = false;

  /** `work` is synchronous and must see the store as it is now; `failed` is called with every exception. */
  constructor(work: (key: string) => void, failed: (key: string, error: Error) => void) {
    this.work = work;
    this.failed = failed;
  }

  add(key: string): void {
    if (this.closed) return;
    this.keys.add(key);
    this.schedule();
  }

  close(): void {
    this.closed = true;
    this.keys.clear();
    for (const timer of this.retries) clearTimeout(timer);
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    setImmediate(() => {
      this.scheduled = false;
      this.run();
    });
  }

  private run(): void {
    const end = performance.now() + SLICE_MS;
    for (const key of this.keys) {
      this.keys.delete(key);
      try {
        this.work(key);
        this.failures.delete(key);
      } catch (error) {
        this.retry(key, error as Error);
      }
      if (performance.now() > end) break;
    }
    if (this.keys.size > 0 && !this.closed) this.schedule();
  }

  private retry(key: string, error: Error): void {
    this.failed(key, error);
    const failures = (this.failures.get(key) ?? 0) + 1;
    this.failures.set(key, failures);
    const timer = setTimeout(
      () => {
        this.retries.delete(timer);
        this.add(key);
      },
      Math.min(10 * 2 ** failures, MAX_RETRY_MS),
    );
    this.retries.add(timer.unref());
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
