/**
 * Quantities are stored in canonical form, as in Kubernetes, whose decoder keeps the number and not the text: `0.5` as
 * `500m`, the number 1 as `"1"`. Only fields that may contain a quantity, by the published types, are visited.
 */
import { isScalar, type PublishedField, publishedType } from '../published/types.ts';
import { Quantity } from '../quantity.ts';

const QUANTITY = 'k8s.io.apimachinery.pkg.api.resource.Quantity';
/** Types whose values are arbitrary JSON or strings. */
const OPAQUE = /^k8s\.io\.(apimachinery|apiextensions_apiserver)\./;

/** Type → its members that are or contain quantities; types can be recursive. */
const holders = new Map<string, Map<string, PublishedField>>();

function holdersOf(type: string): Map<string, PublishedField> {
  const known = holders.get(type);
  if (known !== undefined) return known;
  const found = new Map<string, PublishedField>();
  holders.set(type, found);
  if (isScalar(type) || OPAQUE.test(type)) return found;
  for (const [name, field] of publishedType(type).fields) {
    if (field.type === QUANTITY || holdersOf(field.type).size > 0) found.set(name, field);
  }
  return found;
}

/** Returns the same object if there is nothing to change. */
export function withCanonicalQuantities<T>(value: T, type: string): T {
  if (type === QUANTITY) return canonical(value) as T;
  if (typeof value !== 'object' || value === null) return value;
  let copy: Record<string, unknown> | undefined;
  for (const [name, field] of holdersOf(type)) {
    const before = (value as Record<string, unknown>)[name];
    if (before === undefined) continue;
    const after = ofField(before, field);
    if (after === before) continue;
    copy ??= { ...(value as Record<string, unknown>) };
    copy[name] = after;
  }
  return (copy as T | undefined) ?? value;
}

function ofField(value: unknown, { type, list, map }: PublishedField): unknown {
  if (list && Array.isArray(value)) {
    const items = value.map((item) => withCanonicalQuantities(item, type));
    return items.some((item, i) => item !== value[i]) ? items : value;
  }
  if (!map || typeof value !== 'object' || value === null) return withCanonicalQuantities(value, type);
  const entries = Object.entries(value).map(([key, item]) => [key, withCanonicalQuantities(item, type)] as const);
  return entries.some(([key, item]) => item !== (value as Record<string, unknown>)[key])
    ? Object.fromEntries(entries)
    : value;
}

function canonical(value: unknown): unknown {
  const quantity = Quantity.parse(value as string);
  return quantity === undefined ? value : String(quantity);
}
