/**
 * What an image name stands for on this machine: an image that was loaded into the store, else a program of the
 * catalogue.
 */
import { constants } from 'node:os';
import { type Catalogue, loadCatalogue } from './catalogue.ts';
import type { CatalogueImage } from './catalogue-image.ts';
import { parseReference } from './reference.ts';
import type { StoredImage } from './store/index-file.ts';
import { ImageStore } from './store/store.ts';

const RELOAD_MS = 2_000;

export interface ImageRoot {
  /** Directory of the unpacked layers, and their names in it, the uppermost first. */
  store: string;
  layers: readonly string[];
  /** `USER` of the image. */
  user: string;
}

/** An image a container can be started from. */
export interface RunnableImage extends CatalogueImage {
  /** For the container's status. */
  imageID: string;
  /** Absent: programs of the host's. */
  root?: ImageRoot;
}

export class Images {
  private readonly files: readonly string[];
  private readonly store: ImageStore;
  private readonly log: (message: string) => void;
  private catalogue: Catalogue;
  private loadedAtMs = Date.now();

  /**
   * @param files YAML files that extend the catalogue
   * @throws Error if one is invalid
   */
  constructor(files: readonly string[] = [], log: (message: string) => void = () => {}, store = new ImageStore()) {
    this.files = files;
    this.store = store;
    this.log = log;
    this.catalogue = loadCatalogue(files);
  }

  /** undefined if this machine does not have it. Files of the catalogue that changed meanwhile are read again. */
  find(image: string): RunnableImage | undefined {
    const stored = this.stored(image);
    if (stored !== undefined) return runnable(stored, this.store.layers);
    const entry = this.catalogue.find(image) ?? this.reload().find(image);
    return entry === undefined ? undefined : { ...entry, imageID: `catalogue:${image}` };
  }

  /** What to do about an image that this machine does not have. */
  explainMissing(image: string): string {
    if (parseReference(image) === undefined && !/^\w+$/.test(image)) return `"${image}" is not a name of an image`;
    return (
      `image "${image}" is neither loaded nor in the catalogue (${this.catalogue.names().join(', ')}). Load it from an ` +
      `archive: \`docker save ${image} -o FILE\` where it is, \`dataplane image load FILE\` here; or use "image: process" ` +
      'with a command of this host (docs/images.md)'
    );
  }

  private stored(image: string): StoredImage | undefined {
    try {
      return this.store.find(image);
    } catch (error) {
      this.log(`image store: ${(error as Error).message}`);
      return undefined;
    }
  }

  private reload(): Catalogue {
    if (Date.now() - this.loadedAtMs < RELOAD_MS) return this.catalogue;
    this.loadedAtMs = Date.now();
    try {
      this.catalogue = loadCatalogue(this.files);
    } catch (error) {
      this.log(`image catalogue: ${(error as Error).message}`);
    }
    return this.catalogue;
  }
}

function runnable({ id, names, digests, layers, config }: StoredImage, store: string): RunnableImage {
  const { entrypoint, cmd, env, workingDir, user, stopSignal } = config;
  const signal = stopSignalOf(stopSignal);
  return {
    names,
    imageID: digests[0] === undefined ? id : `${names[0]?.replace(/:[^:/]*$/, '')}@${digests[0]}`,
    ...(entrypoint.length > 0 && { entrypoint }),
    ...(cmd.length > 0 && { cmd }),
    env: Object.fromEntries(
      env.map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]),
    ),
    ...(workingDir !== '' && { workingDir }),
    ...(signal !== undefined && { stopSignal: signal }),
    root: { store, layers: layers.toReversed(), user },
  };
}

/** `SIGQUIT`, `QUIT` or `3`. Real-time signals have no names in Node: the default is sent instead. */
function stopSignalOf(text: string): NodeJS.Signals | undefined {
  const names = Object.entries(constants.signals);
  const name = /^\d+$/.test(text)
    ? names.find(([, number]) => number === Number(text))?.[0]
    : names.find(([known]) => known === text || known === `SIG${text}`)?.[0];
  return name as NodeJS.Signals | undefined;
}
