/**
 * The published types as OpenAPI schemas, which kubectl uses for `explain`, merging and validation. Versions 2 and 3
 * differ in how a reference is written beside a description, and in how a value of one of two types is declared.
 */
import {
  EXTENSIONS,
  isScalar,
  META,
  type PublishedField,
  publishedType,
  RUNTIME,
  TEXT_LISTS,
} from '../published/types.ts';
import type { Resource } from '../resources.ts';

export type OpenApiSchema = Record<string, unknown>;
export type Version = 'v2' | 'v3';

/** `k8s.io.api.core.v1.Pod` → `io.k8s.api.core.v1.Pod`: the domain name of the Go package, reversed. */
function definitionName(type: string): string {
  return type.replace(/^k8s\.io\./, 'io.k8s.').replace('apiextensions_apiserver', 'apiextensions-apiserver');
}

const ROOT: Readonly<Record<Version, string>> = { v2: '#/definitions/', v3: '#/components/schemas/' };

export const reference = (type: string, version: Version): OpenApiSchema => ({
  $ref: ROOT[version] + definitionName(type),
});

const SCALARS: Readonly<Record<string, OpenApiSchema>> = {
  string: { type: 'string' },
  bool: { type: 'boolean' },
  bytes: { type: 'string', format: 'byte' },
  int32: { type: 'integer', format: 'int32' },
  int64: { type: 'integer', format: 'int64' },
  double: { type: 'number', format: 'double' },
};

/** Types whose JSON is not an object with their fields (OpenAPISchemaType and OpenAPIV3OneOfTypes of each in Go). */
const SPECIAL: Readonly<Record<string, Record<Version, OpenApiSchema>>> = {
  [`${META}.Time`]: both({ type: 'string', format: 'date-time' }),
  [`${META}.MicroTime`]: both({ type: 'string', format: 'date-time' }),
  [`${META}.FieldsV1`]: both({ type: 'object' }),
  [`${RUNTIME}.RawExtension`]: both({ type: 'object' }),
  'k8s.io.apimachinery.pkg.api.resource.Quantity': {
    v2: { type: 'string' },
    v3: { oneOf: [{ type: 'string' }, { type: 'number' }] },
  },
  'k8s.io.apimachinery.pkg.util.intstr.IntOrString': {
    v2: { type: 'string', format: 'int-or-string' },
    v3: { oneOf: [{ type: 'integer' }, { type: 'string' }], format: 'int-or-string' },
  },
  [`${EXTENSIONS}.JSON`]: both({}),
  [`${EXTENSIONS}.JSONSchemaPropsOrArray`]: both({}),
  [`${EXTENSIONS}.JSONSchemaPropsOrBool`]: both({}),
  [`${EXTENSIONS}.JSONSchemaPropsOrStringArray`]: both({}),
  ...Object.fromEntries(TEXT_LISTS.map((type) => [type, both({ type: 'array', items: { type: 'string' } })])),
};

function both(schema: OpenApiSchema): Record<Version, OpenApiSchema> {
  return { v2: schema, v3: schema };
}

/** The schemas of one document. Adding a type also adds the types it refers to. */
export class Definitions {
  readonly schemas: Record<string, OpenApiSchema> = {};
  private readonly version: Version;
  private readonly kinds: Map<string, OpenApiSchema[]>;

  constructor(version: Version, kinds: Map<string, OpenApiSchema[]>) {
    this.version = version;
    this.kinds = kinds;
  }

  /** Adds a type and what it refers to. */
  add(type: string): void {
    const name = definitionName(type);
    if (this.schemas[name] !== undefined) return;
    this.schemas[name] = {}; // Set before its fields are read: types are recursive.
    this.schemas[name] = this.schemaOf(type);
  }

  /** Adds a custom kind, by the schema of its definition, and its list. */
  addCustom(type: string, schema: OpenApiSchema): void {
    const kinds = (name: string) => ({ 'x-kubernetes-group-version-kind': this.kinds.get(name) });
    this.add(`${META}.ObjectMeta`);
    this.add(`${META}.ListMeta`);
    const metadata = (meta: string) => {
      const one = reference(`${META}.${meta}`, this.version);
      return this.version === 'v2' ? one : { allOf: [one] };
    };
    const own = (this.version === 'v2' ? plainForV2(schema) : schema) as OpenApiSchema;
    const properties = { ...(own.properties as object), ...TYPE_META, metadata: metadata('ObjectMeta') };
    this.schemas[type] = { ...own, type: 'object', properties, ...kinds(type) };
    const items = { type: 'array', items: reference(type, this.version) };
    this.schemas[`${type}List`] = {
      type: 'object',
      required: ['items'],
      properties: { ...TYPE_META, metadata: metadata('ListMeta'), items },
      ...kinds(`${type}List`),
    };
  }

