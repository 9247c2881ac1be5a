/**
 * The published types of the Kubernetes API: every field with its protobuf number, description and merge strategy. They
 * come from the .proto files of k8s.io/api (Apache-2.0); `scripts/published-types.mjs` converts them to the JSON files
 * of this folder. A package is read when one of its types is first used.
 */
import { createRequire } from 'node:module';

/** As in the JSON files: a descriptor of protobufjs. */
export interface FieldDescriptor {
  type: string;
  id: number;
  rule?: 'repeated';
  keyType?: 'string';
  options?: Record<string, string | boolean>;
  comment?: string;
}

export interface MessageDescriptor {
  fields: Record<string, FieldDescriptor>;
  oneofs?: Record<string, { oneof: string[] }>;
  options?: { atomic?: boolean };
  comment?: string;
}

/** One field as it is in JSON; fields of inlined structs belong to the type around them. */
export interface PublishedField {
  /** A scalar (`string`, `int32`, `bytes`, …) or the full name of a type. Of a list or map: that of its elements. */
  type: string;
  list: boolean;
  map: boolean;
  required: boolean;
  description: string;
  /** The values of an enum; undefined if any text is allowed. */
  values: readonly string[] | undefined;
  patchStrategy: string | undefined;
  patchMergeKey: string | undefined;
  /** The list type for structured merge; undefined means atomic (lists) or granular (maps and structs). */
  listType: 'map' | 'set' | 'atomic' | undefined;
  listMapKeys: readonly string[];
  /** The map or struct is replaced as a whole. */
  atomic: boolean;
  defaultValue: string | undefined;
}

export interface PublishedType {
  /** `k8s.io.api.core.v1.Pod` */
  name: string;
  description: string;
  fields: ReadonlyMap<string, PublishedField>;
  /** The struct is replaced as a whole. */
  atomic: boolean;
}

export const META = 'k8s.io.apimachinery.pkg.apis.meta.v1';
export const RUNTIME = 'k8s.io.apimachinery.pkg.runtime';
export const EXTENSIONS = 'k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1';
/** Named Go types of a list of strings. */
export const TEXT_LISTS: readonly string[] = ['authentication', 'authorization', 'certificates'].map(
  (group) => `k8s.io.api.${group}.v1.ExtraValue`,
);
/** Not published as protobuf: in Kubernetes it is a custom resource. */
const CLUSTER_POLICIES = 'k8s.io.networking.policy.v1alpha2';
const METRICS = 'k8s.io.metrics.pkg.apis.metrics.v1beta1';
export const OPENAPI_V2 = 'openapi.v2';

const FILES: Readonly<Record<string, string>> = {
  [META]: 'apis-meta-v1',
  [RUNTIME]: 'runtime',
  [EXTENSIONS]: 'apiextensions-v1',
  [METRICS]: 'metrics-v1beta1',
  [CLUSTER_POLICIES]: 'policy-networking-v1alpha2',
  [OPENAPI_V2]: 'openapi-v2',
  'k8s.io.apimachinery.pkg.api.resource': 'api-resource',
  'k8s.io.apimachinery.pkg.util.intstr': 'util-intstr',
  ...Object.fromEntries(
    ['core/v1', 'apps/v1', 'batch/v1', 'autoscaling/v1', 'autoscaling/v2', 'networking/v1', 'policy/v1', 'storage/v1']
      .concat(['rbac/v1', 'discovery/v1', 'events/v1', 'coordination/v1', 'scheduling/v1', 'node/v1'])
      .concat(['admissionregistration/v1', 'authorization/v1', 'authentication/v1', 'certificates/v1'])
      .map((path) => [`k8s.io.api.${path.replace('/', '.')}`, path.replace('/', '-')]),
  ),
};

export const PACKAGES: readonly string[] = Object.keys(FILES);

const require = createRequire(import.meta.url);

/** All messages of a package, by name. */
export function messagesOf(packageName: string): Readonly<Record<string, MessageDescriptor>> {
  const file = FILES[packageName];
  if (file === undefined) throw new TypeError(`no published package is called ${packageName}`);
  // The same relative path works in the bundle, where these files are in published/ beside cli/.
  return (require(`../published/${file}.json`) as { messages: Record<string, MessageDescriptor> }).messages;
}

const SCALARS = new Set(['string', 'bool', 'bytes', 'int32', 'int64', 'uint32', 'uint64', 'double', 'float']);

export const isScalar = (type: string): boolean => SCALARS.has(type);

const types = new Map<string, PublishedType>();

/** Throws TypeError for a type that is not published. */
export function publishedType(name: string): PublishedType {
  const known = types.get(name);
  if (known !== undefined) return known;
  const dot = name.lastIndexOf('.');
  const packageName = name.slice(0, dot);
  const message = messagesOf(packageName)[name.slice(dot + 1)];
  if (message === undefined) throw new TypeError(`no published type is called ${name}`);
  const type: PublishedType = {
    name,
    description: message.comment ?? '',
    fields: new Map(fieldsOf(packageName, message)),
    atomic: message.options?.atomic === true,
  };
  types.set(name, type);
  return type;
}

/** The full name of the type that a field of `packageName` calls `type`. */
export const fullName = (packageName: string, type: string): string =>
  isScalar(type) || type.includes('.') ? type : `${packageName}.${type}`;

function* fieldsOf(packageName: string, message: MessageDescriptor): Generator<[string, PublishedField]> {
  for (const [protoName, field] of Object.entries(message.fields)) {
    const type = fullName(packageName, field.type);
    const { inline, jsonName, required, listType, ...options } = (field.options ?? {}) as Record<string, string>;
    if (inline) {
      yield* publishedType(type).fields;
      continue;
    }
    yield [
      jsonName ?? protoName,
      {
        type,
        list: field.rule === 'repeated',
        map: field.keyType !== undefined,
        required: Boolean(required),
        description: field.comment ?? '',
        values: options.enum?.split(','),
        patchStrategy: options.patchStrategy,
        patchMergeKey: options.patchMergeKey,
        listType: listType as PublishedField['listType'],
        listMapKeys: options.listMapKeys?.split(',') ?? [],
        atomic: options.mapType === 'atomic' || options.structType === 'atomic',
        defaultValue: options.default,
      },
    ];
  }
}

/** Groups whose types are not in k8s.io/api. */
const OTHER_PACKAGES: Readonly<Record<string, string>> = {
  'apiextensions.k8s.io': EXTENSIONS,
  'metrics.k8s.io': METRICS,
  'policy.networking.k8s.io': CLUSTER_POLICIES,
};

/** The published type of a kind; undefined for custom resources. */
export function typeNameOf(group: string, version: string, kind: string): string | undefined {
  const packageName = OTHER_PACKAGES[group] ?? `k8s.io.api.${group === '' ? 'core' : group.split('.')[0]}.${version}`;
  const publishedGroup = group === '' || !group.includes('.') || group.endsWith('.k8s.io');
  if (!publishedGroup || FILES[packageName] === undefined || messagesOf(packageName)[kind] === undefined)
    return undefined;
  return `${packageName}.${kind}`;
}

/** Does Kubernetes serve the kinds of this group as protobuf? The others are custom resources. */
export const hasProtobuf = (group: string, version: string, kind: string): boolean =>
  OTHER_PACKAGES[group] !== CLUSTER_POLICIES && typeNameOf(group, version, kind) !== undefined;
