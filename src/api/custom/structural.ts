/**
 * Structural schemas of custom resources (apiextensions-apiserver/pkg/apiserver/schema): pruning, defaulting and
 * validation. No function changes its arguments.
 */
import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import type { FieldError } from '../errors.ts';
import { define, isObject, type Json, type JsonObject } from '../patches/json.ts';
import { tooMany } from '../rules/field-errors.ts';

/** A JSONSchemaProps of a CustomResourceDefinition. */
export interface StructuralSchema {
  type?: string;
  properties?: Record<string, StructuralSchema>;
  additionalProperties?: boolean | StructuralSchema;
  items?: StructuralSchema;
  default?: Json;
  nullable?: boolean;
  required?: string[];
  'x-kubernetes-preserve-unknown-fields'?: boolean;
  'x-kubernetes-embedded-resource'?: boolean;
  'x-kubernetes-int-or-string'?: boolean;
  'x-kubernetes-list-type'?: 'map' | 'set' | 'atomic';
  'x-kubernetes-list-map-keys'?: string[];
  'x-kubernetes-map-type'?: 'atomic' | 'granular';
  'x-kubernetes-validations'?: unknown[];
  [keyword: string]: unknown;
}

/** Fields that every object has, whether or not its schema lists them. */
const TYPE_META = new Set(['apiVersion', 'kind', 'metadata']);

/** The value without the fields that the schema does not list; their paths are appended to `unknown`. */
export function prune(value: Json, schema: StructuralSchema, unknown: string[], path: string = ''): Json {
  if (Array.isArray(value)) {
    if (schema.items === undefined) return value;
    return value.map((item, i) => prune(item, schema.items!, unknown, `${path}[${i}]`));
  }
  if (!isObject(value)) return value;
  const { properties = {}, additionalProperties } = schema;
  const resource = path === '' || schema['x-kubernetes-embedded-resource'] === true;
  const result: JsonObject = {};
  for (const [name, inner] of Object.entries(value)) {
    const at = path === '' ? name : `${path}.${name}`;
    const known = Object.hasOwn(properties, name) ? properties[name] : undefined;
    if (resource && TYPE_META.has(name)) define(result, name, inner);
    else if (known !== undefined) define(result, name, prune(inner, known, unknown, at));
    else if (isObject(additionalProperties)) define(result, name, prune(inner, additionalProperties, unknown, at));
    else if (schema['x-kubernetes-preserve-unknown-fields'] === true || additionalProperties === true) {
      define(result, name, inner);
    } else unknown.push(at);
  }
  return result;
}

/** The value with the schema's defaults for missing fields. */
export function withSchemaDefaults(value: Json, schema: StructuralSchema): Json {
  if (Array.isArray(value)) {
    return schema.items === undefined ? value : value.map((item) => withSchemaDefaults(item, schema.items!));
  }
  if (!isObject(value)) return value;
  const result: JsonObject = { ...value };
  const { properties = {}, additionalProperties } = schema;
  for (const [name, inner] of Object.entries(properties)) {
    const present = Object.hasOwn(result, name) ? result[name] : undefined;
    const missing = present === undefined || (present === null && inner.nullable !== true);
    if (missing && inner.default !== undefined) define(result, name, structuredClone(inner.default));
    else if (missing) delete result[name];
    if (Object.hasOwn(result, name)) define(result, name, withSchemaDefaults(result[name], inner));
  }
  if (!isObject(additionalProperties)) return result;
  for (const [name, inner] of Object.entries(result)) {
    if (!Object.hasOwn(properties, name)) define(result, name, withSchemaDefaults(inner, additionalProperties));
  }
  return result;
}

const ajv = new Ajv({
  allErrors: true,
  verbose: true,
  strict: false,
  logger: false,
  meta: false,
  validateSchema: false,
  validateFormats: false,
});

/** A validator of the schema. Throws Error if it is not a valid schema. */
export function compileStructural(schema: StructuralSchema): ValidateFunction {
  return ajv.compile(plainSchema(schema) as object);
}

/** As JSON Schema: without defaults, and with a list of types where two are allowed (int-or-string, nullable). */
function plainSchema(schema: Json): Json {
  if (Array.isArray(schema)) return schema.map(plainSchema);
  if (!isObject(schema)) return schema;
  const result: JsonObject = {};
  for (const [keyword, value] of Object.entries(schema)) {
    if (keyword === 'default' || keyword === 'example' || keyword.startsWith('x-')) continue;
    if (keyword === 'properties') {
      const properties = Object.entries(value as JsonObject).map(([name, inner]) => [name, plainSchema(inner)]);
      define(result, keyword, Object.fromEntries(properties));
    } else define(result, keyword, keyword === 'enum' ? value : plainSchema(value));
  }
  if (schema['x-kubernetes-int-or-string'] === true) result.type = ['integer', 'string'];
  // In OpenAPI 3.0 exclusiveMinimum is a flag beside minimum; in JSON Schema it is the bound itself.
  for (const bound of ['Minimum', 'Maximum']) {
    const flag = `exclusive${bound}`;
    if (result[flag] === true) result[flag] = result[bound.toLowerCase()];
    else delete result[flag];
  }
  return result;
}

/** The errors of a value, with the messages of k8s.io/kube-openapi/pkg/validation. */
export function structuralErrors(validator: ValidateFunction, value: Json): FieldError[] {
  if (validator(value)) return [];
  const byPath = new Map<string, FieldError>();
  for (const error of validator.errors ?? []) {
    const field = fieldError(error);
    if (!byPath.has(field.path)) byPath.set(field.path, field);
  }
  return [...byPath.values()];
}

function pathOf(pointer: string, member?: string): string {
  const parts = pointer.split('/').slice(1);
  if (member !== undefined) parts.push(member);
  return parts
    .map((part) => part.replace(/~1/g, '/').replace(/~0/g, '~'))
    .reduce((path, part) => (/^\d+$/.test(part) ? `${path}[${part}]` : path === '' ? part : `${path}.${part}`), '');
}

function fieldError({ keyword, instancePath, params, data, message = '' }: ErrorObject): FieldError {
  const path = pathOf(instancePath, keyword === 'required' ? (params.missingProperty as string) : undefined);
  const shown = JSON.stringify(data) ?? 'null';
  const invalid = (why: string): FieldError => ({ path, message: `Invalid value: ${shown}: ${path} in body ${why}` });
  switch (keyword) {
    case 'required':
      return { path, message: 'Required value', reason: 'FieldValueRequired' };
    case 'enum': {
      const values = (params.allowedValues as unknown[]).map((value) => JSON.stringify(value)).join(', ');
      return {
        path,
        message: `Unsupported value: ${shown}: supported values: ${values}`,
        reason: 'FieldValueNotSupported',
      };
    }
    case 'type': {
      const type = Array.isArray(data) ? 'array' : data === null ? 'null' : typeof data;
      return {
        path,
        message: `Invalid value: "${type}": ${path} in body must be of type ${[params.type].flat().join(' or ')}: "${type}"`,
      };
    }
    case 'minimum':
      return invalid(`should be greater than or equal to ${params.limit}`);
    case 'maximum':
      return invalid(`should be less than or equal to ${params.limit}`);
    case 'pattern':
      return invalid(`should match '${params.pattern}'`);
    case 'minLength':
      return invalid(`should be at least ${params.limit} chars long`);
    case 'maxLength':
      return { path, message: `Too long: may not be more than ${params.limit} bytes` };
    case 'maxItems':
      return tooMany(path, (data as unknown[]).length, params.limit as number);
    default:
      return invalid(message);
  }
}
