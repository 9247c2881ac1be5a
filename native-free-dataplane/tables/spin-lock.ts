/**
 * A spin lock in one word of shared memory: 0 free, else the owner's number + 1.
 *
 * Held for tens of nanoseconds, only when a connection is made or taken away. The owner is recorded so that the agent
 * can let go of the locks of a thread that died (releaseAll).
 */

/** Tries of lockBriefly: about 20 µs, a hundred times what the lock is held for. */
const PATIENCE = 1000;

/** Take the lock at words[at]; spins until it is free. @param owner worker number */
export function lock(words: Int32Array, at: number, owner: number): void {
  while (Atomics.compareExchange(words, at, 0, owner + 1) !== 0);
}

/**
 * Take the lock at words[at] if that takes no longer than its owner can reasonably need; one that was interrupted may
 * need milliseconds. For work that is better done unguarded than late.
 * @returns false when it was not to be had: go on without, and do not let go of it
 */
export function lockBriefly(words: Int32Array, at: number, owner: number): boolean {
  for (let tries = 0; tries < PATIENCE; tries++) {
    if (Atomics.compareExchange(words, at, 0, owner + 1) === 0) return true;
  }
  return false;
}

/** Let go of a lock. */
export function unlock(words: Int32Array, at: number): void {
  Atomics.store(words, at, 0);
}

/** Let go of every lock in words[from..to) that a dead owner still holds. */
export function releaseAll(words: Int32Array, from: number, to: number, owner: number): void {
  for (let at = from; at < to; at++) Atomics.compareExchange(words, at, owner + 1, 0);
}
