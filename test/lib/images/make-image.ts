/** Image archives made by hand: layers of listed files, as docker-archive or OCI layout. No registry, no other program. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { type Header, pack } from 'tar-stream';

/** One entry of a layer; a text or bytes are the content of a file. */
export type Entry = Partial<Omit<Header, 'pax'>> & {
  name: string;
  content?: string | Buffer;
  pax?: Record<string, string>;
};

export interface ImageParts {
  /** The lowest first. */
  layers: Buffer[];
  /** `config` of the image's configuration. */
  config?: Record<string, unknown>;
  names?: string[];
}

/** A tar. */
export async function tar(entries: readonly Entry[]): Promise<Buffer> {
  const archive = pack();
  const chunks: Buffer[] = [];
  const collected = (async () => {
    for await (const chunk of archive) chunks.push(chunk as Buffer);
  })();
  for (const { content, ...header } of entries) {
    await new Promise<void>((resolve, reject) => {
      const done = (error?: Error | null) => (error ? reject(error) : resolve());
      archive.entry({ mode: 0o755, mtime: new Date(0), ...header } as Header, content ?? '', done);
    });
  }
  archive.finalize();
  await collected;
  return Buffer.concat(chunks);
}

export const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** The bytes of an image's configuration. */
export function configOf({ layers, config = {} }: ImageParts): Buffer {
  const architecture = { x64: 'amd64', arm64: 'arm64' }[process.arch as string] ?? process.arch;
  const rootfs = { type: 'layers', diff_ids: layers.map((layer) => `sha256:${sha256(layer)}`) };
  return Buffer.from(JSON.stringify({ architecture, os: 'linux', config, rootfs }));
}

/** As `docker save` wrote it before version 25, and podman does. */
export async function dockerArchive(images: readonly ImageParts[]): Promise<Buffer> {
  const manifest = images.map((image) => ({
    Config: `${sha256(configOf(image))}.json`,
    RepoTags: image.names ?? [],
    Layers: image.layers.map((layer) => `${sha256(layer)}/layer.tar`),
  }));
  const files = images.flatMap((image) => [
    { name: `${sha256(configOf(image))}.json`, content: configOf(image) },
    ...image.layers.map((layer) => ({ name: `${sha256(layer)}/layer.tar`, content: layer })),
  ]);
  return tar([...files, { name: 'manifest.json', content: JSON.stringify(manifest) }]);
}

/** Files of an OCI layout with gzip layers. @returns path → content */
export function ociFiles(image: ImageParts): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  const blob = (bytes: Buffer, mediaType: string) => {
    files.set(`blobs/sha256/${sha256(bytes)}`, bytes);
    return { mediaType, digest: `sha256:${sha256(bytes)}`, size: bytes.length };
  };
  const manifest = {
    schemaVersion: 2,
    config: blob(configOf(image), 'application/vnd.oci.image.config.v1+json'),
    layers: image.layers.map((layer) => blob(gzipSync(layer), 'application/vnd.oci.image.layer.v1.tar+gzip')),
  };
  const descriptors = (image.names ?? ['']).map((name) => ({
    ...blob(Buffer.from(JSON.stringify(manifest)), 'application/vnd.oci.image.manifest.v1+json'),
    ...(name !== '' && { annotations: { 'org.opencontainers.image.ref.name': name } }),
  }));
  files.set('oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}'));
  files.set('index.json', Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: descriptors })));
  return files;
}

/** Write files below a directory. */
export function writeFiles(directory: string, files: ReadonlyMap<string, Buffer>): void {
  for (const [path, content] of files) {
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    writeFileSync(join(directory, path), content);
  }
}

/** Programs of this host with the libraries they need, as entries of a layer: path in the image → program. */
export function hostPrograms(programs: Readonly<Record<string, string>>): Entry[] {
  const files = new Map<string, string>();
  for (const [path, program] of Object.entries(programs)) {
    files.set(path, program);
    const listed = execFileSync('ldd', [program], { encoding: 'utf8' });
    for (const [, library = ''] of listed.matchAll(/(\/\S+) \(0x/g)) files.set(library, library);
  }
  return [...files].map(([name, path]) => ({
    name: name.slice(1),
    content: readFileSync(realpathSync(path)),
    mode: 0o755,
  }));
}
