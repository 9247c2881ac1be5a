/**
 * Names of images (distribution/reference, normalize.go): `nginx` is `docker.io/library/nginx:latest`. Pure.
 */

export interface Reference {
  /** With registry: `docker.io/library/nginx`. */
  repository: string;
  tag?: string;
  /** `sha256:…` */
  digest?: string;
  /** The text named the registry. */
  qualified: boolean;
}

const MAX_CHARACTERS = 255 + 1 + 128 + 1 + 71;
const COMPONENT = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const REPOSITORY = new RegExp(
  `^(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::[0-9]+)?/)?${COMPONENT}(?:/${COMPONENT})*$`,
);
const TAG = /^[\w][\w.-]{0,127}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;

/** undefined if it is not the name of an image. */
export function parseReference(text: string): Reference | undefined {
  if (text.length > MAX_CHARACTERS) return undefined;
  const [named = '', digest, ...more] = text.split('@');
  const colon = named.lastIndexOf(':');
  const tagged = colon > named.lastIndexOf('/');
  const name = tagged ? named.slice(0, colon) : named;
  const tag = tagged ? named.slice(colon + 1) : undefined;
  if (more.length > 0 || !REPOSITORY.test(name)) return undefined;
  if ((tag !== undefined && !TAG.test(tag)) || (digest !== undefined && !DIGEST.test(digest))) return undefined;
  const slash = name.indexOf('/');
  const first = name.slice(0, Math.max(0, slash));
  const qualified = slash > 0 && (/[.:A-Z]/.test(first) || first === 'localhost');
  const repository = qualified ? withLibrary(name) : `docker.io/${slash > 0 ? name : `library/${name}`}`;
  return { repository, qualified, ...(tag !== undefined && { tag }), ...(digest !== undefined && { digest }) };
}

/** `docker.io/nginx` and `index.docker.io/library/nginx` are the same repository. */
function withLibrary(name: string): string {
  const path = /^(?:index\.)?docker\.io\/(.*)$/.exec(name)?.[1];
  if (path === undefined) return name;
  return `docker.io/${path.includes('/') ? path : `library/${path}`}`;
}

/** `docker.io/library/nginx:latest`; with a digest and no tag, only the digest. @throws Error if it is not a name */
export function canonicalName(text: string): string {
  const reference = parseReference(text);
  if (reference === undefined) throw new Error(`"${text}" is not a name of an image, such as nginx:1.27`);
  const { repository, tag, digest } = reference;
  if (tag === undefined && digest !== undefined) return `${repository}@${digest}`;
  return `${repository}:${tag ?? 'latest'}`;
}

/** As people write it: without the default registry. */
export const familiarName = (canonical: string): string => canonical.replace(/^docker\.io\/(library\/)?/, '');
