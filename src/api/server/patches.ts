/**
 * The three ways to change part of an object: JSON merge patch (RFC 7396), JSON patch (RFC 6902) and Kubernetes'
 * strategic merge patch. None changes its arguments; what is not touched is shared with the result.
 */
import { isDeepStrictEqual } from 'node:util';

type Json = unknown;
type JsonObject = Record<string, Json>;

/** The patch cannot be applied to this document. */
export class PatchError extends Error {
  override readonly name = 'PatchError';
}

const isObject = (value: Json): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** RFC 7396 §2. */
export function mergePatch(target: Json, patch: Json): Json {
  if (!isObject(patch)) return patch;
  const result: JsonObject = isObject(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else define(result, key, mergePatch(result[key], value));
  }
  return result;
}

/** Sets a member also when it is called `__proto__`. */
function define(object: JsonObject, key: string, value: Json): void {
  Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
}

// ------------------------------------------------------------------------------------------------ JSON patch, RFC 6902

interface Operation {
  op: string;
  path: string;
  from?: string;
  value?: Json;
}

/** RFC 6902; all operations or none. */
export function jsonPatch(target: Json, operations: Json): Json {
  if (!Array.isArray(operations)) throw new PatchError('a JSON patch is a list of operations');
  let document = structuredClone(target);
  for (const operation of operations as Operation[]) document = applyOperation(document, operation);
  return document;
}

function applyOperation(document: Json, operation: Operation): Json {
  if (!isObject(operation)) throw new PatchError('an operation of a JSON patch is an object');
  const { op, path, from, value } = operation;
  const at = pointer(path);
  switch (op) {
    case 'add':
      return insert(document, at, structuredClone(value));
    case 'remove':
      return remove(document, at);
    case 'replace':
      read(document, at);
      return at.length === 0 ? value : insert(remove(document, at), at, structuredClone(value));
    case 'copy':
      return insert(document, at, structuredClone(read(document, pointer(from))));
    case 'move': {
      const source = pointer(from);
      const moved = read(document, source);
      return insert(remove(document, source), at, moved);
    }
    case 'test':
      if (!isDeepStrictEqual(read(document, at), value)) {
        throw new PatchError(`testing value ${path} failed: test failed`);
      }
      return document;
    default:
      throw new PatchError(`unknown operation "${op}"`);
  }
}

/** RFC 6901. */
function pointer(text: Json): string[] {
  if (text === '') return [];
  if (typeof text !== 'string' || !text.startsWith('/')) throw new PatchError(`"${text}" is not a JSON pointer`);
  return text
    .slice(1)
    .split('/')
    .map((part) => part.replace(/~1/g, '/').replace(/~0/g, '~'));
}

function read(document: Json, at: readonly string[]): Json {
  let value = document;
  for (const key of at) {
    const found = Array.isArray(value)
      ? value[index(key, value.length - 1)]
      : isObject(value)
        ? own(value, key)
        : undefined;
    if (found === undefined) throw new PatchError(`nothing at /${at.join('/')}`);
    value = found;
  }
  return value;
}

const own = (object: JsonObject, key: string): Json => (Object.hasOwn(object, key) ? object[key] : undefined);

function index(key: string, last: number): number {
  if (!/^(0|[1-9]\d*)$/.test(key) || Number(key) > last) throw new PatchError(`index ${key} is out of range`);
  return Number(key);
}

function insert(document: Json, at: readonly string[], value: Json): Json {
  if (at.length === 0) return value;
  const parent = read(document, at.slice(0, -1));
  const key = at.at(-1)!;
  if (Array.isArray(parent)) parent.splice(key === '-' ? parent.length : index(key, parent.length), 0, value);
  else if (isObject(parent)) define(parent, key, value);
  else throw new PatchError(`nothing can be put at /${at.join('/')}`);
  return document;
}

function remove(document: Json, at: readonly string[]): Json {
  read(document, at);
  if (at.length === 0) return null;
  const parent = read(document, at.slice(0, -1));
  const key = at.at(-1)!;
  if (Array.isArray(parent)) parent.splice(index(key, parent.length - 1), 1);
  else delete (parent as JsonObject)[key];
  return document;
}

// ----------------------------------------------------------------------------------------------- strategic merge patch

/**
 * The lists that are merged by a key instead of replaced, by the name of the field: `patchMergeKey` of k8s.io/api. Two
 * fields share the name `ports` and are told apart by their parent.
 */
