/**
 * The semantics of writes: from a user's manifest to a stored object. Everything is synchronous, so that a write, with
 * what admission allocates for it (addresses, ports), is one transaction.
 *
 * Order: path and name → schema → defaults → `prepare` (fields kept from the old object) → rules → `admit` (checks
 * against the cluster, allocation) → store. Admission keeps no state of its own: it reads what is in use from indexes
 * over the store, so a dry run or a failed write has no side effects.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Action } from '../access/authorization.ts';
import type { User } from '../access/user.ts';
import { checkCustom } from '../custom/check.ts';
import { type Definition, establishedStatus, withDefinitionDefaults } from '../custom/definition.ts';
import { CustomKinds } from '../custom/kinds.ts';
import {
  type ApiError,
  alreadyExists,
  applyConflict,
  asText,
  badRequest,
  conflict,
  type FieldError,
  forbidden,
  invalid,
  MODIFIED,
  notFound,
  requireKind,
} from '../errors.ts';
import { apply } from '../ownership/managed-fields.ts';
import { apiVersionOf, collectionOf, hasGeneration, type Resource } from '../resources.ts';
import { checkRules } from '../rules/object.ts';
import { checkCreate, checkFinalizers, checkUpdate } from '../rules/update.ts';
import { withDefaults } from '../schema/defaults.ts';
import { checkSchema, type FieldWarning, withoutNulls } from '../schema/schema.ts';
import type {
  Kind,
  KubeObject,
  ManagedFieldsEntry,
  ObjectByKind,
  ObjectMeta,
  StoredObject,
  WrittenPart,
} from '../types/objects.ts';
import { afterDeletion, checkPreconditions, type DeleteRequest } from './deletion.ts';
import { entriesIn, ownersAfter, ownersAfterChange, specOf, typedOf, withOwners, writerOf } from './field-owners.ts';
import { keepServerFields } from './server-fields.ts';
import { nowText, type Store } from './store.ts';

export interface Admission<T extends KubeObject = KubeObject> {
  /** Keeps fields of `old` that the new object omits, and drops those it may not have. Runs before the rules. */
  prepare?(object: T, old: T | undefined, request: WriteRequest): T;
  /** The last step before storing: allocates, or throws ApiError. Must have no side effects. */
  admit?(object: T, old: T | undefined, subresource: WrittenPart | undefined, request: WriteRequest): T;
  /** Warnings for whoever writes the object, besides those of its fields. */
  warn?(object: T): FieldWarning[];
  /** Throws ApiError if the object may not be deleted. */
  checkDelete?(object: T): void;
}

export type Admissions = { [K in Kind]?: Admission<ObjectByKind[K]> };

/** Asked last about every write of every kind, with the object as it would be stored. Throws ApiError. */
export type Gate = (resource: Resource, object: KubeObject, old: KubeObject | undefined) => void;

export interface WriteRequest {
  dryRun?: boolean;
  fieldValidation?: 'Strict' | 'Warn' | 'Ignore';
  subresource?: WrittenPart | undefined;
  /** The field manager. */
  manager?: string;
  /** An apply takes over conflicting fields. */
  force?: boolean;
  /** Who writes; undefined for a program of the cluster. */
  by?: { user: User; may: (action: Action) => boolean };
}

export interface WriteResult {
  object: KubeObject;
  warnings: FieldWarning[];
}

interface RegistryView {
  kinds?: CustomKinds;
  manager?: string | undefined;
}

export class Registry {
  readonly store: Store;
  readonly kinds: CustomKinds;
  private readonly admissions: Admissions;
  private readonly gate: Gate;
  /** Owns what is written without a manager of its own; undefined: nobody owns that. */
  private readonly manager: string | undefined;

  constructor(store: Store, admissions: Admissions = {}, gate: Gate = () => {}, of: RegistryView = {}) {
    this.store = store;
    this.gate = gate;
    this.kinds = of.kinds ?? new CustomKinds(store);
    this.manager = of.manager;
    this.admissions = { CustomResourceDefinition: DEFINITIONS, ...admissions };
  }

  /** The same registry for a program of the cluster, which owns the fields that it writes; undefined: nobody does. */
  as(manager: string | undefined): Registry {
    return new Registry(this.store, this.admissions, this.gate, { kinds: this.kinds, manager });
  }

  /** @throws ApiError 404 */
  get(resource: Resource, namespace: string | undefined, name: string): KubeObject {
    const found = this.store.get(resource.key, namespace, name);
    if (found === undefined) throw notFound(resource, name);
    return found;
  }

  create(resource: Resource, namespace: string | undefined, input: unknown, request: WriteRequest = {}): WriteResult {
    const given = entriesIn(input);
    return this.insert(resource, namespace, input, request, (object) =>
      ownersAfter(resource, undefined, object, given, this.named(request)),
    );
  }

