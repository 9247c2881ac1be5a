/**
 * Operations on values of a shape: list the fields, compare two, merge two, remove fields
 * (structured-merge-diff/typed). No function changes its arguments.
 */
import { isDeepStrictEqual } from 'node:util';
import { define, isObject } from '../patches/json.ts';
import { FieldSet } from './field-set.ts';
import { fieldElement, keyElement, type Shape, valueElement, WHOLE } from './shape.ts';

type Json = unknown;

/** One part of a value: its path element, itself, its shape. */
interface Part {
  element: string;
  value: Json;
  shape: Shape;
}

/** The parts of a value that merge one by one; undefined if it is atomic. */
function partsOf(value: Json, shape: Shape): Part[] | undefined {
  if (shape.merge === 'fields') {
    if (!isObject(value)) return undefined;
    return Object.entries(value).map(([name, inner]) => ({
      element: fieldElement(name),
      value: inner,
      shape: shape.field(name),
    }));
  }
  if (!Array.isArray(value)) return undefined;
  if (shape.merge === 'set') {
    return (value as Json[]).map((item) => ({ element: valueElement(item), value: item, shape: WHOLE }));
  }
  if (shape.merge === 'keys') {
    return (value as Json[]).map((item) => ({ element: keyElement(shape.keys, item), value: item, shape: shape.item }));
  }
  return undefined;
}

const isItem = (element: string) => !element.startsWith('f:');

/** The fields that an applied configuration owns: its leaves, and every item of its lists. */
export function fieldsOf(value: Json, shape: Shape): FieldSet {
  const set = new FieldSet();
  const parts = partsOf(value, shape);
  if (parts === undefined || parts.length === 0) {
    set.self = true;
    return set;
  }
  for (const part of parts) {
    const child = fieldsOf(part.value, part.shape);
    if (isItem(part.element)) child.self = true;
    set.children.set(part.element, child);
  }
  return set;
}

/** Every path of a value, including maps: the fields that are new when the value is. */
function placesOf(value: Json, shape: Shape): FieldSet {
  const set = new FieldSet();
  set.self = true;
  for (const part of partsOf(value, shape) ?? []) set.children.set(part.element, placesOf(part.value, part.shape));
  return set;
}

export interface Comparison {
  /** Changed or new. */
  written: FieldSet;
  removed: FieldSet;
}

/** What differs between two values of one shape. */
export function compare(old: Json, next: Json, shape: Shape): Comparison {
  const result = { written: new FieldSet(), removed: new FieldSet() };
  const before = partsOf(old, shape);
  const after = partsOf(next, shape);
  if (before === undefined || after === undefined) {
    if (!isDeepStrictEqual(old, next)) result.written.self = true;
    return result;
  }
  const known = new Map(before.map((part) => [part.element, part]));
  for (const part of after) {
    const was = known.get(part.element);
    known.delete(part.element);
    if (was === undefined) result.written.children.set(part.element, placesOf(part.value, part.shape));
    else {
      const inner = compare(was.value, part.value, part.shape);
      if (!inner.written.empty) result.written.children.set(part.element, inner.written);
      if (!inner.removed.empty) result.removed.children.set(part.element, inner.removed);
    }
  }
  for (const part of known.values()) result.removed.children.set(part.element, placesOf(part.value, part.shape));
  return result;
}

/** `config` merged over `live`. */
export function merge(live: Json, config: Json, shape: Shape): Json {
  const before = partsOf(live, shape);
  const after = partsOf(config, shape);
  if (before === undefined || after === undefined) return config;
  const mine = new Map(before.map((part) => [part.element, part.value]));
  if (shape.merge === 'fields') {
    const result = { ...(live as Record<string, Json>) };
    for (const { element, value, shape: inner } of after) {
      const was = mine.get(element);
      define(result, element.slice(2), was === undefined ? value : merge(was, value, inner));
    }
    return result;
  }
  return mergeItems(before, after, mine);
}

/** The configuration's items in its order; every other item stays behind the one it followed. */
function mergeItems(before: readonly Part[], after: readonly Part[], mine: Map<string, Json>): Json[] {
  const wanted = new Set(after.map(({ element }) => element));
  const result: Json[] = [];
  let next = 0;
  for (const { element, value, shape } of after) {
    while (next < before.length && !wanted.has(before[next]!.element)) result.push(before[next++]!.value);
    if (before[next]?.element === element) next++;
    const was = mine.get(element);
    result.push(was === undefined ? value : merge(was, value, shape));
  }
  for (const part of before.slice(next)) if (!wanted.has(part.element)) result.push(part.value);
  return result;
}

/** The value without the fields in `gone`, except those in `kept`; undefined if nothing is left. */
export function without(value: Json, shape: Shape, gone: FieldSet, kept: FieldSet): Json {
  const parts = partsOf(value, shape);
  if (parts === undefined) return value;
  const left: Part[] = [];
  let changed = false;
  for (const part of parts) {
    const out = gone.children.get(part.element);
    const stay = kept.children.get(part.element);
    if (out === undefined) {
      left.push(part);
    } else if (out.self && stay === undefined) {
      changed = true; // Removed with everything below it, as no other manager owns any of that.
    } else {
      const inner = without(part.value, part.shape, out, stay ?? new FieldSet());
      changed ||= inner !== part.value;
      if (inner !== undefined) left.push({ ...part, value: inner });
    }
  }
  if (!changed) return value;
  if (left.length === 0 && !kept.self) return undefined;
  if (shape.merge !== 'fields') return left.map((part) => part.value);
  const result: Record<string, Json> = {};
  for (const part of left) define(result, part.element.slice(2), part.value);
  return result;
}
