/** Sleeping without the event loop: where nothing else may run, or the caller cannot wait for a promise. */

/** A word that never changes, to wait on. */
const word = new Int32Array(new SharedArrayBuffer(4));

/** Block this thread. @param milliseconds may be a fraction */
export function sleepSync(milliseconds: number): void {
  Atomics.wait(word, 0, 0, milliseconds);
}
