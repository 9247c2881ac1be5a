/**
 * The image store of this machine: layers unpacked once, shared by the images that have them, and kept when a cluster
 * is taken down.
 *
 *   index.json         the images (index-file.ts); what it does not name does not exist
 *   layers/<name>/     the files of one layer, as overlayfs expects a lower directory
 *   incoming/<random>/ what a load is unpacking; renamed into layers/ when complete
 *   lock               held by whoever changes the store
 *
 * A layer's name is the beginning of its chain ID: the hash of its own digest and of those below it (OCI image-spec,
 * "Layer ChainID"). It is short because the names of all layers must fit into one option of mount(2).
 */
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { takeLock } from '../../../linux/lock-file.ts';
import { overlaysInUse } from '../../../linux/overlay-mounts.ts';
import { indexVersion, readIndex, type StoredImage, writeIndex } from './index-file.ts';
import { findImage } from './names.ts';

const DEFAULT_DIRECTORY = '/var/lib/dataplane/images';
const LAYER_NAME_CHARACTERS = 24;
const LOCK_POLL_MS = 100;

/** Directory of the store: DATAPLANE_IMAGES, or the default. */
const storeDirectory = (): string => process.env.DATAPLANE_IMAGES || DEFAULT_DIRECTORY;

/** Name of a layer's directory. @param chainID `sha256:…` */
export const layerName = (chainID: string): string => chainID.replace('sha256:', '').slice(0, LAYER_NAME_CHARACTERS);

export class ImageStore {
  readonly directory: string;
  readonly layers: string;
  readonly incoming: string;
  private images: readonly StoredImage[] = [];
  private version: string | undefined;

  constructor(directory: string = storeDirectory()) {
    this.directory = directory;
    this.layers = join(directory, 'layers');
    this.incoming = join(directory, 'incoming');
  }

  /** As it is now; read again only if it has changed. @throws Error if the index cannot be read */
  list(): readonly StoredImage[] {
    const version = indexVersion(this.directory);
    if (version !== this.version) {
      this.images = readIndex(this.directory);
      this.version = version;
    }
    return this.images;
  }

  /** By name, digest or ID (names.ts). @throws Error if the index cannot be read */
  find(text: string): StoredImage | undefined {
    return findImage(this.list(), text);
  }

  /**
   * Run `change` while nobody else changes the store, after removing what an interrupted load left.
   * @param timeoutMs how long to wait for another process
   * @throws Error that names the process that holds the store
   */
  async exclusively<T>(timeoutMs: number, change: () => Promise<T>): Promise<T> {
    // Only root may look in: an image has setuid programs, and may have secrets.
    for (const path of [this.directory, this.layers, this.incoming]) mkdirSync(path, { recursive: true, mode: 0o700 });
    const lock = await this.lock(timeoutMs);
    try {
      for (const name of readdirSync(this.incoming)) remove(join(this.incoming, name));
      return await change();
    } finally {
      lock.release();
    }
  }

  private async lock(timeoutMs: number): Promise<{ release(): void }> {
    for (const end = Date.now() + timeoutMs; ; await sleep(LOCK_POLL_MS)) {
      const lock = takeLock(join(this.directory, 'lock'));
      if (typeof lock !== 'string') return lock;
      if (Date.now() > end) throw new Error(`process ${lock || 'of another user'} is changing ${this.directory}`);
    }
  }

  /** Replace the list; layers that no image has any more are removed, except those that a container uses. */
  replace(images: readonly StoredImage[]): void {
    writeIndex(this.directory, images);
    const wanted = new Set(images.flatMap(({ layers }) => layers));
    const unwanted = readdirSync(this.layers).filter((name) => !wanted.has(name));
    if (unwanted.length === 0) return;
    const used = overlaysInUse(new Set(unwanted));
    for (const name of unwanted) if (!used.has(name)) remove(join(this.layers, name));
  }
}

/** A directory of a layer may lack the permission to be searched, which root does not need. */
const remove = (path: string): void => rmSync(path, { recursive: true, force: true, maxRetries: 3 });
