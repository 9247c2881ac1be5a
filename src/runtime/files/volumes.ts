/**
 * Volumes of a pod on disk, under <pod>/volumes/<name>.
 *
 * A claimed volume is a link to its path on this machine, so that an agent that takes over needs no API to know it.
 *
 * Volumes filled from objects (volume-files.ts) are laid out as kubelet does (pkg/volume/util/atomic_writer.go): the
 * files are links through `..data`, itself a link to a directory with the current content, so that an update becomes
 * visible at once as a whole.
 */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  chownSync,
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
import { totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { Quantity } from '../../api/quantity.ts';
import type { Pod, Volume } from '../../api/types/objects.ts';
import { podLimits } from '../container/resources.ts';
import { type ConfigSource, ContainerConfigError } from './config-source.ts';
import { mountInMemory, unmountMemory } from './memory-volumes.ts';
import { filesOf, type PodFacts, type VolumeFile } from './volume-files.ts';

const DATA_LINK = '..data';

/** Directory of a volume of the pod; for a hostPath and a claimed volume, their own path. */
export function volumePath(podDir: string, volume: Volume): string {
  if (volume.hostPath !== undefined) return volume.hostPath.path;
  const path = join(podDir, 'volumes', volume.name);
  return volume.persistentVolumeClaim === undefined ? path : (linkTarget(path) ?? path);
}

/** Digest of the content last written to each volume. */
export type VolumeVersions = Map<string, string>;

/** Is it filled from objects? Containers may not write to such a volume. */
export const followsObjects = ({ configMap, secret, projected, downwardAPI }: Volume): boolean =>
  (configMap ?? secret ?? projected ?? downwardAPI) !== undefined;

export const hasConfigVolumes = (pod: Pod): boolean => (pod.spec.volumes ?? []).some(followsObjects);

/**
 * Create all volumes, or update those that are filled from objects or hold a token.
 * @throws ContainerConfigError naming the volume whose source is missing
 */
export async function prepareVolumes(
  pod: Pod,
  podDir: string,
  source: ConfigSource,
  versions: VolumeVersions,
  facts: PodFacts,
): Promise<void> {
  for (const volume of pod.spec.volumes ?? []) {
    const path = volumePath(podDir, volume);
    try {
      if (followsObjects(volume)) {
        const files = await filesOf(volume, pod, source, facts);
        const version = digestOf(files);
        if (versions.get(volume.name) === version) continue;
        writeAtomically(path, files, pod.spec.securityContext?.fsGroup);
        versions.set(volume.name, version);
      } else if (volume.hostPath !== undefined) checkHostPath(volume.hostPath);
      else if (volume.persistentVolumeClaim !== undefined) await linkClaimed(pod, podDir, volume, source);
      else if (!versions.has(volume.name)) {
        // An emptyDir, or a kind that is not supported: the API has warned of it (docs/pod-fields.md).
        makeEmptyDirectory(path, pod, volume);
        versions.set(volume.name, 'made');
      }
    } catch (error) {
      throw new ContainerConfigError(
        `MountVolume.SetUp failed for volume "${volume.name}" : ${(error as Error).message}`,
      );
    }
  }
}

/** Once: what a pod has mounted stays, whatever becomes of the claim. */
async function linkClaimed(pod: Pod, podDir: string, volume: Volume, source: ConfigSource): Promise<void> {
  const link = join(podDir, 'volumes', volume.name);
  if (linkTarget(link) !== undefined) return;
  const { namespace = 'default' } = pod.metadata;
  const { metadata, spec } = await source.claimedVolume(namespace, volume.persistentVolumeClaim!.claimName);
  const path = spec.hostPath?.path ?? spec.local?.path;
  if (path === undefined) {
    throw new Error(`volume ${metadata.name} is of a kind that this node cannot mount (hostPath and local are)`);
  }
  checkHostPath({ path, ...spec.hostPath });
  mkdirSync(dirname(link), { recursive: true, mode: 0o755 });
  symlinkSync(path, link);
}

function digestOf(files: ReadonlyMap<string, VolumeFile>): string {
  const digest = createHash('sha256');
  for (const [path, { content, mode }] of files) digest.update(`${path}\0${mode}\0${content.length}\0`).update(content);
  return digest.digest('base64');
}

/** Free the space of the pod's emptyDirs; nobody uses them any more. */
export function emptyVolumes(pod: Pod, podDir: string): void {
  unmountMemory(join(podDir, 'volumes'));
  for (const volume of pod.spec.volumes ?? []) {
    if (volume.emptyDir === undefined) continue;
    rmSync(volumePath(podDir, volume), { recursive: true, force: true, maxRetries: 3 });
  }
}

/** Any user of any container may write into it; with fsGroup, what is created in it belongs to that group. */
function makeEmptyDirectory(path: string, pod: Pod, { emptyDir }: Volume): void {
  mkdirSync(path, { recursive: true });
  if (emptyDir?.medium === 'Memory') mountInMemory(path, memoryBytes(pod, emptyDir.sizeLimit));
  const { fsGroup } = pod.spec.securityContext ?? {};
  if (fsGroup !== undefined) chownSync(path, 0, fsGroup);
  chmodSync(path, fsGroup === undefined ? 0o777 : 0o2777);
}

/** As kubelet (pkg/volume/emptydir, calculateEmptyDirMemorySize), which takes the node's memory where nothing is limited. */
function memoryBytes(pod: Pod, sizeLimit: string | number | undefined): number {
  const sizes = [Quantity.from(sizeLimit).value, podLimits(pod).memoryBytes ?? 0].filter((bytes) => bytes > 0);
  return Math.min(...sizes, totalmem());
}

/** @param group that the files belong to, and that may read them; undefined: root (kubelet, volume_linux.go) */
function writeAtomically(volume: string, files: ReadonlyMap<string, VolumeFile>, group: number | undefined): void {
  mkdirSync(volume, { recursive: true, mode: 0o755 });
  const dataLink = join(volume, DATA_LINK);
  const old = linkTarget(dataLink);
  const fresh = `..${new Date().toISOString().replace(/[-:T.Z]/g, '_')}${process.hrtime.bigint() % 1_000_000n}`;
  for (const [path, { content, mode }] of files) {
    const target = join(volume, fresh, path);
    mkdirSync(dirname(target), { recursive: true, mode: 0o755 });
    writeFileSync(target, content);
    if (group !== undefined) chownSync(target, 0, group);
    chmodSync(target, group === undefined ? mode : mode | 0o440);
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
