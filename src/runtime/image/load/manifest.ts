/** Which images an archive has: docker-archive (manifest.json) or OCI layout (index.json). Everything is checked. */
import { createHash } from 'node:crypto';
import { canonicalName } from '../reference.ts';
import type { ImageConfig } from '../store/index-file.ts';
import type { ImageArchive } from './archive.ts';

const MAX_JSON_BYTES = 8 << 20;
const MAX_IMAGES = 1000;
const MAX_LAYERS = 127;
const MAX_NESTED_INDEXES = 3;
/** The names of Go and OCI for this machine. */
const ARCHITECTURE =
  ({ x64: 'amd64', arm64: 'arm64', arm: 'arm' } as Record<string, string>)[process.arch] ?? process.arch;

export interface ArchivedLayer {
  file: string;
  /** Of the file, `sha256:…`; docker-archive does not have it. */
  digest: string | undefined;
  /** Of its content, uncompressed. */
  diffID: string;
}

export interface ArchivedImage {
  /** `sha256:…` of the configuration. */
  id: string;
  /** Canonical. */
  names: string[];
  digests: string[];
  config: ImageConfig;
  layers: ArchivedLayer[];
}

type Json = Record<string, unknown>;

interface Found {
  names: string[];
  digests: string[];
  config: { file: string; digest: string | undefined };
  layers: { file: string; digest: string | undefined }[];
}

/** @throws Error that names the file and what is wrong */
export async function imagesIn(archive: ImageArchive): Promise<ArchivedImage[]> {
  const oci = archive.has('index.json') ? await ociImages(archive) : [];
  const docker = archive.has('manifest.json') ? await dockerImages(archive, oci) : [];
  const found = docker.length > 0 ? docker : oci;
  if (found.length === 0) {
    throw new Error(
      archive.has('index.json') || archive.has('manifest.json')
        ? `it has no image for linux/${ARCHITECTURE}`
        : 'it is no image archive: it has neither manifest.json (docker save) nor index.json (OCI layout)',
    );
  }
  if (found.length > MAX_IMAGES) throw new Error(`more than ${MAX_IMAGES} images`);
  const images: ArchivedImage[] = [];
  for (const image of found) images.push(await readImage(archive, image));
  return images;
}

async function readImage(archive: ImageArchive, { names, digests, config, layers }: Found): Promise<ArchivedImage> {
  const bytes = await archive.read(config.file, MAX_JSON_BYTES);
  const id = sha256(bytes);
  // docker-archive names the file after its digest.
  const wanted =
    config.digest ?? /(?:^|[/:])([0-9a-f]{64})(?:\.json)?$/.exec(config.file)?.[1]?.replace(/^/, 'sha256:');
  if (wanted !== undefined && wanted !== id) throw new Error(`${config.file}: its digest is ${id}, expected ${wanted}`);
  const json = objectOf(parse(bytes, config.file), config.file);
  const { os = 'linux', architecture = ARCHITECTURE } = json;
  if (os !== 'linux' || architecture !== ARCHITECTURE) {
    throw new Error(`${names[0] ?? id} is for ${os}/${architecture}, and this machine is linux/${ARCHITECTURE}`);
  }
  const diffIDs = texts(
    objectOf(json.rootfs ?? {}, `${config.file}: rootfs`).diff_ids,
    `${config.file}: rootfs.diff_ids`,
  );
  if (diffIDs.length !== layers.length) {
    throw new Error(`${config.file} lists ${diffIDs.length} layers, and the manifest ${layers.length}`);
  }
  if (layers.length === 0 || layers.length > MAX_LAYERS) {
    throw new Error(`${config.file}: ${layers.length} layers, expected 1 to ${MAX_LAYERS}`);
  }
  return {
    ...{ id, names, digests },
    config: runConfig(objectOf(json.config ?? {}, `${config.file}: config`), config.file),
    layers: layers.map((layer, i) => ({ ...layer, diffID: digestOf(diffIDs[i], `${config.file}: rootfs.diff_ids`) })),
  };
}

function runConfig(config: Json, file: string): ImageConfig {
  const list = (name: string) => texts(config[name] ?? [], `${file}: config.${name}`);
  const single = (name: string) => text(config[name] ?? '', `${file}: config.${name}`);
  const env = list('Env');
  const wrong = env.find((entry) => entry.indexOf('=') < 1 || entry.includes('\0'));
  if (wrong !== undefined) throw new Error(`${file}: config.Env: "${wrong}" is no NAME=value`);
  const workingDir = single('WorkingDir');
  if (workingDir !== '' && !workingDir.startsWith('/')) throw new Error(`${file}: config.WorkingDir: not absolute`);
  return {
    ...{ entrypoint: list('Entrypoint'), cmd: list('Cmd'), env, workingDir },
    ...{ user: single('User'), stopSignal: single('StopSignal') },
  };
}

