/**
 * Field sets as they are stored. The pods of one template have equal sets, and a copy for each of 20,000 pods would be most
 * of the memory that they take: the sets written last are shared, and need not be parsed when they are read again.
 */
import { FieldSet, type FieldsV1 } from './field-set.ts';

const MAX_SHARED = 1000;

/** By their JSON, the longest unused first. */
const shared = new Map<string, FieldsV1>();
const parsed = new WeakMap<object, FieldSet>();

/** The set's JSON, which is shared and must not be changed. */
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

/** The set of which this is the stored form; of anything else the empty set. It must not be changed. */
export function setOf(fields: unknown): FieldSet {
  const known = typeof fields === 'object' && fields !== null ? parsed.get(fields) : undefined;
  return known ?? FieldSet.decode(fields);
}