  /** Server-side apply: creates the object, or merges the configuration and removes what it no longer has. */
  apply(
    resource: Resource,
    namespace: string | undefined,
    name: string,
    input: unknown,
    request: WriteRequest,
  ): WriteResult & { created: boolean } {
    const config = withoutNulls(this.address(resource, namespace, name, input)) as { metadata: Partial<ObjectMeta> };
    if (entriesIn(input)?.length) throw badRequest('metadata.managedFields must be nil');
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
    const object = this.admit(resource, withOwners(checked.object, owners(checked.object)), undefined, request);
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
    const given = entriesIn(input);
    return this.replace(resource, old, input, request, (object) =>
      ownersAfter(resource, old, object, given, this.named(request)),
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
    const object = this.admit(resource, withOwners(checked, owners(checked)), old, request);
    return { object: this.write(asStored(resource, object), old, request.dryRun), warnings };
  }

  /** A client's write to a subresource such as scale: without validation, but with field ownership. */
  writeAs<T extends KubeObject>(resource: Resource, object: T, old: T, request: WriteRequest, subresource: string): T {
    const as = { ...request, subresource: subresource as WrittenPart };
    return this.write(withOwners(object, ownersAfter(resource, old, object, undefined, as)), old, request.dryRun);
  }

  private named(request: WriteRequest): WriteRequest {
    return request.manager === undefined && this.manager !== undefined
      ? { ...request, manager: this.manager }
      : request;
  }

  /** A write by a controller: without schema, rules and admission. Does nothing if the object is unchanged. */
  write<T extends KubeObject>(object: T, old: T, dryRun = false): T {
    if (isDeepStrictEqual(object, old)) return old;
    const { generation = 1 } = old.metadata;
    const resource = this.manager === undefined ? undefined : this.kinds.ofKey(collectionOf(object));
    const owned = resource === undefined ? object : ownersAfterChange(resource, object, old, this.manager!);
    const changed = hasGeneration(old) && !isDeepStrictEqual(specOf(object), specOf(old));
    const next = changed ? { ...owned, metadata: { ...owned.metadata, generation: generation + 1 } } : owned;
    const { deletionTimestamp, finalizers } = next.metadata;
    if (deletionTimestamp !== undefined && !finalizers?.length && old.metadata.finalizers?.length) {
      // A pod with a grace period left is removed when its agent reports that the containers have ended.
      const ended = collectionOf(next) !== 'Pod' || !next.metadata.deletionGracePeriodSeconds;
      if (!dryRun && ended) return this.store.remove(old);
    }
    return dryRun ? next : this.store.replace(next, old);
  }

  /** Returns the terminating object, or its last state if it is removed (`gone`). */
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

  /** A shallow copy with the kind, name and namespace of the path. @throws ApiError 400 if the object has others */
  private address(resource: Resource, namespace: string | undefined, name: string | undefined, input: unknown) {
    if (typeof input !== 'object' || input === null || Array.isArray(input)) throw badRequest('expected an object');
    const { metadata } = input as Partial<KubeObject>;
    requireKind(apiVersionOf(resource), resource.kind, input);
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
        throw badRequest(`the name of the object (${asText(meta.name)}) does not match the name on the URL (${name})`);
      }
      meta.name = name;
    }
    return { ...input, apiVersion: apiVersionOf(resource), kind: resource.kind, metadata: meta as Partial<ObjectMeta> };
  }

  private generateName(resource: Resource, namespace: string | undefined, metadata: Partial<ObjectMeta>): string {
    // Kubernetes' alphabet: without vowels and characters that look like others (util/rand).
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
    const object = admission?.prepare?.(defaulted, old, request) ?? defaulted;
    this.refuse(resource, name, [
      ...checkRules(object),
      ...(old ? checkUpdate(object, old, request.subresource) : checkCreate(object)),
    ]);
    return { object, warnings: [...schema.warnings, ...(admission?.warn?.(object) ?? [])] };
  }

  private admit(
    resource: Resource,
    object: KubeObject,
    old: KubeObject | undefined,
    request: WriteRequest,
  ): KubeObject {
    const { subresource } = request;
    const admission = this.admissions[resource.key] as Admission | undefined;
    const admitted = admission?.admit?.(object, old, subresource, request) ?? object;
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

/** All versions of a custom resource are stored as its storage version. */
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

/** The result of creating an object in a dry run. */
function unsaved(object: KubeObject): KubeObject {
  const metadata = { ...object.metadata, uid: crypto.randomUUID(), creationTimestamp: nowText() };
  if (hasGeneration(object)) metadata.generation = 1;
  return { ...object, metadata };
}
