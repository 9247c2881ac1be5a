/** POST, PUT, PATCH and DELETE on resources. The semantics of writes are in `store/registry.ts`. */
import { badRequest, methodNotAllowed, patchRefused, requireKind, tooLarge, unsupportedMediaType } from '../errors.ts';
import { PatchError, PatchRefusedError, PatchTooLargeError } from '../patches/json.ts';
import { jsonPatch } from '../patches/json-patch.ts';
import { mergePatch } from '../patches/merge-patch.ts';
import { strategicMergePatch } from '../patches/strategic.ts';
import { typeNameOf } from '../published/types.ts';
import { apiVersionOf, type Resource, storedForm } from '../resources.ts';
import type { WriteRequest } from '../store/registry.ts';
import type { KubeObject, Status, WrittenPart } from '../types/objects.ts';
import { type Call, rendererOf, replyObject, replyValue } from './call.ts';
import { writeList } from './list-response.ts';
import { readDeleteOptions, readWriteOptions } from './query.ts';
import { selected } from './reads.ts';
import { mediaTypeOf, parseJson, parseObject, parseYaml, readBody } from './request-body.ts';

const APPLY = 'application/apply-patch+yaml';
const JSON_PATCH = 'application/json-patch+json';
const MERGE_PATCH = 'application/merge-patch+json';
const STRATEGIC_PATCH = 'application/strategic-merge-patch+json';
const PATCHES = [JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY];

export async function create(call: Call): Promise<void> {
  const { registry, target, request } = call;
  const { resource, namespace } = target;
  if (resource.namespaced && namespace === undefined) throw methodNotAllowed();
  rendererOf(call); // 406 before anything is changed
  const options = writeRequest(call, 'CreateOptions');
  const object = await parseObject(request, await readBody(request));
  const { object: made, warnings } = registry.create(
    storedForm(resource),
    namespace,
    toStored(resource, object),
    options,
  );
  await sentToWatches();
  replyObject(call, 201, made, warnings);
}

export async function update(call: Call): Promise<void> {
  const { registry, target, request } = call;
  const { resource, namespace, name } = target;
  rendererOf(call);
  const options = writeRequest(call, 'UpdateOptions');
  const object = await parseObject(request, await readBody(request));
  const input = toStored(resource, object);
  const { object: put, warnings } = registry.update(storedForm(resource), namespace, name!, input, options);
  await sentToWatches();
  replyObject(call, 200, put, warnings);
}

export async function patch(call: Call): Promise<void> {
  const { registry, target, request } = call;
  const { resource, namespace, name } = target;
  const mediaType = mediaTypeOf(request);
  if (!PATCHES.includes(mediaType)) throw unsupportedMediaType(mediaType, PATCHES);
  rendererOf(call);
  const options = writeRequest(call, 'PatchOptions', mediaType === APPLY);
  const body = await readBody(request);
  const change = mediaType === APPLY ? await parseYaml(body) : parseJson(body);
  if (mediaType === APPLY) {
    const config = toStored(resource, change);
    const { object, warnings, created } = registry.apply(storedForm(resource), namespace, name!, config, options);
    await sentToWatches();
    return replyObject(call, created ? 201 : 200, object, warnings);
  }
  const { object, warnings } = applied(mediaType, resource, change, (by) =>
    registry.update(storedForm(resource), namespace, name!, by(registry.get(resource, namespace, name!)), options),
  );
  await sentToWatches();
  replyObject(call, 200, object, warnings);
}

/**
 * Resolves when watches have been sent what has just been committed: a change acts before its client hears of it. The
 * events are written in a microtask, and leave when their sockets are uncorked in the next tick (node:http, write).
 */
const sentToWatches = (): Promise<void> => new Promise((resolve) => queueMicrotask(() => process.nextTick(resolve)));

/** Calls `write` with the patch as a function of the object; turns patch errors into API errors. */
function applied<T>(
  mediaType: string,
  resource: Resource,
  patch: unknown,
  write: (by: (old: KubeObject) => unknown) => T,
): T {
  try {
    return write((old) => toStored(resource, patchBy(mediaType, resource, resource.view?.read(old) ?? old, patch)));
  } catch (error) {
    if (error instanceof PatchTooLargeError) throw tooLarge(error.message);
    if (error instanceof PatchRefusedError) throw patchRefused(error.message);
    if (error instanceof PatchError) throw badRequest(`the patch cannot be applied: ${error.message}`);
    throw error;
  }
}

/** The patched object. @throws PatchError, ApiError 415 */
export function patchBy(mediaType: string, resource: Resource, old: KubeObject, patch: unknown): unknown {
  if (mediaType === JSON_PATCH) return jsonPatch(old, patch);
  if (mediaType === MERGE_PATCH) return mergePatch(old, patch);
  const type = typeNameOf(resource.group, resource.version, resource.kind);
  // Custom resources have no merge keys (apiextensions-apiserver supports the other two patch types).
  if (type === undefined)
    throw unsupportedMediaType(
      mediaType,
      PATCHES.filter((p) => p !== STRATEGIC_PATCH),
    );
  return strategicMergePatch(old, patch, type);
}

/** A client's object, converted to the stored version. A body that is not an object is refused later. */
function toStored(resource: Resource, given: unknown): unknown {
  const { view } = resource;
  if (view === undefined || typeof given !== 'object' || given === null || Array.isArray(given)) return given;
  requireKind(apiVersionOf(resource), resource.kind, given);
  return view.write(given as Record<string, unknown>);
}

/**
 * Kinds whose deletion returns the object; for others it returns a Status (`ReturnDeletedObject` of their REST
 * storage).
 */
const RETURNED = new Set(
  'Pod Service ServiceAccount PersistentVolume PersistentVolumeClaim PodTemplate ResourceQuota'.split(' '),
);

export async function remove(call: Call): Promise<void> {
  const { registry, target, request, query, response } = call;
  const { resource, namespace, name } = target;
  if (resource.namespaced && namespace === undefined) throw methodNotAllowed();
  const body = await readBody(request);
  const options = readDeleteOptions(query, body.length === 0 ? undefined : await parseObject(request, body));
  if (name === undefined) {
    const victims = selected(call);
    for (const { metadata } of victims) registry.delete(resource, metadata.namespace, metadata.name, options);
    return writeList(response, rendererOf(call), { resourceVersion: String(registry.store.version) }, victims);
  }
  const { object, gone } = registry.delete(resource, namespace, name, options);
  await sentToWatches();
  if (!gone || RETURNED.has(resource.kind)) return replyObject(call, 200, object);
  replyValue(response, 200, deleted(resource, object));
}

function deleted(resource: Resource, { metadata }: KubeObject): Status {
  const { group, plural } = resource;
  const details = { name: metadata.name, ...(group !== '' && { group }), kind: plural, uid: metadata.uid };
  return { apiVersion: 'v1', kind: 'Status', metadata: {}, status: 'Success', details };
}

export function writeRequest({ query, request, target, by }: Call, kind: string, apply: boolean = false): WriteRequest {
  const options = readWriteOptions(query, kind, apply);
  const manager = options.fieldManager || (request.headers['user-agent'] ?? '').split('/')[0]!.slice(0, 128);
  return {
    dryRun: options.dryRun,
    fieldValidation: options.fieldValidation,
    subresource: target.subresource as WrittenPart | undefined,
    // Without fieldManager, the name of the client program is used (handlers/create.go, managerOrUserAgent).
    ...(manager !== '' && { manager }),
    force: options.force,
    ...(by && { by }),
  };
}
