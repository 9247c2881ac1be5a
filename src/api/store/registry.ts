/**
 * What a write means: from a user's manifest to a stored object. Synchronous throughout, so a write, with everything
 * admission picks for it (addresses, ports), is one transaction.
 *
 * Order: path and name → schema → defaults → `prepare` (what the old object hands on) → rules → `admit` (checks against
 * the cluster, allocation) → store. Admission plug-ins keep no state of their own: what is taken they read from indexes
 * over the store, so a dry run or a failed write leaves nothing behind.
 */
import { isDeepStrictEqual } from 'node:util';
import { checkCustom } from '../custom/check.ts';
import { type Definition, establishedStatus, withDefinitionDefaults } from '../custom/definition.ts';
import { CustomKinds } from '../custom/kinds.ts';
import type { StructuralSchema } from '../custom/structural.ts';
import {
  type ApiError,
  alreadyExists,
  applyConflict,
  badRequest,
  conflict,
  type FieldError,
  forbidden,
  invalid,
  MODIFIED,
  notFound,
} from '../errors.ts';
import { afterUpdate, apply, type Typed, type Writer } from '../ownership/managed-fields.ts';
import { shapeOfSchema, shapeOfType, UNTYPED } from '../ownership/shape.ts';
import { typeNameOf } from '../published/types.ts';
import { apiVersionOf, collectionOf, hasGeneration, type Resource } from '../resources.ts';
import { checkRules } from '../rules/object.ts';
import { checkFinalizers, checkUpdate } from '../rules/update.ts';
import { withDefaults } from '../schema/defaults.ts';
import { checkSchema, type FieldWarning, withoutNulls } from '../schema/schema.ts';
import type { Kind, KubeObject, ManagedFieldsEntry, ObjectByKind, ObjectMeta, StoredObject } from '../types/objects.ts';
import { afterDeletion, checkPreconditions, type DeleteRequest } from './deletion.ts';
import { nowText, type Store } from './store.ts';

export interface Admission<T extends KubeObject = KubeObject> {
  /** Carries over from `old` what the new state leaves out or may not keep. Before the rules are checked. */
  prepare?(object: T, old: T | undefined): T;
  /** Last word before storing: allocates, or throws ApiError. Must not change anything itself. */
  admit?(object: T, old: T | undefined, subresource: 'status' | undefined): T;
  /** May it be deleted? Throws ApiError. */
  checkDelete?(object: T): void;
}

export type Admissions = { [K in Kind]?: Admission<ObjectByKind[K]> };

/** Asked last about every write of every kind, with the object as it would be stored. Throws ApiError. */
export type Gate = (resource: Resource, object: KubeObject, old: KubeObject | undefined) => void;

export interface WriteRequest {
  dryRun?: boolean;
  fieldValidation?: 'Strict' | 'Warn' | 'Ignore';
  subresource?: 'status' | undefined;
  /** Who writes, for the ownership of fields. */
  manager?: string;
  /** An apply takes over what others own. */
  force?: boolean;
}

export interface WriteResult {
  object: KubeObject;
  warnings: FieldWarning[];
}

export class Registry {
  readonly store: Store;
  readonly kinds: CustomKinds;
  private readonly admissions: Admissions;
  private readonly gate: Gate;

  constructor(store: Store, admissions: Admissions = {}, gate: Gate = () => {}) {
    this.store = store;
    this.gate = gate;
    this.kinds = new CustomKinds(store);
    this.admissions = { CustomResourceDefinition: DEFINITIONS, ...admissions };
  }

  /** Throws ApiError 404. */
  get(resource: Resource, namespace: string | undefined, name: string): KubeObject {
    const found = this.store.get(resource.key, namespace, name);
    if (found === undefined) throw notFound(resource, name);
    return found;
  }

  create(resource: Resource, namespace: string | undefined, input: unknown, request: WriteRequest = {}): WriteResult {
    const given = managedFieldsOf(input);
    return this.insert(resource, namespace, input, request, (object) =>
      this.trackedFields(resource, undefined, object, given, request),
    );
  }

