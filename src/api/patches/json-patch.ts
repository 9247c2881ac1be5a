/** JSON patch (RFC 6902), with bounded work per patch. */
import { isDeepStrictEqual } from 'node:util';
import {
  define,
  isObject,
  type Json,
  type JsonObject,
  PatchError,
  PatchRefusedError,
  PatchTooLargeError,
} from './json.ts';

interface Operation {
  op: string;
  path: string;
  from?: string;
  value?: Json;
}

/** The limit of k8s.io/apiserver (handlers/patch.go). */
const MAX_OPERATIONS = 10_000;
/**
 * Bytes of JSON that all `copy` operations of a patch may add together: repeated copies grow a document exponentially.
 */
const MAX_COPIED_BYTES = 3 * 1024 * 1024;
/** List elements that all insertions and removals of a patch may shift. */
const MAX_SHIFTED = 20_000_000;
const MAX_DEPTH = 1000;

/** The cost of a patch so far. */
interface Work {
  copiedBytes: number;
  shifted: number;
}

/** RFC 6902: applies all operations or none. `target` is not changed. */
export function jsonPatch(target: Json, operations: Json): Json {
  if (!Array.isArray(operations)) throw new PatchError('a JSON patch is a list of operations');
  if (operations.length > MAX_OPERATIONS) {
    throw new PatchTooLargeError(
      `The allowed maximum operations in a JSON patch is ${MAX_OPERATIONS}, got ${operations.length}`,
    );
  }
  const work: Work = { copiedBytes: 0, shifted: 0 };
  let document = structuredClone(target);
  for (const operation of operations as Operation[]) document = applyOperation(document, operation, work);
  return document;
}

/** A deep copy; its size counts toward the limits of the patch. */
function copied(value: Json, depth: number, work: Work): Json {
  const size = measure(value, depth);
  work.copiedBytes += size;
  if (work.copiedBytes > MAX_COPIED_BYTES) {
    throw new PatchTooLargeError(
      `Unable to complete the copy, the accumulated size increase of copy is ${work.copiedBytes}, exceeding the limit ${MAX_COPIED_BYTES}`,
    );
  }
  return structuredClone(value);
}

/** The approximate size of the JSON in bytes. Not recursive, because it also checks the nesting depth. */
function measure(value: Json, depth: number): number {
  let size = 0;
  const open: { value: Json; depth: number }[] = [{ value, depth }];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (next.depth > MAX_DEPTH) throw new PatchTooLargeError(`the result is nested more than ${MAX_DEPTH} levels deep`);
    if (typeof next.value === 'string') size += next.value.length + 2;
    else size += 6;
    if (typeof next.value !== 'object' || next.value === null) continue;
    for (const [key, item] of Object.entries(next.value)) {
      size += key.length;
      open.push({ value: item, depth: next.depth + 1 });
    }
    if (size > MAX_COPIED_BYTES) break;
  }
  return size;
}

/** Inserts or removes elements of a list. */
function splice(list: Json[], at: number, removed: number, items: Json[], work: Work): void {
  work.shifted += list.length - at;
  if (work.shifted > MAX_SHIFTED) throw new PatchTooLargeError('the patch moves too many elements of lists');
  list.splice(at, removed, ...items);
}

function applyOperation(document: Json, operation: Operation, work: Work): Json {
  if (!isObject(operation)) throw new PatchError('an operation of a JSON patch is an object');
  const { op, path, from, value } = operation;
  const at = pointer(path);
  switch (op) {
    case 'add':
      return insert(document, at, structuredClone(value), work);
    case 'remove':
      return remove(document, at, work);
    case 'replace':
      return replace(document, at, structuredClone(value), work);
    case 'copy':
      return insert(document, at, copied(read(document, pointer(from)), at.length, work), work);
    case 'move': {
      const source = pointer(from);
      const moved = read(document, source);
      return insert(remove(document, source, work), at, moved, work);
    }
    case 'test':
      if (!isDeepStrictEqual(read(document, at), value)) {
        throw new PatchRefusedError(`testing value ${path} failed: test failed`);
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
    if (found === undefined) throw new PatchRefusedError(`nothing at /${at.join('/')}`);
    value = found;
  }
  return value;
}

const own = (object: JsonObject, key: string): Json => (Object.hasOwn(object, key) ? object[key] : undefined);

function index(key: string, last: number): number {
  if (!/^(0|[1-9]\d*)$/.test(key) || Number(key) > last) throw new PatchRefusedError(`index ${key} is out of range`);
  return Number(key);
}

function insert(document: Json, at: readonly string[], value: Json, work: Work): Json {
  if (at.length === 0) return value;
  const parent = read(document, at.slice(0, -1));
  const key = at.at(-1)!;
  if (Array.isArray(parent)) splice(parent, key === '-' ? parent.length : index(key, parent.length), 0, [value], work);
  else if (isObject(parent)) define(parent, key, value);
  else throw new PatchRefusedError(`nothing can be put at /${at.join('/')}`);
  return document;
}

/** A field that is missing is added, as by kube-apiserver (json-patch v4, partialDoc.get), unlike in RFC 6902 §4.3. */
function replace(document: Json, at: readonly string[], value: Json, work: Work): Json {
  if (at.length === 0) return value;
  if (isObject(read(document, at.slice(0, -1)))) return insert(document, at, value, work);
  return insert(remove(document, at, work), at, value, work);
}

function remove(document: Json, at: readonly string[], work: Work): Json {
  read(document, at);
  if (at.length === 0) return null;
  const parent = read(document, at.slice(0, -1));
  const key = at.at(-1)!;
  if (Array.isArray(parent)) splice(parent, index(key, parent.length - 1), 1, [], work);
  else delete (parent as JsonObject)[key];
  return document;
}
