/**
 * The image catalogue: which program of this machine runs for which image name.
 *
 * Built-in entries, then /etc/dataplane/catalogue.d/*.yaml in order of name, then files given by the user; a later
 * entry wins. A name without a tag matches every tag; `*` matches any text. In a file, an argument in `entrypoint` or `cmd` that
 * begins with `./` or `../` is a path relative to the file.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parse } from 'yaml';
import type { CatalogueImage } from './catalogue-image.ts';
import { builtInImages } from './catalogue-images.ts';

/** Where the official images of docker.io are copied to, or images of the same names are kept. */
const PUBLIC_COPIES =
  /^(?:registry\.k8s\.io\/e2e-test-images|registry\.k8s\.io|k8s\.gcr\.io|gcr\.io\/google[-_]containers|mirror\.gcr\.io|public\.ecr\.aws\/docker)\/(?:library\/)?/;
const CATALOGUE_DIR = '/etc/dataplane/catalogue.d';

const FIELDS: Record<string, (value: unknown) => boolean> = {
  names: isTexts,
  entrypoint: isTexts,
  cmd: isTexts,
  env: isTextMap,
  workingDir: isText,
  users: (v) => Array.isArray(v) && v.every((u) => isText(u?.name) && Number.isInteger(u?.uid)),
  directories: isTexts,
  files: isTextMap,
  links: isTextMap,
  stopSignal: (v) => isText(v) && /^SIG[A-Z0-9]+$/.test(v),
  package: isText,
  hostPath: (v) => typeof v === 'boolean',
};

export class Catalogue {
  private readonly images: CatalogueImage[];

  /** @param images later ones win */
  constructor(images: CatalogueImage[]) {
    this.images = images;
  }

  /**
   * The entry for an image name such as `docker.io/library/nginx:1.27@sha256:…`. An entry that names the registry comes
   * first; one without a registry also stands for the copies in public registries (`registry.k8s.io/busybox:1.36`), but
   * not for an image of the same name in a private one.
   */
  find(image: string): CatalogueImage | undefined {
    const name = plainName(image);
    return this.named(name) ?? this.named(name.replace(PUBLIC_COPIES, ''));
  }

  private named(name: string): CatalogueImage | undefined {
    const tagless = name.replace(/:[^:/]*$/, '');
    return this.images.findLast((entry) => entry.names.some((n) => matches(plainName(n), name, tagless)));
  }

  /** Every name that `image:` can have. */
  names(): string[] {
    return [...new Set(this.images.flatMap((entry) => entry.names))].sort();
  }
}

/** @throws Error naming file, entry and field if a file is invalid */
export function loadCatalogue(files: readonly string[] = [], directory = CATALOGUE_DIR): Catalogue {
  let found: string[] = [];
  try {
    found = readdirSync(directory).filter((name) => /\.ya?ml$/.test(name));
  } catch {
    // The directory is optional.
  }
  const paths = [...found.sort().map((name) => join(directory, name)), ...files];
  return new Catalogue([...builtInImages(), ...paths.flatMap((path) => parseImages(readFileSync(path, 'utf8'), path))]);
}

/** The entries of one YAML file: `images: [{names: […], entrypoint: […], …}]`. */
export function parseImages(text: string, path: string): CatalogueImage[] {
  const content: unknown = parse(text);
  const images = (content as { images?: unknown } | null)?.images;
  if (!Array.isArray(images)) throw new Error(`${path}: expected "images:" with a list of entries`);
  return images.map((entry: unknown, i) => {
    const at = `${path}: images[${i}]`;
    if (typeof entry !== 'object' || entry === null) throw new Error(`${at}: expected a map`);
    for (const [field, value] of Object.entries(entry)) {
      const check = FIELDS[field];
      if (check === undefined)
        throw new Error(`${at}.${field}: no such field, expected ${Object.keys(FIELDS).join(', ')}`);
      if (!check(value)) throw new Error(`${at}.${field}: wrong type of value`);
    }
    const image = entry as CatalogueImage;
    if (!isTexts(image.names)) throw new Error(`${at}.names: expected a list of image names`);
    const absolute = (args: readonly string[]) =>
      args.map((arg) => (/^\.\.?\//.test(arg) ? resolve(dirname(path), arg) : arg));
    return {
      ...image,
      ...(image.entrypoint && { entrypoint: absolute(image.entrypoint) }),
      ...(image.cmd && { cmd: absolute(image.cmd) }),
    };
  });
}

function matches(pattern: string, name: string, tagless: string): boolean {
  const escaped = pattern.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*');
  const regExp = new RegExp(`^${escaped}$`);
  return regExp.test(name) || (!/:[^:/]*$/.test(pattern) && regExp.test(tagless));
}

/** Without digest, and without the default registry. */
const plainName = (image: string): string =>
  image
    .replace(/@.*$/, '')
    .replace(/^(?:index\.)?docker\.io\//, '')
    .replace(/^library\//, '');

function isText(value: unknown): value is string {
  return typeof value === 'string';
}

function isTexts(value: unknown): boolean {
  return Array.isArray(value) && value.every(isText);
}

function isTextMap(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && Object.values(value).every(isText);
}