  /** Server-side apply: creates what is not there, and changes what the configuration names or names no longer. */
  apply(
    resource: Resource,
    namespace: string | undefined,
    name: string,
    input: unknown,
    request: WriteRequest,
  ): WriteResult & { created: boolean } {
    const config = withoutNulls(this.address(resource, namespace, name, input)) as { metadata: Partial<ObjectMeta> };
    if (managedFieldsOf(input)?.length) throw badRequest('metadata.managedFields must be nil');
    const live = this.store.get(resource.key, namespace, name);
    if (live === undefined && request.subresource !== undefined) throw notFound(resource, name);
    if (live === undefined && config.metadata.uid) {
      const why = `uid mismatch: the provided object specified uid ${config.metadata.uid}, and no existing object was found`;
      throw conflict(resource, name, why);
    }
    const force = request.force === true;
    const { object, managedFields, conflicts } = apply(
      typedOf(resource),
      live,
      config,
      force,
      writerOf(resource, request),
    );
    if (conflicts.length > 0) throw applyConflict(conflicts);
    const owners = () => managedFields;
    if (live === undefined) return { ...this.insert(resource, namespace, object, request, owners), created: true };
    return { ...this.replace(resource, live, object, request, owners), created: false };
  }

  private insert(
    resource: Resource,
    namespace: string | undefined,
    input: unknown,
    request: WriteRequest,
    owners: (object: KubeObject) => ManagedFieldsEntry[] | undefined,
  ): WriteResult {
    const addressed = this.address(resource, namespace, undefined, input);
    const { metadata } = addressed;
    if (metadata.resourceVersion) throw badRequest('resourceVersion should not be set on objects to be created');
    if (!metadata.name && metadata.generateName) metadata.name = this.generateName(resource, namespace, metadata);
    if (!metadata.name) {
      const message = 'Required value: name or generateName is required';
      throw invalid(resource, '', [{ path: 'metadata.name', message, reason: 'FieldValueRequired' }]);
    }
    for (const key of ['uid', 'creationTimestamp', 'deletionTimestamp', 'generation', 'resourceVersion'] as const) {
      delete metadata[key];
    }
    if (resource.status && resource.kind !== 'Node') delete (addressed as { status?: unknown }).status;
    const checked = this.check(resource, addressed, undefined, request);
    if (resource.namespaced) this.checkNamespace(resource, namespace!, metadata.name!);
    if (this.store.get(resource.key, namespace, metadata.name!)) throw alreadyExists(resource, metadata.name!);
    const object = this.admit(resource, withOwners(checked.object, owners(checked.object)), undefined, undefined);
    if (request.dryRun) return { object: unsaved(object), warnings: checked.warnings };
    return { object: this.store.insert(asStored(resource, object)), warnings: checked.warnings };
  }

  update(
    resource: Resource,
    namespace: string | undefined,
    name: string,
    input: unknown,
    request: WriteRequest = {},
  ): WriteResult {
    const old = this.get(resource, namespace, name);
    const given = managedFieldsOf(input);
    return this.replace(resource, old, input, request, (object) =>
      this.trackedFields(resource, old, object, given, request),
    );
  }

  private replace(
    resource: Resource,
    old: KubeObject,
    input: unknown,
    request: WriteRequest,
    owners: (object: KubeObject) => ManagedFieldsEntry[] | undefined,
  ): WriteResult {
    const { name, namespace } = old.metadata;
    const given = this.address(resource, namespace, name, input);
    const { uid, resourceVersion } = given.metadata;
    if (resourceVersion && resourceVersion !== old.metadata.resourceVersion) throw conflict(resource, name, MODIFIED);
    if (uid && uid !== old.metadata.uid) {
      const why = `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${old.metadata.uid}`;
      throw conflict(resource, name, why);
    }
    const merged = keepServerFields(resource, given as KubeObject, old, request.subresource);
    const { object: checked, warnings } = this.check(resource, merged, old, request);
    const object = this.admit(resource, withOwners(checked, owners(checked)), old, request.subresource);
    return { object: this.write(asStored(resource, object), old, request.dryRun), warnings };
  }

  /** A write by somebody to one part of an object, such as its scale: no rules, but the fields change their owner. */
  writeAs<T extends KubeObject>(resource: Resource, object: T, old: T, request: WriteRequest, subresource: string): T {
    const as = { ...request, subresource: subresource as 'status' };
    return this.write(
      withOwners(object, this.trackedFields(resource, old, object, undefined, as)),
      old,
      request.dryRun,
    );
  }

  /** Who owns the object's fields after this write. Who gives no name at all owns nothing. */
  private trackedFields(
    resource: Resource,
    old: KubeObject | undefined,
    object: KubeObject,
    given: ManagedFieldsEntry[] | undefined,
    request: WriteRequest,
  ): ManagedFieldsEntry[] | undefined {
    if (request.manager === undefined) return given ?? old?.metadata.managedFields;
    return afterUpdate(typedOf(resource), old, object, given, writerOf(resource, request));
  }

