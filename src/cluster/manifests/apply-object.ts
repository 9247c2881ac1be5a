/**
 * Creates or updates an object from a manifest: kubectl's three-way apply. Fields that an earlier apply set and this
 * manifest no longer has are removed; fields set by others stay.
 */
import type { ApiClient } from '../../api/client/client.ts';
import { ApiError } from '../../api/errors.ts';
import { fieldOf, mergeKeyOf } from '../../api/patches/strategic.ts';
import { type PublishedField, typeNameOf } from '../../api/published/types.ts';
import { resourceOfKind } from '../../api/resources.ts';
import { type Kind, type KubeObject, type Manifest, WellKnown } from '../../api/types/objects.ts';

const { LAST_APPLIED } = WellKnown;

export type Outcome = 'created' | 'configured' | 'unchanged';

export interface ApplyOptions {
  dryRun?: boolean;
  onWarning?: (text: string) => void;
}

type Json = unknown;
type JsonObject = Record<string, Json>;
const isObject = (value: Json): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Applies one manifest with name and namespace; `before` is the object as it was. @throws ApiError */
export async function applyObject(
  client: ApiClient,
  manifest: Manifest<KubeObject>,
  options: ApplyOptions = {},
): Promise<{ outcome: Outcome; object: KubeObject; before: KubeObject | undefined }> {
  const kind = manifest.kind as Kind;
  const name = manifest.metadata.name!;
  const { namespace } = manifest.metadata;
  const wanted = withLastApplied(manifest);
  for (let attempt = 0; ; attempt++) {
    const present = (await client.find(kind, name, namespace)) as KubeObject | undefined;
    try {
      if (present === undefined) {
        return { outcome: 'created', object: await client.create<KubeObject>(wanted, options), before: undefined };
      }
      const last = present.metadata.annotations?.[LAST_APPLIED];
      const patch = threeWayPatch(last === undefined ? undefined : JSON.parse(last), wanted, kind);
      const where = { ...(namespace && { namespace }), type: 'strategic' as const };
      const object = await client.patch(kind, name, patch, { ...where, ...options });
      const same = object.metadata.resourceVersion === present.metadata.resourceVersion;
      return { outcome: same ? 'unchanged' : 'configured', object, before: present };
    } catch (error) {
      // The object was created or removed between the read and the write.
      const raced =
        error instanceof ApiError && (error.reason === 'AlreadyExists' || error.code === 404) && attempt < 3;
      if (!raced || (present === undefined && error.code === 404)) throw error;
    }
  }
}

/** The manifest with the annotation that contains it, as kubectl does. */
export function withLastApplied(manifest: Manifest<KubeObject>): Manifest<KubeObject> {
  const { [LAST_APPLIED]: _before, ...annotations } = manifest.metadata.annotations ?? {};
  const plain = { ...manifest, metadata: { ...manifest.metadata, annotations } };
  const text = `${JSON.stringify(plain)}\n`;
  return { ...manifest, metadata: { ...manifest.metadata, annotations: { ...annotations, [LAST_APPLIED]: text } } };
}

/** The manifest as a strategic merge patch, with deletions for everything that only `last` has. */
export function threeWayPatch(last: Json, wanted: Json, kind: Kind): Json {
  const { group, version } = resourceOfKind(kind)!;
  const {
    apiVersion: _v,
    kind: _k,
    ...patch
  } = mergeInto(last, wanted, typeNameOf(group, version, kind)) as JsonObject;
  return patch;
}

function mergeInto(last: Json, wanted: Json, type: string | undefined): Json {
  if (!isObject(wanted)) return wanted;
  const patch: JsonObject = {};
  const before = isObject(last) ? last : {};
  for (const key of Object.keys(before)) if (!(key in wanted)) patch[key] = null;
  for (const [key, value] of Object.entries(wanted)) {
    const field = fieldOf(type, key);
    patch[key] = Array.isArray(value)
      ? mergeList(before[key], value, field)
      : mergeInto(before[key], value, field?.map ? undefined : field?.type);
  }
  return patch;
}

function mergeList(last: Json, wanted: Json[], field: PublishedField | undefined): Json[] {
  const mergeKey = mergeKeyOf(field);
  if (mergeKey === undefined || !wanted.every(isObject)) return wanted;
  const items = wanted as JsonObject[];
  const keys = new Set(items.map((item) => item[mergeKey]));
  // Two elements with the same key, such as port 53 over TCP and UDP, would be merged into one (kubernetes #39188).
  if (keys.size < items.length) return [...items, { $patch: 'replace' }];
  const before = (Array.isArray(last) ? last.filter(isObject) : []) as JsonObject[];
  const merged = items.map((item) => {
    const old = before.find((element) => element[mergeKey] === item[mergeKey]);
    return mergeInto(old, item, field!.type);
  });
  const gone = before.filter((element) => !keys.has(element[mergeKey]));
  return [...merged, ...gone.map((element) => ({ $patch: 'delete', [mergeKey]: element[mergeKey] }))];
}
