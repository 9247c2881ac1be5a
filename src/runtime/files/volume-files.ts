/**
 * The files of a volume that is filled from objects: ConfigMap, Secret, the pod's own fields, a service account token,
 * or several of these (`projected`).
 */
import { normalize } from 'node:path';
import type { KeyToPath, Pod, ProjectedSource, Volume } from '../../api/types/objects.ts';
import { fieldOf } from '../container/environment.ts';
import { resourceText, thisMachine } from '../container/resource-field.ts';
import type { ConfigSource } from './config-source.ts';

const DEFAULT_MODE = 0o644;
const DEFAULT_TOKEN_SECONDS = 3600;

export interface VolumeFile {
  content: Buffer;
  mode: number;
}

export type VolumeFiles = Map<string, VolumeFile>;

export interface PodFacts {
  podIP: string;
  hostIP: string;
}

/** @throws Error if something that is not optional is missing */
export async function filesOf(volume: Volume, pod: Pod, source: ConfigSource, facts: PodFacts): Promise<VolumeFiles> {
  const { configMap, secret, downwardAPI, projected } = volume;
  const parts = projected?.sources ?? [
    {
      ...(configMap && { configMap }),
      ...(secret && { secret: { ...secret, name: secret.secretName } }),
      ...(downwardAPI && { downwardAPI }),
    },
  ];
  const mode = (configMap ?? secret ?? downwardAPI ?? projected)?.defaultMode ?? DEFAULT_MODE;
  const files: VolumeFiles = new Map();
  for (const part of parts)
    for (const [path, file] of await filesOfSource(part, pod, source, facts, mode)) files.set(path, file);
  return files;
}

async function filesOfSource(
  part: ProjectedSource,
  pod: Pod,
  source: ConfigSource,
  facts: PodFacts,
  mode: number,
): Promise<VolumeFiles> {
  const namespace = pod.metadata.namespace ?? 'default';
  if (part.configMap !== undefined) {
    const { name = '', items, optional } = part.configMap;
    const map = await source.configMap(namespace, name, optional);
    const content = new Map<string, Buffer>();
    for (const [key, text] of Object.entries(map?.data ?? {})) content.set(key, Buffer.from(text));
    for (const [key, text] of Object.entries(map?.binaryData ?? {})) content.set(key, Buffer.from(text, 'base64'));
    return select(content, items, mode, optional);
  }
  if (part.secret !== undefined) {
    const { name = '', items, optional } = part.secret;
    const secret = await source.secret(namespace, name, optional);
    const content = new Map<string, Buffer>();
    for (const [key, text] of Object.entries(secret?.data ?? {})) content.set(key, Buffer.from(text, 'base64'));
    return select(content, items, mode, optional);
  }
  const files: VolumeFiles = new Map();
  for (const item of part.downwardAPI?.items ?? []) {
    const { fieldRef, resourceFieldRef } = item;
    if (fieldRef === undefined && resourceFieldRef === undefined) continue;
    const text = fieldRef
      ? fieldText(pod, fieldRef.fieldPath, facts)
      : resourceText(pod.spec, resourceFieldRef!, thisMachine());
    const content = Buffer.from(text);
    files.set(insidePath(item.path), { content, mode: item.mode ?? mode });
  }
  if (part.serviceAccountToken !== undefined) {
    const { path, audience, expirationSeconds = DEFAULT_TOKEN_SECONDS } = part.serviceAccountToken;
    const token = await source.token(pod, audience, expirationSeconds);
    files.set(insidePath(path), { content: Buffer.from(token), mode });
  }
  return files;
}

/** All labels or annotations as lines (pkg/fieldpath, FormatMap), or a single value. */
function fieldText(pod: Pod, path: string, facts: PodFacts): string {
  const whole = /^metadata\.(labels|annotations)$/.exec(path);
  if (whole === null) return fieldOf(pod, path, facts);
  const pairs = Object.entries(pod.metadata[whole[1] as 'labels' | 'annotations'] ?? {});
  return pairs
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .sort()
    .join('\n');
}

function select(
  content: ReadonlyMap<string, Buffer>,
  items: KeyToPath[] | undefined,
  defaultMode: number,
  optional = false,
): VolumeFiles {
  const files: VolumeFiles = new Map();
  if (items === undefined) for (const [key, bytes] of content) files.set(key, { content: bytes, mode: defaultMode });
  for (const { key, path, mode } of items ?? []) {
    const bytes = content.get(key);
    if (bytes !== undefined) files.set(insidePath(path), { content: bytes, mode: mode ?? defaultMode });
    else if (!optional) throw new Error(`references non-existent config key: ${key}`);
  }
  return files;
}

/** A relative path that stays inside its directory. @throws Error */
export function insidePath(path: string): string {
  const plain = normalize(path);
  if (plain.startsWith('/') || plain.split('/').includes('..'))
    throw new Error(`path "${path}" leads out of the volume`);
  return plain;
}
