/**
 * Run code inside another network namespace: the calling thread enters it and comes back, synchronously.
 *
 * setns(CLONE_NEWNET) moves one thread only, and a file descriptor opened there stays valid afterwards. Nothing
 * asynchronous may run meanwhile: libuv's own threads do not follow.
 */
import { closeSync, openSync } from 'node:fs';
import { setns } from './ffi.ts';
import { enterNamespace } from './namespaces.ts';

const CLONE_NEWNET = 0x40000000;

/** Path of a named namespace, as created by `ip netns add`. */
export function namespacePath(name: string): string {
  return `/run/netns/${name}`;
}

/**
 * Run `work` inside the network namespace at `path`. The thread is back in its own namespace when this returns or
 * throws.
 * @throws SystemError if the namespace cannot be entered; process.exit if the thread cannot return to its own (never
 *   seen)
 */
export function inNamespace<T>(path: string, work: () => T): T {
  const own = openSync('/proc/thread-self/ns/net', 'r');
  try {
    enterNamespace(path, CLONE_NEWNET);
    try {
      return work();
    } finally {
      // Anything done from the wrong namespace would change the wrong network: exit at once.
      if (setns(own, CLONE_NEWNET) !== 0) process.exit(70);
    }
  } finally {
    closeSync(own);
  }
}
