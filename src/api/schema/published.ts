/**
 * Checks values against the published types: whole objects of kinds that are only stored, and the unsupported fields of
 * other kinds. Interpreted, not compiled: there are many large types, most of them used once (ajv took 0.4 s for Pod
 * alone).
 */
import {
  EXTENSIONS,
  isScalar,
  META,
  type PublishedField,
  publishedType,
  RUNTIME,
  TEXT_LISTS,
} from '../published/types.ts';
import { QUANTITY } from './fields.ts';

export interface Finding {
  /** JSON pointer of the value with the error. */
  pointer: string;
  /** The unknown or missing member; undefined if the value itself is wrong. */
  member?: string;
  what: 'unknown' | 'missing' | 'wrong' | 'not-listed';
  /** Description of a valid value. */
  expected: string;
  /** The actual value. */
  value?: unknown;
  /** For an unknown member: the valid names. */
  names?: readonly string[];
}

type Check = (value: unknown) => boolean;
const isText: Check = (value) => typeof value === 'string';
const integer =
  (limit: number): Check =>
  (value) =>
    Number.isInteger(value) && Math.abs(value as number) <= limit;
const BASE64 = /^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

const VALUES: Readonly<Record<string, { check: Check; expected: string }>> = {
  string: { check: isText, expected: 'text' },
  bool: { check: (value) => typeof value === 'boolean', expected: 'true or false' },
  bytes: { check: (value) => isText(value) && BASE64.test(value as string), expected: 'base64' },
  int32: { check: integer(2 ** 31), expected: 'an integer' },
  int64: { check: integer(Number.MAX_SAFE_INTEGER), expected: 'an integer' },
  double: { check: (value) => typeof value === 'number', expected: 'a number' },
  // Types whose JSON is not an object with their fields.
  [`${META}.Time`]: { check: isTime, expected: 'a time such as 2025-01-31T12:00:00Z' },
  [`${META}.MicroTime`]: { check: isTime, expected: 'a time such as 2025-01-31T12:00:00.000000Z' },
  [`${META}.FieldsV1`]: { check: isObject, expected: 'an object' },
  [`${RUNTIME}.RawExtension`]: { check: () => true, expected: 'any value' },
  [`${EXTENSIONS}.JSON`]: { check: () => true, expected: 'any value' },
  'k8s.io.apimachinery.pkg.api.resource.Quantity': {
    check: (value) => typeof value === 'number' || (isText(value) && QUANTITY.test(value as string)),
    expected: 'a quantity such as 100m, 0.5 or 64Mi',
  },
  'k8s.io.apimachinery.pkg.util.intstr.IntOrString': {
    check: (value) => isText(value) || integer(2 ** 31)(value),
    expected: 'an integer or text',
  },
};

/** Union types: a value that is an object is checked as the named type. */
const EITHER: Readonly<Record<string, string>> = {
  [`${EXTENSIONS}.JSONSchemaPropsOrArray`]: `${EXTENSIONS}.JSONSchemaProps`,
  [`${EXTENSIONS}.JSONSchemaPropsOrBool`]: `${EXTENSIONS}.JSONSchemaProps`,
  [`${EXTENSIONS}.JSONSchemaPropsOrStringArray`]: `${EXTENSIONS}.JSONSchemaProps`,
};

function isTime(value: unknown): boolean {
  return typeof value === 'string' && /^\d{4}-\d\d-\d\dT/.test(value) && !Number.isNaN(Date.parse(value));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Required fields are not enforced in a status: controllers may leave them out. */
const isReport = (type: string) => /(Status|Condition)$/.test(type);

const escaped = (key: string) => key.replace(/~/g, '~0').replace(/\//g, '~1');

/** Appends the errors of `value`, which should be of the published type, to `findings`. */
export function checkType(value: unknown, type: string, pointer: string, findings: Finding[]): void {
  const plain = VALUES[type];
  if (plain !== undefined) {
    if (!plain.check(value)) findings.push({ pointer, what: 'wrong', expected: plain.expected, value });
    return;
  }
  if (TEXT_LISTS.includes(type)) {
    checkField(value, { ...TEXT, list: true }, pointer, findings);
    return;
  }
  if (EITHER[type] !== undefined) {
    if (isObject(value)) checkType(value, EITHER[type], pointer, findings);
    return;
  }
  if (!isObject(value)) {
    findings.push({ pointer, what: 'wrong', expected: 'an object', value });
    return;
  }
  const { fields } = publishedType(type);
  for (const [member, inner] of Object.entries(value)) {
    const field = fields.get(member);
    if (field === undefined) {
      findings.push({ pointer, member, what: 'unknown', expected: '', names: [...fields.keys()] });
    } else checkField(inner, field, `${pointer}/${escaped(member)}`, findings);
  }
  if (isReport(type)) return;
  for (const [member, field] of fields) {
    if (!field.required || value[member] !== undefined) continue;
    findings.push({ pointer, member, what: 'missing', expected: field.list ? 'a list' : expectedOf(field) });
  }
}

const TEXT = { type: 'string', list: false, map: false, values: undefined } as PublishedField;

function expectedOf({ type, values }: PublishedField): string {
  if (values !== undefined) return `one of ${values.join(', ')}`;
  return VALUES[type]?.expected ?? 'an object';
}

/** As `checkType`, for a field: a value, a list or a map of values. */
export function checkField(value: unknown, field: PublishedField, pointer: string, findings: Finding[]): void {
  const one = { ...field, list: false, map: false };
  if (field.list) {
    if (!Array.isArray(value)) findings.push({ pointer, what: 'wrong', expected: 'a list', value });
    else for (const [i, item] of value.entries()) checkField(item, one, `${pointer}/${i}`, findings);
  } else if (field.map) {
    if (!isObject(value)) {
      findings.push({ pointer, what: 'wrong', expected: 'an object of keys and values', value });
    } else {
      for (const [key, item] of Object.entries(value)) checkField(item, one, `${pointer}/${escaped(key)}`, findings);
    }
  } else {
    // Go writes an unset text as "".
    const listed = field.values === undefined || value === '' || field.values.includes(value as string);
    if (listed || !isText(value)) checkType(value, field.type, pointer, findings);
    else findings.push({ pointer, what: 'not-listed', expected: expectedOf(field), value });
  }
}

/** The field at a JSON pointer into an object of this type; undefined if there is none. */
export function fieldAt(type: string, pointer: string): PublishedField | undefined {
  let at: PublishedField | undefined;
  let inside = type;
  for (const part of pointer.split('/').slice(1)) {
    if (at?.list || at?.map) {
      at = { ...at, list: false, map: false };
      continue;
    }
    if (isScalar(inside)) return undefined;
    at = publishedType(inside).fields.get(part.replace(/~1/g, '/').replace(/~0/g, '~'));
    if (at === undefined) return undefined;
    inside = at.type;
  }
  return at;
}
