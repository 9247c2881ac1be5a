/** Compressed archives and layers, recognized by their first bytes, whatever a media type says. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import zlib, { createGunzip } from 'node:zlib';

export type Compression = 'gzip' | 'zstd';

const FIRST_BYTES: [string, Compression | undefined][] = [
  ['1f8b', 'gzip'],
  ['28b52ffd', 'zstd'],
  ['fd377a585a00', undefined],
  ['425a68', undefined],
];
export const FIRST_BYTES_NEEDED = 6;

/** undefined: not compressed. @throws Error for a compression that is not supported */
export function compressionOf(first: Buffer): Compression | undefined {
  const found = FIRST_BYTES.find(([bytes]) => first.toString('hex').startsWith(bytes));
  if (found === undefined) return undefined;
  if (found[1] === undefined) throw new Error('it is compressed with xz or bzip2: gzip and zstd are supported');
  return found[1];
}

/** The decompressed content. An archive that ends too early, or is damaged, is an error of the iteration. */
export function decompressed(source: Readable, compression: Compression | undefined): AsyncIterable<Buffer> {
  if (compression === undefined) return source;
  if (compression === 'gzip') return through(source, createGunzip());
  // Since Node 22.15.
  const { createZstdDecompress } = zlib as { createZstdDecompress?: () => Transform };
  return createZstdDecompress === undefined ? throughZstd(source) : through(source, createZstdDecompress());
}

async function* through(source: Readable, transform: Transform): AsyncGenerator<Buffer> {
  const done = pipeline(source, transform).catch((error: Error) => error);
  try {
    yield* transform;
  } catch (error) {
    throw (await done) ?? error;
  }
}

/** By the program zstd(1). */
async function* throughZstd(source: Readable): AsyncGenerator<Buffer> {
  const child = spawn('zstd', ['-d', '-c', '-q'], { stdio: ['pipe', 'pipe', 'pipe'] });
  const ended = once(child, 'close') as Promise<[number | null]>;
  let complaint = '';
  child.stderr.on('data', (chunk: Buffer) => {
    complaint = (complaint + chunk.toString()).slice(-500);
  });
  const fed = pipeline(source, child.stdin).catch((error: Error) => error);
  try {
    yield* child.stdout;
    const [status] = await ended;
    if (status !== 0) throw new Error(complaint.trim() || `zstd: exit status ${status}`);
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    throw missing
      ? new Error('it is compressed with zstd: install the program zstd, or use Node 22.15 or later')
      : error;
  } finally {
    source.destroy();
    child.kill('SIGKILL');
    await fed;
    await ended.catch(() => {});
  }
}
