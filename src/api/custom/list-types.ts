/**
 * Lists of custom resources that are sets, or maps by some of their items' fields: no two items may be equal
 * (apiextensions-apiserver/pkg/apiserver/schema/listtype).
 */
import type { FieldError } from '../errors.ts';
import { isObject, type Json } from '../patches/json.ts';
import { duplicate } from '../rules/field-errors.ts';
import type { StructuralSchema } from './structural.ts';

export function duplicateItems(value: Json, schema: StructuralSchema, path: string = ''): FieldError[] {
  if (Array.isArray(value)) {
    const { items } = schema;
    const inside = items === undefined ? [] : value.flatMap((item, i) => duplicateItems(item, items, `${path}[${i}]`));
    return [...repeated(value, schema, path), ...inside];
  }
  if (!isObject(value)) return [];
  const { properties = {}, additionalProperties } = schema;
  const others = typeof additionalProperties === 'object' ? additionalProperties : undefined;
  return Object.entries(value).flatMap(([name, item]) => {
    const of = Object.hasOwn(properties, name) ? properties[name] : others;
    return of === undefined ? [] : duplicateItems(item, of, path === '' ? name : `${path}.${name}`);
  });
}

function repeated(list: readonly Json[], schema: StructuralSchema, path: string): FieldError[] {
  const { 'x-kubernetes-list-type': type, 'x-kubernetes-list-map-keys': keys = [], items } = schema;
  if (type !== 'set' && type !== 'map') return [];
  const seen = new Set<string>();
  return list.flatMap((item, i) => {
    const identity = type === 'set' ? item : keyOf(item, keys, items);
    const text = JSON.stringify(sorted(identity));
    if (!seen.has(text)) {
      seen.add(text);
      return [];
    }
    return [duplicate(`${path}[${i}]`, identity)];
  });
}

/** The fields that identify an item; of those that are missing, the defaults. */
function keyOf(item: Json, keys: readonly string[], items: StructuralSchema | undefined): Json {
  const fields = isObject(item) ? item : {};
  const pairs = keys.map((key) => [key, fields[key] ?? items?.properties?.[key]?.default] as const);
  return Object.fromEntries(pairs.filter(([, value]) => value !== undefined)) as Json;
}

/** With the fields of objects in one order. */
function sorted(value: Json): Json {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isObject(value)) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, item]) => [key, sorted(item)])) as Json;
}
