/**
 * Kubernetes' strategic merge patch (apimachinery/pkg/util/strategicpatch): a merge patch that merges lists by the
 * merge keys of the published types. Changes neither argument; the result shares the unchanged parts with them.
 */
import { isScalar, type PublishedField, publishedType } from '../published/types.ts';
import { define, isObject, type Json, type JsonObject, PatchError } from './json.ts';

/** `type` is the published type of the target. */
export function strategicMergePatch(target: Json, patch: Json, type: string): Json {
  if (!isObject(patch)) throw new PatchError('a strategic merge patch is an object');
  return mergeObject(isObject(target) ? target : {}, patch, type);
}

/** The field of an object of this type; undefined inside values of no published type. */
export function fieldOf(type: string | undefined, name: string): PublishedField | undefined {
  return type === undefined || isScalar(type) ? undefined : publishedType(type).fields.get(name);
}

/** The merge key of a list; undefined: the list is replaced, or is a set of scalars. */
export function mergeKeyOf(field: PublishedField | undefined): string | undefined {
  return field?.patchStrategy?.includes('merge') ? field.patchMergeKey : undefined;
}

/** Is it a list of scalars that is merged as a set? */
const isUnited = (field: PublishedField | undefined) =>
  field?.list === true && field.patchStrategy?.includes('merge') === true && field.patchMergeKey === undefined;

/** Inside a map, the type of its values. */
const innerType = (field: PublishedField | undefined) => (field?.map ? undefined : field?.type);

function mergeObject(target: JsonObject, patch: JsonObject, type: string | undefined): JsonObject {
  if (patch.$patch === 'replace') return without(patch, '$patch');
  if (patch.$patch === 'delete') return {};
  if (patch.$patch !== undefined && patch.$patch !== 'merge') {
    throw new PatchError(`unknown patch type: ${String(patch.$patch)}`);
  }
  const result: JsonObject = { ...target };
  retain(result, patch);
  for (const [key, value] of Object.entries(patch)) {
    if (key === '$patch' || key === '$retainKeys' || key.startsWith('$setElementOrder/')) continue;
    if (key.startsWith('$deleteFromPrimitiveList/')) {
      const name = key.slice(key.indexOf('/') + 1);
      const gone = new Set(listOf(key, value));
      if (Array.isArray(result[name]))
        define(
          result,
          name,
          (result[name] as Json[]).filter((v) => !gone.has(v)),
        );
      continue;
    }
    const field = fieldOf(type, key);
    const order = patch[`$setElementOrder/${key}`];
    if (value === null || (isObject(value) && value.$patch === 'delete')) delete result[key];
    else if (isObject(value)) {
      const old = Object.hasOwn(result, key) && isObject(result[key]) ? (result[key] as JsonObject) : {};
      define(result, key, mergeObject(old, value, innerType(field)));
    } else if (Array.isArray(value)) {
      define(result, key, mergeList(Object.hasOwn(result, key) ? result[key] : undefined, value, field, order));
    } else define(result, key, value);
  }
  // $setElementOrder may come without elements: only their order changes.
  for (const [key, order] of Object.entries(patch)) {
    const name = key.slice(key.indexOf('/') + 1);
    if (!key.startsWith('$setElementOrder/') || name in patch || !Array.isArray(result[name])) continue;
    define(result, name, inOrder(result[name] as Json[], listOf(key, order), mergeKeyOf(fieldOf(type, name))));
  }
  return result;
}

/** `$retainKeys`: all other members are removed. Every member that the patch sets must be listed. */
function retain(result: JsonObject, patch: JsonObject): void {
  if (patch.$retainKeys === undefined) return;
  const kept = new Set(listOf('$retainKeys', patch.$retainKeys));
  for (const key of Object.keys(patch)) {
    if (!key.startsWith('$') && patch[key] !== null && !kept.has(key)) {
      throw new PatchError('$retainKeys list must contain all the keys in the patch');
    }
  }
  for (const key of Object.keys(result)) if (!kept.has(key)) delete result[key];
}

function listOf(directive: string, value: Json): Json[] {
  if (!Array.isArray(value)) throw new PatchError(`${directive}: expected a list`);
  return value;
}

function mergeList(target: Json, patch: Json[], field: PublishedField | undefined, order: Json): Json[] {
  const present = Array.isArray(target) ? (target as Json[]) : [];
  if (isUnited(field)) {
    const known = new Set(present);
    const all = [...present, ...patch.filter((value) => !known.has(value))];
    return order === undefined ? all : inOrder(all, listOf('$setElementOrder', order), undefined);
  }
  const mergeKey = mergeKeyOf(field);
  if (mergeKey === undefined) return patch.map(withoutDirectives);
  const merged = mergeByKey(present, patch, mergeKey, field!.type);
  return order === undefined ? merged : inOrder(merged, listOf('$setElementOrder', order), mergeKey);
}

function mergeByKey(present: readonly Json[], patch: readonly Json[], mergeKey: string, type: string): Json[] {
  const items = patch.map((item) => {
    if (!isObject(item)) throw new PatchError(`expected an object with ${mergeKey}, got ${JSON.stringify(item)}`);
    return item;
  });
  if (items.some((item) => item.$patch === 'replace' && Object.keys(item).length === 1)) {
    return items.filter((item) => item.$patch === undefined);
  }
  const result: (Json | undefined)[] = [...present];
  const places = new Map<Json, number>();
  result.forEach((item, i) => {
    if (isObject(item) && !places.has(item[mergeKey])) places.set(item[mergeKey], i);
  });
  for (const item of items) {
    const key = item[mergeKey];
    if (key === undefined) {
      throw new PatchError(`map: ${JSON.stringify(item)} does not contain declared merge key: ${mergeKey}`);
    }
    const at = places.get(key);
    if (item.$patch === 'delete') {
      // Several elements may have the same key, such as port 53 over TCP and UDP: the patch applies to all of them.
      result.forEach((old, i) => {
        if (isObject(old) && old[mergeKey] === key) result[i] = undefined;
      });
      places.delete(key);
    } else if (at === undefined) {
      places.set(key, result.push(mergeObject({}, item, type)) - 1);
    } else result[at] = mergeObject(result[at] as JsonObject, item, type);
  }
  return result.filter((item) => item !== undefined);
}

/** The listed elements in this order; every other element stays behind the one it followed. */
function inOrder(items: readonly Json[], order: readonly Json[], mergeKey: string | undefined): Json[] {
  const keyOf = (item: Json) => (mergeKey !== undefined && isObject(item) ? item[mergeKey] : item);
  const rank = new Map(order.map((item, i) => [keyOf(item), i]));
  let last = -1;
  return items
    .map((item) => {
      last = rank.get(keyOf(item)) ?? last;
      return { item, rank: last };
    })
    .sort((a, b) => a.rank - b.rank)
    .map(({ item }) => item);
}

const without = (object: JsonObject, key: string): JsonObject => {
  const { [key]: _, ...rest } = object;
  return rest;
};

const withoutDirectives = (value: Json): Json => (isObject(value) ? mergeObject({}, value, undefined) : value);
