/** How images of the store are found by name, and what happens to names when images come and go. Pure. */
import { canonicalName, parseReference } from '../reference.ts';
import type { StoredImage } from './index-file.ts';

const ID = /^(?:sha256:)?([0-9a-f]{12,64})$/;

/**
 * By any spelling of a name, by the digest of a manifest, or by ID, also abbreviated. A name without registry may also be
 * one of `localhost/`, as podman calls what it builds (containers-image, short names).
 */
export function findImage(images: readonly StoredImage[], text: string): StoredImage | undefined {
  const name = storedName(images, text);
  if (name !== undefined) return images.find(({ names }) => names.includes(name));
  const digest = parseReference(text)?.digest;
  if (digest !== undefined) return images.find(({ id, digests }) => digests.includes(digest) || id === digest);
  return byId(images, text);
}

/** After removing what `text` names: a name, and its image with the last one; or an image by ID, with all its names. */
export function withoutName(images: readonly StoredImage[], text: string): readonly StoredImage[] {
  const name = storedName(images, text);
  if (name !== undefined) return named(images.map((image) => dropNames(image, [name])));
  const image = findImage(images, text);
  return images.filter(({ id }) => id !== image?.id);
}

/** After loading images: a name is that of the image that got it last. */
export function withLoaded(known: readonly StoredImage[], loaded: readonly StoredImage[]): StoredImage[] {
  let images = [...known];
  for (const image of loaded) {
    const same = images.find(({ id }) => id === image.id);
    const others = images.filter(({ id }) => id !== image.id).map((other) => dropNames(other, image.names));
    const names = [...new Set([...(same?.names ?? []), ...image.names])];
    const digests = [...new Set([...(same?.digests ?? []), ...image.digests])];
    images = [...named(others), { ...image, names, digests }];
  }
  return images;
}

/** The name as an image has it. */
function storedName(images: readonly StoredImage[], text: string): string | undefined {
  const reference = parseReference(text);
  if (reference === undefined || (reference.digest !== undefined && reference.tag === undefined)) return undefined;
  // With a digest the tag is for people (Kubernetes ignores it).
  if (reference.digest !== undefined) return undefined;
  const spellings = reference.qualified ? [text] : [text, `localhost/${text}`];
  return spellings.map(canonicalName).find((name) => images.some(({ names }) => names.includes(name)));
}

function byId(images: readonly StoredImage[], text: string): StoredImage | undefined {
  const id = ID.exec(text)?.[1];
  const found = id === undefined ? [] : images.filter((image) => image.id.startsWith(`sha256:${id}`));
  return found.length === 1 ? found[0] : undefined;
}

const dropNames = (image: StoredImage, names: readonly string[]): StoredImage => ({
  ...image,
  names: image.names.filter((name) => !names.includes(name)),
});

const named = (images: readonly StoredImage[]): StoredImage[] => images.filter(({ names }) => names.length > 0);
