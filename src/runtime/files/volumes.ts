/**
 * Volumes of a pod on disk, under <pod>/volumes/<name>.
 *
 * ConfigMaps and Secrets are laid out as kubelet does (pkg/volume/util/atomic_writer.go): the files are links through
 * `..data`, itself a link to a directory with the present content, so that an update shows all at once.
 */
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import type { KeyToPath, Pod, Volume } from '../../api/types/objects.ts';
import { type ConfigSource, ContainerConfigError } from './config-source.ts';

const DATA_LINK = '..data';
const DEFAULT_MODE = 0o644;

/** Where a volume of the pod is; for a hostPath its own place. */
export const volumePath = (podDir: string, volume: Volume): string =>
  volume.hostPath?.path ?? join(podDir, 'volumes', volume.name);

/** What the content of a volume hangs on: unchanged text, unchanged content. */
export type VolumeVersions = Map<string, string>;

export const hasConfigVolumes = (pod: Pod): boolean =>
  (pod.spec.volumes ?? []).some((volume) => volume.configMap !== undefined || volume.secret !== undefined);

/**
 * Make all volumes, or bring those that follow a ConfigMap or Secret up to date.
 * @throws ContainerConfigError naming the volume whose source is missing
 */
export async function prepareVolumes(
  pod: Pod,
  podDir: string,
  source: ConfigSource,
  versions: VolumeVersions,
): Promise<void> {
  const namespace = pod.metadata.namespace ?? 'default';
  for (const volume of pod.spec.volumes ?? []) {
    const path = volumePath(podDir, volume);
    try {
      if (volume.configMap !== undefined) {
        const { name = '', items, defaultMode, optional } = volume.configMap;
        const map = await source.configMap(namespace, name, optional);
        const version = `${map?.metadata.uid}/${map?.metadata.resourceVersion}`;
        if (versions.get(volume.name) === version) continue;
        const content = new Map<string, Buffer>();
        for (const [key, text] of Object.entries(map?.data ?? {})) content.set(key, Buffer.from(text));
        for (const [key, text] of Object.entries(map?.binaryData ?? {})) content.set(key, Buffer.from(text, 'base64'));
        writeAtomically(path, select(content, items, defaultMode, optional));
        versions.set(volume.name, version);
      } else if (volume.secret !== undefined) {
        const { secretName = '', items, defaultMode, optional } = volume.secret;
        const secret = await source.secret(namespace, secretName, optional);
        const version = `${secret?.metadata.uid}/${secret?.metadata.resourceVersion}`;
        if (versions.get(volume.name) === version) continue;
        const content = new Map(
          Object.entries(secret?.data ?? {}).map(([key, text]) => [key, Buffer.from(text, 'base64')] as const),
        );
        writeAtomically(path, select(content, items, defaultMode, optional));
        versions.set(volume.name, version);
      } else if (volume.hostPath !== undefined) checkHostPath(volume.hostPath);
      else if (!versions.has(volume.name)) {
        mkdirSync(path, { recursive: true });
        chmodSync(path, 0o777); // Any user of any container may write here.
        versions.set(volume.name, 'made');
      }
    } catch (error) {
      throw new ContainerConfigError(
        `MountVolume.SetUp failed for volume "${volume.name}": ${(error as Error).message}`,
      );
    }
  }
}

interface VolumeFile {
  content: Buffer;
  mode: number;
}

function select(
  content: ReadonlyMap<string, Buffer>,
  items: KeyToPath[] | undefined,
  defaultMode = DEFAULT_MODE,
  optional = false,
): Map<string, VolumeFile> {
  const files = new Map<string, VolumeFile>();
  if (items === undefined) for (const [key, bytes] of content) files.set(key, { content: bytes, mode: defaultMode });
  for (const { key, path, mode } of items ?? []) {
    const bytes = content.get(key);
    if (bytes !== undefined) files.set(insidePath(path), { content: bytes, mode: mode ?? defaultMode });
    else if (!optional) throw new Error(`references non-existent config key: ${key}`);
  }
  return files;
}

/** A relative path that does not lead out of its directory. @throws Error */
export function insidePath(path: string): string {
  const plain = normalize(path);
  if (plain.startsWith('/') || plain.split('/').includes('..'))
    throw new Error(`path "${path}" leads out of the volume`);
  return plain;
}

function writeAtomically(volume: string, files: ReadonlyMap<string, VolumeFile>): void {
  mkdirSync(volume, { recursive: true, mode: 0o755 });
  const dataLink = join(volume, DATA_LINK);
  const old = linkTarget(dataLink);
  const fresh = `..${new Date().toISOString().replace(/[-:T.Z]/g, '_')}${process.hrtime.bigint() % 1_000_000n}`;
  for (const [path, { content, mode }] of files) {
    const target = join(volume, fresh, path);
    mkdirSync(dirname(target), { recursive: true, mode: 0o755 });
    writeFileSync(target, content);
    chmodSync(target, mode);
  }
  mkdirSync(join(volume, fresh), { recursive: true });
  symlinkSync(fresh, `${dataLink}_new`);
  renameSync(`${dataLink}_new`, dataLink);
  const shown = new Set([...files.keys()].map((path) => path.split('/')[0]!));
  for (const name of shown) {
    if (linkTarget(join(volume, name)) === undefined) symlinkSync(join(DATA_LINK, name), join(volume, name));
  }
  for (const name of readdirSync(volume)) if (!name.startsWith('..') && !shown.has(name)) rmSync(join(volume, name));
  if (old !== undefined) rmSync(join(volume, old), { recursive: true, force: true });
}

function linkTarget(path: string): string | undefined {
  try {
    return lstatSync(path).isSymbolicLink() ? readlinkSync(path) : undefined;
  } catch {
    return undefined;
  }
}

function checkHostPath({ path, type }: { path: string; type?: string }): void {
  if (type === 'DirectoryOrCreate') mkdirSync(path, { recursive: true, mode: 0o755 });
  if (type === 'FileOrCreate') writeFileSync(path, '', { flag: 'a' });
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) throw new Error(`hostPath type check failed: ${path} does not exist`);
  if (type?.startsWith('Directory') && !stat.isDirectory())
    throw new Error(`hostPath type check failed: ${path} is not a directory`);
  if (type?.startsWith('File') && !stat.isFile()) throw new Error(`hostPath type check failed: ${path} is not a file`);
}