async function dockerImages(archive: ImageArchive, oci: readonly Found[]): Promise<Found[]> {
  const file = 'manifest.json';
  const manifest = parse(await archive.read(file, MAX_JSON_BYTES), file);
  if (!Array.isArray(manifest)) throw new Error(`${file}: expected a list`);
  return manifest.map((entry: unknown): Found => {
    const image = objectOf(entry, file);
    const config = text(image.Config, `${file}: Config`);
    // Docker 25 and later write both; the manifest's digest is only in the OCI part.
    const digests = oci.filter((other) => other.config.file === config).flatMap((other) => other.digests);
    return {
      names: texts(image.RepoTags ?? [], `${file}: RepoTags`).map(canonicalName),
      digests: [...new Set(digests)],
      config: { file: config, digest: undefined },
      layers: texts(image.Layers, `${file}: Layers`).map((name) => ({ file: name, digest: undefined })),
    };
  });
}

async function ociImages(archive: ImageArchive): Promise<Found[]> {
  const index = objectOf(parse(await archive.read('index.json', MAX_JSON_BYTES), 'index.json'), 'index.json');
  const images: Found[] = [];
  for (const descriptor of descriptors(index, 'index.json')) {
    images.push(...(await imagesOf(archive, descriptor, nameOf(descriptor), [], 0)));
  }
  return images;
}

/** The image for this machine, of a manifest or of an index with one for each platform. */
async function imagesOf(
  archive: ImageArchive,
  descriptor: Json,
  names: string[],
  above: readonly string[],
  depth: number,
): Promise<Found[]> {
  const digest = digestOf(descriptor.digest, 'index.json: digest');
  const file = blobFile(digest);
  const bytes = await archive.read(file, MAX_JSON_BYTES);
  if (sha256(bytes) !== digest) throw new Error(`${file}: its digest is ${sha256(bytes)}`);
  const content = objectOf(parse(bytes, file), file);
  const digests = [...above, digest];
  if (Array.isArray(content.manifests)) {
    if (depth >= MAX_NESTED_INDEXES) throw new Error(`${file}: too many indexes within one another`);
    const fitting = descriptors(content, file).filter(isForThisMachine);
    return fitting[0] === undefined ? [] : imagesOf(archive, fitting[0], names, digests, depth + 1);
  }
  if (!isForThisMachine(descriptor)) return [];
  const blob = (value: unknown) => {
    const blobDigest = digestOf(objectOf(value, file).digest, `${file}: digest`);
    return { file: blobFile(blobDigest), digest: blobDigest };
  };
  if (!Array.isArray(content.layers)) throw new Error(`${file}: expected a manifest with layers`);
  return [{ names, digests, config: blob(content.config), layers: content.layers.map(blob) }];
}

/** Attestations have the platform unknown/unknown; an image of unknown platform is judged by its configuration. */
function isForThisMachine({ platform }: Json): boolean {
  if (platform === undefined) return true;
  const { os, architecture } = objectOf(platform, 'platform');
  return os === 'linux' && architecture === ARCHITECTURE;
}

/** A tag alone, as skopeo and umoci write it, is not a name. */
function nameOf({ annotations }: Json): string[] {
  const { 'io.containerd.image.name': full, 'org.opencontainers.image.ref.name': ref } = objectOf(
    annotations ?? {},
    'index.json: annotations',
  );
  const name = full ?? (typeof ref === 'string' && /[/:]/.test(ref) ? ref : undefined);
  return name === undefined ? [] : [canonicalName(text(name, 'index.json: annotations'))];
}

function descriptors(index: Json, file: string): Json[] {
  if (!Array.isArray(index.manifests)) throw new Error(`${file}: expected a list of manifests`);
  if (index.manifests.length > MAX_IMAGES) throw new Error(`${file}: more than ${MAX_IMAGES} manifests`);
  return index.manifests.map((entry) => objectOf(entry, `${file}: manifests`));
}

const blobFile = (digest: string): string => `blobs/${digest.replace(':', '/')}`;

const sha256 = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

function parse(bytes: Buffer, file: string): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch (error) {
    throw new Error(`${file}: ${(error as Error).message}`);
  }
}

function objectOf(value: unknown, where: string): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Error(`${where}: expected an object`);
  return value as Json;
}

function text(value: unknown, where: string): string {
  if (typeof value !== 'string') throw new Error(`${where}: expected a text`);
  return value;
}

function texts(value: unknown, where: string): string[] {
  if (!Array.isArray(value)) throw new Error(`${where}: expected a list of texts`);
  return value.map((entry) => text(entry, where));
}

function digestOf(value: unknown, where: string): string {
  if (typeof value !== 'string' || !/^sha256:[0-9a-f]{64}$/.test(value)) throw new Error(`${where}: expected sha256:…`);
  return value;
}