  /** A change by the cluster itself: no schema, no rules, no admission. Nothing happens when nothing differs. */
  write<T extends KubeObject>(object: T, old: T, dryRun = false): T {
    if (isDeepStrictEqual(object, old)) return old;
    const { generation = 1 } = old.metadata;
    const changed = hasGeneration(old) && !isDeepStrictEqual(specOf(object), specOf(old));
    const next = changed ? { ...object, metadata: { ...object.metadata, generation: generation + 1 } } : object;
    const { deletionTimestamp, finalizers } = next.metadata;
    if (deletionTimestamp !== undefined && !finalizers?.length && old.metadata.finalizers?.length) {
      // A pod whose containers may still be ending goes when its node says that they have.
      const ended = collectionOf(next) !== 'Pod' || !next.metadata.deletionGracePeriodSeconds;
      if (!dryRun && ended) return this.store.remove(old);
    }
    return dryRun ? next : this.store.replace(next, old);
  }

  /** Returns the object as it is while ending, or its last state when it is gone; `gone` says which. */
  delete(
    resource: Resource,
    namespace: string | undefined,
    name: string,
    request: DeleteRequest = {},
  ): { object: KubeObject; gone: boolean } {
    const old = this.get(resource, namespace, name);
    checkPreconditions(resource, old, request.preconditions);
    (this.admissions[resource.key] as Admission | undefined)?.checkDelete?.(old);
    const ending = afterDeletion(this.store, resource, old, request);
    if (ending === undefined) return { object: request.dryRun ? old : this.store.remove(old), gone: true };
    if (ending === old) return { object: old, gone: false };
    return { object: request.dryRun ? ending : this.store.replace(ending, old), gone: false };
  }

  /** The object with kind, name and namespace as the path has them; refuses when it says otherwise. A shallow copy. */
  private address(resource: Resource, namespace: string | undefined, name: string | undefined, input: unknown) {
    if (typeof input !== 'object' || input === null || Array.isArray(input)) throw badRequest('expected an object');
    const { apiVersion, kind, metadata } = input as Partial<KubeObject>;
    const expected = apiVersionOf(resource);
    if ((kind !== undefined && kind !== resource.kind) || (apiVersion !== undefined && apiVersion !== expected)) {
      throw badRequest(`expected ${expected} ${resource.kind}, got ${apiVersion ?? ''} ${kind ?? ''}`);
    }
    if (metadata !== undefined && (typeof metadata !== 'object' || metadata === null)) {
      throw badRequest('metadata: expected an object');
    }
    const { managedFields, selfLink, ...meta } = (metadata ?? {}) as Partial<ObjectMeta> & Record<string, unknown>;
    if (resource.namespaced) {
      if (meta.namespace && meta.namespace !== namespace) {
        throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
      }
      meta.namespace = namespace!;
    } else delete meta.namespace;
    if (name !== undefined) {
      if (meta.name && meta.name !== name) {
        throw badRequest(`the name of the object (${meta.name}) does not match the name on the URL (${name})`);
      }
      meta.name = name;
    }
    return { ...input, apiVersion: expected, kind: resource.kind, metadata: meta as Partial<ObjectMeta> };
  }

  private generateName(resource: Resource, namespace: string | undefined, metadata: Partial<ObjectMeta>): string {
    // Kubernetes' alphabet: no vowels and nothing that looks like another character (util/rand).
    const alphabet = 'bcdfghjklmnpqrstvwxz2456789';
    for (;;) {
      let name = metadata.generateName!.slice(0, 58);
      for (let i = 0; i < 5; i++) name += alphabet[Math.floor(Math.random() * alphabet.length)];
      if (!this.store.get(resource.key, namespace, name)) return name;
    }
  }

  private checkNamespace(resource: Resource, namespace: string, name: string): void {
    const found = this.store.get('Namespace', undefined, namespace);
    if (found === undefined) throw notFoundNamespace(namespace);
    if (found.metadata.deletionTimestamp === undefined) return;
    const why = `unable to create new content in namespace ${namespace} because it is being terminated`;
    throw forbidden(resource, name, why);
  }

  private check(
    resource: Resource,
    input: { metadata: Partial<ObjectMeta> },
    old: KubeObject | undefined,
    request: WriteRequest,
  ): WriteResult {
    const unknown = request.fieldValidation ?? 'Strict';
    const schema = resource.custom ? checkCustom(resource, input, unknown) : checkSchema(input, unknown);
    const name = input.metadata.name ?? input.metadata.generateName ?? '';
    this.refuse(resource, name, schema.errors);
    if (resource.custom) {
      this.refuse(resource, name, old ? checkFinalizers(schema.object, old) : []);
      return { object: schema.object, warnings: schema.warnings };
    }
    const defaulted = withDefaults(schema.object);
    const admission = this.admissions[resource.key] as Admission | undefined;
    const object = admission?.prepare?.(defaulted, old) ?? defaulted;
    this.refuse(resource, name, [...checkRules(object), ...(old ? checkUpdate(object, old) : [])]);
    return { object, warnings: schema.warnings };
  }

