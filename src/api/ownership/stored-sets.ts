/**
 * Cache of stored field sets. The pods of a template have equal sets, and a copy for each of 20,000 pods would be most
 * of their memory. So recently written sets are shared, and need not be parsed when they are read again.
 */
import { FieldSet, type FieldsV1 } from './field-set.ts';

const MAX_SHARED = 1000;

/** Keyed by their JSON, least recently used first. */
const shared = new Map<string, FieldsV1>();
const parsed = new WeakMap<object, FieldSet>();

/** The set's JSON object, which is shared and must not be changed. */
export function storedForm(set: FieldSet): FieldsV1 {
  const fields = set.encode();
  const text = JSON.stringify(fields);
  const known = shared.get(text);
  if (known !== undefined) {
    shared.delete(text);
    shared.set(text, known);
    return known;
  }
  shared.set(text, fields);
  parsed.set(fields, set);
  if (shared.size > MAX_SHARED) {
    const [oldest, unused] = shared.entries().next().value!;
    shared.delete(oldest);
    parsed.delete(unused);
  }
  return fields;
}

/** The set with this stored form, or the empty set if it is not one. It must not be changed. */
export function setOf(fields: unknown): FieldSet {
  const known = typeof fields === 'object' && fields !== null ? parsed.get(fields) : undefined;
  return known ?? FieldSet.decode(fields);
}
