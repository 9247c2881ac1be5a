/**
 * The files of an image archive by name: a directory (OCI layout), or a tar (docker-archive, oci-archive), whose files
 * are read where they lie. A compressed tar is decompressed to a file first.
 */
import { closeSync, createReadStream, createWriteStream, lstatSync, openSync, readSync, statSync } from 'node:fs';
import { join, posix } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { compressionOf, decompressed, FIRST_BYTES_NEEDED } from './compression.ts';
import { partsOf } from './layer-directory.ts';
import { tarEntries } from './tar-entries.ts';

const MAX_FILES = 100_000;
const MAX_LINKS = 8;

export interface ImageArchive {
  has(name: string): boolean;
  /** The whole content. @throws Error if there is no such file, or it is larger */
  read(name: string, maxBytes: number): Promise<Buffer>;
  /** @throws Error if there is no such file */
  open(name: string): Readable;
}

/**
 * @param path a directory or a file
 * @param scratch where a compressed archive is decompressed to; removed by the caller
 * @param maxBytes of the decompressed archive
 * @throws Error
 */
export async function openArchive(path: string, scratch: string, maxBytes: number): Promise<ImageArchive> {
  if (statSync(path).isDirectory()) return directoryArchive(path);
  const compression = compressionOf(firstBytes(path));
  if (compression === undefined) return tarArchive(path);
  const plain = join(scratch, 'archive.tar');
  const content = Readable.from(bounded(decompressed(createReadStream(path), compression), maxBytes));
  await pipeline(content, createWriteStream(plain, { mode: 0o600 }));
  return tarArchive(plain);
}

function firstBytes(path: string): Buffer {
  const fd = openSync(path, 'r');
  try {
    const bytes = Buffer.alloc(FIRST_BYTES_NEEDED);
    return bytes.subarray(0, readSync(fd, bytes, 0, bytes.length, 0));
  } finally {
    closeSync(fd);
  }
}

/** @throws Error in the iteration, at the first byte too many */
export async function* bounded(chunks: AsyncIterable<Buffer>, maxBytes: number): AsyncGenerator<Buffer> {
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw new Error(`more than ${maxBytes} bytes (--max-size)`);
    yield chunk;
  }
}

/** Place of a file, for an archive of either kind: a file on disk, whole or a part of it. */
interface Part {
  path: string;
  start: number;
  bytes: number;
}

function archiveOf(find: (name: string) => Part | undefined): ImageArchive {
  const known = (name: string): Part => {
    const part = find(name);
    if (part === undefined) throw new Error(`the archive has no file ${name}`);
    return part;
  };
  const stream = ({ path, start, bytes }: Part): Readable =>
    bytes === 0 ? Readable.from([]) : createReadStream(path, { start, end: start + bytes - 1, highWaterMark: 1 << 18 });
  return {
    has: (name) => find(name) !== undefined,
    open: (name) => stream(known(name)),
    read: async (name, maxBytes) => {
      const part = known(name);
      if (part.bytes > maxBytes) throw new Error(`${name} is larger than ${maxBytes} bytes`);
      return Buffer.concat(await stream(part).toArray());
    },
  };
}

function directoryArchive(directory: string): ImageArchive {
  return archiveOf((name) => {
    const path = join(directory, ...partsOf(name));
    const stat = lstatSync(path, { throwIfNoEntry: false });
    return stat?.isFile() ? { path, start: 0, bytes: stat.size } : undefined;
  });
}

async function tarArchive(path: string): Promise<ImageArchive> {
  const files = new Map<string, Part>();
  const links = new Map<string, string>();
  for await (const { name, type, linkname, byteOffset, size } of tarEntries(createReadStream(path))) {
    if (files.size + links.size > MAX_FILES) throw new Error(`the archive has more than ${MAX_FILES} files`);
    const key = posix.normalize(name);
    if (type === 'file') files.set(key, { path, start: byteOffset, bytes: size });
    // A layer that two images share: docker-archive links to it, from its directory, or as a hard link from the top.
    else if (type === 'symlink') links.set(key, posix.join(posix.dirname(key), linkname));
    else if (type === 'link') links.set(key, posix.normalize(linkname));
  }
  return archiveOf((name) => {
    let key = posix.normalize(name);
    for (let i = 0; i < MAX_LINKS && links.has(key); i++) key = links.get(key)!;
    return files.get(key);
  });
}
