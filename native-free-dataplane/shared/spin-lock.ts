/**
 * A spin lock in one word of shared memory: 0 free, else the owner's number + 1.
 *
 * In the connection table it is held for tens of nanoseconds: while a connection is created or freed and, with several
 * workers, while a TCP segment is tracked. The fragment table's only lock is held while a fragment is recorded and, if
 * it has to wait, copied: some microseconds for the longest. The owner is recorded so that the agent can release the
 * locks of a dead thread (releaseAll).
 */

/** Acquire the lock at words[at]; spins until it is free. @param owner worker number */
export function lock(words: Int32Array, at: number, owner: number): void {
  while (Atomics.compareExchange(words, at, 0, owner + 1) !== 0);
}

/** Release a lock. */
export function unlock(words: Int32Array, at: number): void {
  Atomics.store(words, at, 0);
}

/** Release every lock in words[from..to) that a dead owner still holds. */
export function releaseAll(words: Int32Array, from: number, to: number, owner: number): void {
  for (let at = from; at < to; at++) Atomics.compareExchange(words, at, owner + 1, 0);
}