  private admit(
    resource: Resource,
    object: KubeObject,
    old: KubeObject | undefined,
    subresource: 'status' | undefined,
  ): KubeObject {
    const admission = this.admissions[resource.key] as Admission | undefined;
    const admitted = admission?.admit?.(object, old, subresource) ?? object;
    if (subresource === undefined) this.gate(resource, admitted, old);
    return admitted;
  }

  private refuse(resource: Resource, name: string, errors: readonly FieldError[]): void {
    if (errors.length > 0) throw invalid(resource, name, errors);
  }
}

function notFoundNamespace(name: string): ApiError {
  return notFound({ kind: 'Namespace', group: '', plural: 'namespaces' } as Resource, name);
}

/** All versions of a custom resource are stored as one. */
function asStored<T extends KubeObject>(resource: Resource, object: T): T {
  return resource.custom === undefined ? object : { ...object, apiVersion: resource.custom.storedApiVersion };
}

const DEFINITIONS: Admission<StoredObject> = {
  prepare: (object, old) =>
    withDefinitionDefaults(object as unknown as Definition, old === undefined) as unknown as StoredObject,
  admit: (object, _old, subresource) =>
    subresource === 'status'
      ? object
      : ({ ...object, status: establishedStatus(object as unknown as Definition, nowText()) } as StoredObject),
};

function managedFieldsOf(input: unknown): ManagedFieldsEntry[] | undefined {
  const given = (input as Partial<KubeObject> | null | undefined)?.metadata?.managedFields as unknown;
  if (!Array.isArray(given)) return undefined;
  return given.every((entry) => typeof entry === 'object' && entry !== null) ? given : undefined;
}

function withOwners<T extends KubeObject>(object: T, managedFields: ManagedFieldsEntry[] | undefined): T {
  const { managedFields: _before, ...metadata } = object.metadata;
  return { ...object, metadata: { ...metadata, ...(managedFields && { managedFields }) } };
}

function typedOf(resource: Resource): Typed {
  const { group, version, kind, custom, status } = resource;
  if (custom !== undefined) return { shape: shapeOfSchema(custom.schema as StructuralSchema), hasStatus: status };
  const type = typeNameOf(group, version, kind);
  return { shape: type === undefined ? UNTYPED : shapeOfType(type), hasStatus: status };
}

function writerOf(resource: Resource, request: WriteRequest): Writer {
  const { manager = '', subresource } = request;
  return { manager, apiVersion: apiVersionOf(resource), subresource, time: nowText() };
}

const specOf = (object: KubeObject): unknown => {
  const { metadata, status, ...rest } = object as KubeObject & { status?: unknown };
  return rest;
};

/** A write to the object leaves its status alone, a write to its status everything but labels and annotations. */
function keepServerFields(
  resource: Resource,
  object: KubeObject,
  old: KubeObject,
  subresource: 'status' | undefined,
): KubeObject {
  const { status: oldStatus, ...oldRest } = old as KubeObject & { status?: unknown };
  const { status, ...rest } = object as KubeObject & { status?: unknown };
  const { labels, annotations, ownerReferences, finalizers } = object.metadata;
  const kept: ObjectMeta = { ...old.metadata };
  const set = (key: 'labels' | 'annotations' | 'ownerReferences' | 'finalizers', value: unknown) => {
    if (value === undefined) delete kept[key];
    else (kept as unknown as Record<string, unknown>)[key] = value;
  };
  set('labels', labels);
  set('annotations', annotations);
  if (subresource === 'status') {
    return { ...oldRest, metadata: kept, ...(status !== undefined && { status }) } as KubeObject;
  }
  set('ownerReferences', ownerReferences);
  set('finalizers', finalizers);
  const keptStatus = resource.status ? oldStatus : status;
  return { ...rest, metadata: kept, ...(keptStatus !== undefined && { status: keptStatus }) } as KubeObject;
}

/** How a dry run's creation looks: as if it had been stored. */
function unsaved(object: KubeObject): KubeObject {
  const metadata = { ...object.metadata, uid: crypto.randomUUID(), creationTimestamp: nowText() };
  if (hasGeneration(object)) metadata.generation = 1;
  return { ...object, metadata };
}
