/**
 * Field ownership after a write (`metadata.managedFields`): the shape of the kind, the subresource and the writer. The
 * sets themselves are in `ownership/managed-fields.ts`.
 */
import { isDeepStrictEqual } from 'node:util';
import type { StructuralSchema } from '../custom/structural.ts';
import { afterUpdate, type Typed, type Writer } from '../ownership/managed-fields.ts';
import { shapeOfSchema, shapeOfType, UNTYPED } from '../ownership/shape.ts';
import { typeNameOf } from '../published/types.ts';
import { apiVersionOf, type Resource } from '../resources.ts';
import type { KubeObject, ManagedFieldsEntry } from '../types/objects.ts';
import { nowText } from './store.ts';

/** The writer, and the subresource of the write. */
interface By {
  manager?: string | undefined;
  subresource?: string | undefined;
}

/** The entries that a client sends with an object; undefined if there are none, or something else is in their place. */
export function entriesIn(input: unknown): ManagedFieldsEntry[] | undefined {
  const given = (input as Partial<KubeObject> | null | undefined)?.metadata?.managedFields as unknown;
  if (!Array.isArray(given)) return undefined;
  return given.every((entry) => typeof entry === 'object' && entry !== null) ? given : undefined;
}

export function withOwners<T extends KubeObject>(object: T, managedFields: ManagedFieldsEntry[] | undefined): T {
  const { managedFields: _before, ...metadata } = object.metadata;
  return { ...object, metadata: { ...metadata, ...(managedFields && { managedFields }) } };
}

export function typedOf(resource: Resource): Typed {
  const { group, version, kind, custom, status } = resource;
  if (custom !== undefined) return { shape: shapeOfSchema(custom.schema as StructuralSchema), hasStatus: status };
  const type = typeNameOf(group, version, kind);
  return { shape: type === undefined ? UNTYPED : shapeOfType(type), hasStatus: status };
}

export function writerOf(resource: Resource, { manager = '', subresource }: By): Writer {
  return { manager, apiVersion: apiVersionOf(resource), subresource, time: nowText() };
}

/** The entries after a write. A client that gives no name owns nothing. */
export function ownersAfter(
  resource: Resource,
  old: KubeObject | undefined,
  object: KubeObject,
  given: ManagedFieldsEntry[] | undefined,
  by: By,
): ManagedFieldsEntry[] | undefined {
  if (by.manager === undefined) return given ?? old?.metadata.managedFields;
  return afterUpdate(typedOf(resource), old, object, given, writerOf(resource, by));
}

/**
 * The object with its owners after a component of the cluster changed it: what changes with the status through the
 * status subresource, as if written there.
 */
export function ownersAfterChange<T extends KubeObject>(resource: Resource, object: T, old: T, manager: string): T {
  const [before, after] = [old as Stated, object as Stated];
  const inStatus = resource.status && !isDeepStrictEqual(before.status, after.status);
  const outside = !isDeepStrictEqual(specOf(before), specOf(after));
  let owned: T = object;
  if (outside || !inStatus) {
    // What the status has not yet to do with: its change is the second write.
    const half = inStatus ? withStatus(object, before.status) : object;
    owned = withOwners(object, ownersAfter(resource, old, half, undefined, { manager }));
  }
  if (!inStatus) return owned;
  const start = outside ? withOwners(withStatus(object, before.status), owned.metadata.managedFields) : old;
  return withOwners(object, ownersAfter(resource, start, object, undefined, { manager, subresource: 'status' }));
}

type Stated = KubeObject & { status?: unknown };

function withStatus<T extends KubeObject>(object: T, status: unknown): T {
  const { status: _now, ...rest } = object as T & { status?: unknown };
  return (status === undefined ? rest : { ...rest, status }) as T;
}

/** Everything but metadata and status: whose changes `metadata.generation` counts. */
export function specOf(object: KubeObject): unknown {
  const { metadata, status, ...rest } = object as Stated;
  return rest;
}
