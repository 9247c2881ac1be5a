/**
 * One process at a time writes a directory. The lock is a socket in the abstract namespace (unix(7)), which is gone with
 * its process however that ends: nothing is left behind that would have to be judged stale.
 */
import { createHash } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { createServer } from 'node:net';

/** Another process has the directory. */
export class DirectoryInUseError extends Error {
  override readonly name = 'DirectoryInUseError';
  readonly code = 'EADDRINUSE';
}

/** Takes the lock; returns the function that gives it back. @throws DirectoryInUseError */
export function lockDirectory(directory: string): Promise<() => void> {
  // A socket's name has 107 bytes at most.
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
