/**
 * Only one process at a time may write a directory. The lock is a unix socket in the abstract namespace (unix(7)),
 * which disappears with its process however that ends: there are no stale locks.
 */
import { createHash } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { createServer } from 'node:net';

/** Another process holds the lock. */
export class DirectoryInUseError extends Error {
  override readonly name = 'DirectoryInUseError';
  readonly code = 'EADDRINUSE';
}

/** Takes the lock; returns a function that releases it. @throws DirectoryInUseError */
export function lockDirectory(directory: string): Promise<() => void> {
  // The name of a unix socket has at most 107 bytes.
  const name = createHash('sha256').update(realpathSync(directory)).digest('hex').slice(0, 32);
  const server = createServer((connection) => connection.destroy());
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const taken = error.code === 'EADDRINUSE';
      reject(taken ? new DirectoryInUseError(`${directory}: a controller is already running there`) : error);
    });
    server.listen({ path: `\0dataplane-store-${name}` }, () => {
      server.unref();
      resolve(() => server.close());
    });
  });
}
