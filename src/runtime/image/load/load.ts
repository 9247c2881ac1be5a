/**
 * Loads the images of an archive into the store. Every digest is checked. What was loaded counts when the index is
 * written, at the end: a load that fails or is killed leaves nothing but files that the next one removes.
 */
import { execFileSync } from 'node:child_process';
import { createHash, type Hash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { canonicalName } from '../reference.ts';
import type { StoredImage } from '../store/index-file.ts';
import { withLoaded } from '../store/names.ts';
import { type ImageStore, layerName } from '../store/store.ts';
import { bounded, type ImageArchive, openArchive } from './archive.ts';
import { compressionOf, decompressed, FIRST_BYTES_NEEDED } from './compression.ts';
import { stat } from './layer-directory.ts';
import { type ArchivedImage, type ArchivedLayer, imagesIn } from './manifest.ts';
import { unpackLayer } from './unpack.ts';

const LOCK_MS = 60_000;
/** A layer's tar has a header for each file, beside the content. */
const TAR_OVERHEAD = 1 << 30;

export interface LoadOptions {
  store: ImageStore;
  /** Instead of the archive's; only for an archive of one image. */
  names: readonly string[];
  /** Of all unpacked files of one image. */
  maxBytes: number;
  onProgress(text: string): void;
}

export interface LoadResult {
  images: StoredImage[];
  /** Device nodes that were left out. */
  devices: number;
}

/** @param path a file or a directory. @throws Error, and nothing is loaded */
export async function loadImages(path: string, options: LoadOptions): Promise<LoadResult> {
  const { store } = options;
  return store.exclusively(LOCK_MS, async () => {
    // What an earlier load unpacked and did not list is of unknown size.
    store.replace(store.list());
    const scratch = mkdtempSync(join(store.incoming, 'load-'));
    try {
      const archive = await openArchive(path, scratch, options.maxBytes);
      const archived = await imagesIn(archive);
      checkNames(archived, options.names);
      const result: LoadResult = { images: [], devices: 0 };
      for (const image of archived) {
        const loading = new Loading(archive, image, scratch, options);
        result.images.push(await loading.run());
        result.devices += loading.devices;
      }
      // The index must not reach the disk before what it names (a power failure).
      execFileSync('sync', ['-f', store.layers]);
      store.replace(withLoaded(store.list(), result.images));
      return result;
    } finally {
      rmSync(scratch, { recursive: true, force: true });
    }
  });
}

function checkNames(archived: ArchivedImage[], names: readonly string[]): void {
  if (names.length > 0) {
    if (archived.length > 1) throw new Error(`it has ${archived.length} images: --name is for an archive with one`);
    archived[0]!.names = names.map(canonicalName);
  }
  const nameless = archived.find((image) => image.names.length === 0);
  if (nameless !== undefined) throw new Error('its image has no name: give it one with --name');
}

class Loading {
  devices = 0;
  private bytes = 0;
  private readonly archive: ImageArchive;
  private readonly image: ArchivedImage;
  private readonly scratch: string;
  private readonly options: LoadOptions;

  constructor(archive: ImageArchive, image: ArchivedImage, scratch: string, options: LoadOptions) {
    this.archive = archive;
    this.image = image;
    this.scratch = scratch;
    this.options = options;
  }

  async run(): Promise<StoredImage> {
    const { image, options } = this;
    const names: string[] = [];
    let chainID = '';
    for (const [i, layer] of image.layers.entries()) {
      chainID =
        chainID === ''
          ? layer.diffID
          : `sha256:${createHash('sha256').update(`${chainID} ${layer.diffID}`).digest('hex')}`;
      options.onProgress(`${image.names[0]}: layer ${i + 1} of ${image.layers.length}`);
      const name = layerName(chainID);
      const directory = join(options.store.layers, name);
      if (existsSync(directory)) this.bytes += directoryBytes(directory);
      else await this.unpack(layer, directory, names);
      names.unshift(name);
    }
    const { id, digests, config } = image;
    const loadedAt = new Date().toISOString();
    return { ...{ id, digests, config, loadedAt }, names: image.names, layers: names.reverse(), bytes: this.bytes };
  }

  private async unpack(layer: ArchivedLayer, directory: string, lower: readonly string[]): Promise<void> {
    const { store, maxBytes } = this.options;
    const target = join(this.scratch, 'layer');
    mkdirSync(target, { mode: 0o755 });
    const free = statfsSync(store.directory);
    const room = Math.min(maxBytes - this.bytes, free.bavail * free.bsize);
    const content = createHash('sha256');
    const file = createHash('sha256');
    try {
      const compression = compressionOf(await firstBytes(this.archive, layer.file));
      const source = Readable.from(hashed(this.archive.open(layer.file), file));
      const tar = hashed(bounded(decompressed(source, compression), room + TAR_OVERHEAD), content);
      const { bytes, devices } = await unpackLayer(
        tar,
        target,
        lower.map((name) => join(store.layers, name)),
        room,
      );
      this.bytes += bytes;
      this.devices += devices;
    } catch (error) {
      throw new Error(`layer ${layer.file}: ${(error as Error).message}`);
    }
    check(layer.file, content, layer.diffID, 'content');
    if (layer.digest !== undefined) check(layer.file, file, layer.digest, 'file');
    renameSync(target, directory);
  }
}

function check(file: string, hash: Hash, wanted: string, what: string): void {
  const digest = `sha256:${hash.digest('hex')}`;
  if (digest !== wanted) throw new Error(`layer ${file}: the digest of its ${what} is ${digest}, expected ${wanted}`);
}

async function* hashed(chunks: AsyncIterable<Buffer>, hash: Hash): AsyncGenerator<Buffer> {
  for await (const chunk of chunks) {
    hash.update(chunk);
    yield chunk;
  }
}

async function firstBytes(archive: ImageArchive, file: string): Promise<Buffer> {
  const source = archive.open(file);
  for await (const chunk of source as AsyncIterable<Buffer>) {
    source.destroy();
    return chunk.subarray(0, FIRST_BYTES_NEEDED);
  }
  throw new Error('it is empty');
}

/** Of all files below; one with several names counts for each. */
function directoryBytes(directory: string): number {
  return readdirSync(directory, { withFileTypes: true }).reduce((sum, entry) => {
    const path = join(directory, entry.name);
    return sum + (entry.isDirectory() ? directoryBytes(path) : entry.isFile() ? (stat(path)?.size ?? 0) : 0);
  }, 0);
}