const MERGE_KEYS: Record<string, string> = {
  containers: 'name',
  initContainers: 'name',
  env: 'name',
  volumes: 'name',
  volumeMounts: 'mountPath',
  'containers.ports': 'containerPort',
  'initContainers.ports': 'containerPort',
  'spec.ports': 'port',
  conditions: 'type',
  addresses: 'type',
  hostAliases: 'ip',
  podIPs: 'ip',
  hostIPs: 'ip',
  imagePullSecrets: 'name',
  ownerReferences: 'uid',
};

/** Kinds whose lists of the same names are atomic. */
export const UNMERGED_KINDS: ReadonlySet<string> = new Set(['Endpoints', 'EndpointSlice']);

/** The field that tells the elements of the list `parent.name` apart; undefined: the list is replaced as a whole. */
export function mergeKeyOf(parent: string, name: string): string | undefined {
  return MERGE_KEYS[`${parent}.${name}`] ?? MERGE_KEYS[name];
}

/** Lists of plain values that are united instead of replaced. */
const UNITED = new Set(['finalizers', 'podCIDRs']);

/** Kubernetes' strategic merge patch (apimachinery/pkg/util/strategicpatch), for the kinds served here. */
export function strategicMergePatch(target: Json, patch: Json): Json {
  if (!isObject(patch)) throw new PatchError('a strategic merge patch is an object');
  if (isObject(target) && UNMERGED_KINDS.has(String(target.kind))) return mergePatch(target, patch);
  return mergeObject(isObject(target) ? target : {}, patch, '');
}

function mergeObject(target: JsonObject, patch: JsonObject, name: string): JsonObject {
  if (patch.$patch === 'replace') return without(patch, '$patch');
  const result: JsonObject = { ...target };
  const retain = patch.$retainKeys;
  if (Array.isArray(retain)) for (const key of Object.keys(result)) if (!retain.includes(key)) delete result[key];
  for (const [key, value] of Object.entries(patch)) {
    if (key === '$patch' || key === '$retainKeys' || key.startsWith('$setElementOrder/')) continue;
    if (key.startsWith('$deleteFromPrimitiveList/')) {
      const field = key.slice(key.indexOf('/') + 1);
      const gone = value as Json[];
      if (Array.isArray(result[field])) result[field] = (result[field] as Json[]).filter((v) => !gone.includes(v));
    } else if (value === null || (isObject(value) && value.$patch === 'delete')) {
      delete result[key];
    } else if (isObject(value)) {
      define(result, key, mergeObject(isObject(result[key]) ? (result[key] as JsonObject) : {}, value, key));
    } else if (Array.isArray(value)) {
      define(result, key, mergeList(result[key], value, name, key, patch[`$setElementOrder/${key}`]));
    } else {
      define(result, key, value);
    }
  }
  return result;
}

function mergeList(target: Json, patch: Json[], parent: string, name: string, order: Json): Json[] {
  const present = Array.isArray(target) ? (target as Json[]) : [];
  if (UNITED.has(name)) return [...present, ...patch.filter((v) => !present.includes(v))];
  const mergeKey = mergeKeyOf(parent, name);
  if (mergeKey === undefined) return patch.map(withoutDirectives);
  const items = patch.filter(isObject);
  if (items.some((item) => item.$patch === 'replace' && Object.keys(item).length === 1)) {
    return items.filter((item) => item.$patch === undefined);
  }
  const result = [...present];
  for (const item of items) {
    const key = item[mergeKey];
    if (key === undefined)
      throw new PatchError(`map: ${JSON.stringify(item)} does not contain declared merge key: ${mergeKey}`);
    const at = result.findIndex((r) => isObject(r) && r[mergeKey] === key);
    if (item.$patch === 'delete') {
      if (at >= 0) result.splice(at, 1);
    } else if (at >= 0) result[at] = mergeObject(result[at] as JsonObject, item, name);
    else result.push(mergeObject({}, item, name));
  }
  return Array.isArray(order) ? ordered(result, order, mergeKey) : result;
}

/** `$setElementOrder`: named elements in this order; the others keep to the element they followed. */
function ordered(items: Json[], order: Json[], mergeKey: string): Json[] {
  const rank = new Map(order.map((o, i) => [isObject(o) ? o[mergeKey] : o, i]));
  let last = -1;
  return items
    .map((item) => {
      last = rank.get((item as JsonObject)[mergeKey]) ?? last;
      return { item, rank: last };
    })
    .sort((a, b) => a.rank - b.rank)
    .map(({ item }) => item);
}

const without = (object: JsonObject, key: string): JsonObject => {
  const { [key]: _, ...rest } = object;
  return rest;
};

const withoutDirectives = (value: Json): Json => (isObject(value) ? mergeObject({}, value, '') : value);