  private schemaOf(type: string): OpenApiSchema {
    const { description, fields, atomic } = publishedType(type);
    const text = description === '' ? {} : { description };
    const special = SPECIAL[type];
    if (special !== undefined) return { ...text, ...special[this.version] };
    const kinds = this.kinds.get(type);
    const properties: Record<string, OpenApiSchema> = kinds === undefined ? {} : { ...TYPE_META };
    const required: string[] = [];
    for (const [name, field] of fields) {
      properties[name] = this.fieldSchema(field);
      if (field.required) required.push(name);
    }
    return {
      ...text,
      type: 'object',
      ...(required.length > 0 && { required }),
      properties,
      ...(atomic && { 'x-kubernetes-map-type': 'atomic' }),
      ...(kinds !== undefined && { 'x-kubernetes-group-version-kind': kinds }),
    };
  }

  private fieldSchema(field: PublishedField): OpenApiSchema {
    const { description, defaultValue, list, map } = field;
    const text = description === '' ? {} : { description };
    const fallback = defaultValue === undefined ? {} : { default: readDefault(defaultValue) };
    const one = this.elementSchema(field);
    if (list) return { ...text, type: 'array', items: one, ...listExtensions(field) };
    if (map) {
      const mapType = field.atomic ? { 'x-kubernetes-map-type': 'atomic' } : {};
      return { ...text, type: 'object', additionalProperties: one, ...mapType };
    }
    const extensions = listExtensions(field);
    if (one.$ref === undefined) return { ...text, ...fallback, ...one, ...extensions };
    // In version 2 members beside a $ref have no meaning, but Kubernetes' published documents have them all the same.
    return this.version === 'v2'
      ? { ...text, ...one, ...extensions }
      : { ...text, ...fallback, allOf: [one], ...extensions };
  }

  private elementSchema({ type, values }: PublishedField): OpenApiSchema {
    if (isScalar(type)) return { ...SCALARS[type], ...(values !== undefined && { enum: [...values] }) };
    this.add(type);
    return reference(type, this.version);
  }
}

/** Removes what version 2 cannot express: anyOf and nullable (apiextensions-apiserver/pkg/controller/openapi/v2). */
function plainForV2(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(plainForV2);
  if (typeof schema !== 'object' || schema === null) return schema;
  const entries = Object.entries(schema).filter(([keyword]) => !/^(oneOf|anyOf|allOf|not|nullable)$/.test(keyword));
  return Object.fromEntries(entries.map(([keyword, value]) => [keyword, plainForV2(value)]));
}

/** A `+default` marker of Go: JSON, or plain text. */
function readDefault(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function listExtensions({ list, listType, listMapKeys, patchStrategy, patchMergeKey }: PublishedField): OpenApiSchema {
  return {
    ...(listMapKeys.length > 0 && { 'x-kubernetes-list-map-keys': listMapKeys }),
    ...(list && listType !== undefined && { 'x-kubernetes-list-type': listType }),
    ...(patchMergeKey !== undefined && { 'x-kubernetes-patch-merge-key': patchMergeKey }),
    ...(patchStrategy !== undefined && { 'x-kubernetes-patch-strategy': patchStrategy }),
  };
}

const TYPE_META: Readonly<Record<string, OpenApiSchema>> = {
  apiVersion: {
    description:
      'APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized ' +
      'schemas to the latest internal value, and may reject unrecognized values. More info: ' +
      'https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources',
    type: 'string',
  },
  kind: {
    description:
      'Kind is a string value representing the REST resource this object represents. Servers may infer this from the ' +
      'endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: ' +
      'https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds',
    type: 'string',
  },
};

export const groupVersionKind = ({ group, version }: Resource, kind: string): OpenApiSchema => ({
  group,
  kind,
  version,
});
