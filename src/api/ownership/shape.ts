/**
 * How a value merges: field by field, element by element, or atomically (the schema of structured-merge-diff). Taken
 * from the published types. In custom resources maps are granular and lists atomic, unless the schema has
 * x-kubernetes-* markers.
 */
import type { StructuralSchema } from '../custom/structural.ts';
import { isScalar, META, type PublishedField, publishedType, RUNTIME } from '../published/types.ts';

export type Shape =
  /** Atomic: replaced as a whole. */
  | { merge: 'whole' }
  /** By field; `field` gives the shape of each. */
  | { merge: 'fields'; field: (name: string) => Shape }
  /** A list of objects, identified by these fields. */
  | { merge: 'keys'; keys: readonly ListKey[]; item: Shape }
  /** A list of scalars with set semantics. */
  | { merge: 'set' };

export interface ListKey {
  name: string;
  /** The default for elements that leave the key out. */
  fallback: unknown;
}

export const WHOLE: Shape = { merge: 'whole' };
/** The shape of a type without a schema. */
export const UNTYPED: Shape = { merge: 'fields', field: () => UNTYPED_VALUE };
const UNTYPED_VALUE: Shape = UNTYPED;

/** Types whose JSON is not an object with the type's fields, or may be any object. */
const OPAQUE = new Set([
  `${META}.Time`,
  `${META}.MicroTime`,
  `${META}.FieldsV1`,
  `${RUNTIME}.RawExtension`,
  'k8s.io.apimachinery.pkg.api.resource.Quantity',
  'k8s.io.apimachinery.pkg.util.intstr.IntOrString',
  'k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSON',
  'k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray',
  'k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool',
  'k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray',
]);

const shapes = new Map<string, Shape>();

/** The shape of a published type. */
export function shapeOfType(type: string): Shape {
  if (isScalar(type) || OPAQUE.has(type)) return WHOLE;
  let shape = shapes.get(type);
  if (shape === undefined) {
    const { fields, atomic } = publishedType(type);
    const known = new Map<string, Shape>();
    shape = atomic
      ? WHOLE
      : {
          merge: 'fields',
          field: (name) => {
            const of = known.get(name);
            if (of !== undefined) return of;
            const field = fields.get(name);
            const made = field === undefined ? WHOLE : shapeOfField(field);
            known.set(name, made);
            return made;
          },
        };
    shapes.set(type, shape);
  }
  return shape;
}

function shapeOfField(field: PublishedField): Shape {
  const { type, list, map, atomic, listType, listMapKeys } = field;
  if (atomic) return WHOLE;
  if (list) {
    if (listType === 'set') return { merge: 'set' };
    if (listType !== 'map' || listMapKeys.length === 0) return WHOLE;
    const inner = publishedType(type).fields;
    const keys = listMapKeys.map((name) => ({ name, fallback: inner.get(name)?.defaultValue }));
    return { merge: 'keys', keys, item: shapeOfType(type) };
  }
  if (map) {
    const value = shapeOfType(type);
    return { merge: 'fields', field: () => value };
  }
  return shapeOfType(type);
}

/** The shape of a custom resource, by its structural schema. */
export function shapeOfSchema(schema: StructuralSchema): Shape {
  const { properties, additionalProperties, items } = schema;
  if (schema.type === 'array' || items !== undefined) {
    const listType = schema['x-kubernetes-list-type'];
    if (listType === 'set') return { merge: 'set' };
    const names = schema['x-kubernetes-list-map-keys'] ?? [];
    if (listType !== 'map' || items === undefined || names.length === 0) return WHOLE;
    const keys = names.map((name) => ({ name, fallback: items.properties?.[name]?.default }));
    return { merge: 'keys', keys, item: shapeOfSchema(items) };
  }
  if (schema['x-kubernetes-map-type'] === 'atomic') return WHOLE;
  if (schema.type !== 'object') return schema['x-kubernetes-preserve-unknown-fields'] ? UNTYPED : WHOLE;
  return {
    merge: 'fields',
    field: (name) => {
      const own = properties?.[name];
      if (own !== undefined) return shapeOfSchema(own);
      return typeof additionalProperties === 'object' ? shapeOfSchema(additionalProperties) : UNTYPED;
    },
  };
}

/** The element of a path that names an item of a list by its keys: `k:{"name":"c"}`. */
export function keyElement(keys: readonly ListKey[], item: unknown): string {
  const members = (item ?? {}) as Record<string, unknown>;
  const named = keys.map(({ name, fallback }) => [name, members[name] ?? fallback] as const);
  const sorted = named.filter(([, value]) => value !== undefined).sort(([a], [b]) => (a < b ? -1 : 1));
  return `k:${JSON.stringify(Object.fromEntries(sorted))}`;
}

export const valueElement = (value: unknown): string => `v:${JSON.stringify(value)}`;
export const fieldElement = (name: string): string => `f:${name}`;
