/** The list of the images in the store, one file that is replaced as a whole. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { readIfPresent } from '../../../linux/read-file.ts';
import { replaceFile } from '../../../linux/replace-file.ts';

export interface ImageConfig {
  entrypoint: string[];
  cmd: string[];
  /** `NAME=value` */
  env: string[];
  workingDir: string;
  user: string;
  stopSignal: string;
}

export interface StoredImage {
  /** sha256 of its configuration, `sha256:…`: the image ID. */
  id: string;
  /** Canonical names (reference.ts). */
  names: string[];
  /** Digests of manifests by which it was loaded, if the archive had any. */
  digests: string[];
  /** Directories of its layers, the lowest first. */
  layers: string[];
  /** Of the unpacked layers. */
  bytes: number;
  loadedAt: string;
  config: ImageConfig;
}

const VERSION = 1;
const FILE = 'index.json';

interface Content {
  version: number;
  images: StoredImage[];
}

/** @throws Error if it cannot be read, or is of another version */
export function readIndex(store: string): StoredImage[] {
  const path = join(store, FILE);
  const text = readIfPresent(path);
  if (text === undefined) return [];
  let content: Partial<Content>;
  try {
    content = JSON.parse(text) as Partial<Content>;
  } catch {
    throw new Error(`${path} is damaged: remove ${store}, and load the images again`);
  }
  if (content.version !== VERSION || !Array.isArray(content.images)) {
    throw new Error(`${path} is of another version of dataplane: remove ${store}, and load the images again`);
  }
  return content.images;
}

/** Complete or not at all: what it names must be on disk by then. */
export function writeIndex(store: string, images: readonly StoredImage[]): void {
  const text = `${JSON.stringify({ version: VERSION, images }, null, 1)}\n`;
  replaceFile(join(store, FILE), text, { flush: true });
}

/** Changes whenever the index does; empty if there is none. */
export function indexVersion(store: string): string {
  const stat = statSync(join(store, FILE), { bigint: true, throwIfNoEntry: false });
  return stat === undefined ? '' : `${stat.ino}:${stat.mtimeNs}`;
}
