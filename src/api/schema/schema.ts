/**
 * Validation of objects, with errors as in Kubernetes and warnings for fields without effect here. Usable without a
 * server: the CLI checks every document with `validate` before it applies any.
 *
 * There are three layers: the schema of the kind (validators.ts); rules across
 * fields (`rules/object.ts`); and checks against the cluster's state (addresses, ports and names in use), which the
 * controllers do on each write.
 */
import type { ErrorObject } from 'ajv';
import { hasRules } from '../custom/definition.ts';
import type { FieldError } from '../errors.ts';
import { nearestWord } from '../nearest-word.ts';
import { typeNameOf } from '../published/types.ts';
import { apiVersionOf, RESOURCES, type Resource, resourceOfKind } from '../resources.ts';
import { unmatchedPeers } from '../rules/cluster-network-policy.ts';
import { checkRules } from '../rules/object.ts';
import type { ClusterNetworkPolicy } from '../types/cluster-network-policy.ts';
import type { KubeObject } from '../types/objects.ts';
import { withCanonicalQuantities } from './canonical.ts';
import type { Schema } from './fields.ts';
import { SCHEMAS } from './objects.ts';
import { checkField, checkType, type Finding, fieldAt } from './published.ts';
import { validatorOf } from './validators.ts';

export interface FieldWarning {
  /** Empty if the warning is about the object as a whole. */
  path: string;
  message: string;
}

export interface Validation {
  /** Empty: the object can be applied. */
  errors: FieldError[];
  /** Fields that exist in Kubernetes and have no effect here. */
  warnings: FieldWarning[];
}

/** The errors of an object's kind, version and metadata. */
export function checkEnvelope(resource: Resource, object: KubeObject): FieldError[] {
  const validator = validatorOf(resource);
  return validator.call([], object) ? [] : fieldErrors((validator.errors ?? []).flatMap(findingOf));
}

/** The errors of the fields that only the published type describes. */
function checkPublished(resource: Resource, object: KubeObject, unsupported: readonly string[]): Finding[] {
  const findings: Finding[] = [];
  const covered = SCHEMAS[resource.key] !== undefined;
  if (covered && unsupported.length === 0) return findings;
  const type = typeNameOf(resource.group, resource.version, resource.kind);
  if (type === undefined) return findings;
  if (covered) {
    for (const pointer of unsupported) {
      const field = fieldAt(type, pointer);
      if (field !== undefined) checkField(valueAt(object, pointer), field, pointer, findings);
    }
    return findings;
  }
  const { apiVersion, kind, metadata, ...rest } = object;
  checkType(rest, type, '', findings);
  return findings;
}

const unescaped = (part: string) => part.replace(/~1/g, '/').replace(/~0/g, '~');

function valueAt(object: unknown, pointer: string): unknown {
  let value = object;
  for (const part of pointer.split('/').slice(1)) value = (value as Record<string, unknown>)[unescaped(part)];
  return value;
}

/** Checks one manifest. `null` members count as absent, as in Kubernetes. Never throws. */
export function validate(object: unknown): Validation {
  const { errors, warnings, object: clean } = checkSchema(object);
  if (errors.every((e) => e.reason === 'FieldUnknown')) {
    if (clean.metadata?.name === undefined && clean.metadata?.generateName === undefined) {
      errors.push({ path: 'metadata.name', message: 'required value is missing', reason: 'FieldValueRequired' });
    } else {
      errors.push(...checkRules(clean));
    }
  }
  return { errors, warnings };
}

export interface SchemaCheck extends Validation {
  /** The object without null members and, with `Warn` and `Ignore`, without unknown fields. */
  object: KubeObject;
}

/** The first layer only. @param unknown unknown fields are errors, warnings, or silently dropped */
export function checkSchema(input: unknown, unknown: 'Strict' | 'Warn' | 'Ignore' = 'Strict'): SchemaCheck {
  const errors = checkKind(input);
  let object = input as KubeObject;
  if (errors.length > 0) return { errors, warnings: [], object };
  object = withoutNulls(object) as KubeObject;
  const resource = resourceOfKind(object.kind)!;
  const validator = validatorOf(resource);
  const unsupported: string[] = [];
  const found = validator.call(unsupported, object) ? [] : (validator.errors ?? []).flatMap(findingOf);
  found.push(...checkPublished(resource, object, unsupported));
  const warnings = unsupported.map(unsupportedWarning);
  if (resource.inert) warnings.push(inertWarning(resource));
  if (resource.key === 'CustomResourceDefinition' && hasRules(object)) {
    warnings.push({ path: '', message: 'x-kubernetes-validations are stored and not evaluated' });
  }
  if (resource.key === 'ClusterNetworkPolicy' && found.length === 0) {
    for (const path of unmatchedPeers(object as ClusterNetworkPolicy)) {
      warnings.push({ path, message: 'names are not resolved by this cluster, so this peer matches nothing' });
    }
  }
  const type = typeNameOf(resource.group, resource.version, resource.kind);
  if (type !== undefined) object = withCanonicalQuantities(object, type);
  if (found.length === 0) return { errors, warnings, object };
  if (unknown === 'Strict') return { errors: fieldErrors(found), warnings, object };
  const strays = found.filter(({ what }) => what === 'unknown');
  if (strays.length > 0) object = structuredClone(object);
  for (const { pointer, member } of strays) delete (valueAt(object, pointer) as Record<string, unknown>)[member!];
  if (unknown === 'Warn') {
    // As the API server warns (sigs.k8s.io/json, strict decoding).
    for (const { path, message } of fieldErrors(strays)) {
      warnings.push({ path: '', message: message.replace(UNKNOWN, `${UNKNOWN} ${JSON.stringify(path)}`) });
    }
  }
  return { errors: fieldErrors(found.filter(({ what }) => what !== 'unknown')), warnings, object };
}

function checkKind(object: unknown): FieldError[] {
  if (typeof object !== 'object' || object === null || Array.isArray(object)) {
    return [{ path: '', message: `expected an object with apiVersion and kind, got ${show(object)}` }];
  }
  const { apiVersion, kind } = object as Partial<KubeObject>;
  if (typeof kind !== 'string' || kind === '') {
    return [{ path: 'kind', message: `expected the name of a kind such as Pod, got ${show(kind)}` }];
  }
  const resource = resourceOfKind(kind);
  if (resource === undefined) {
    const known = RESOURCES.map((r) => r.kind).join(', ');
    const near = didYouMean(
      kind,
      RESOURCES.map((r) => r.kind),
    );
    const message = `unknown kind "${kind}"${near}; supported are ${known}`;
    return [{ path: 'kind', message, reason: 'FieldValueNotSupported' }];
  }
  const expected = apiVersionOf(resource);
  if (apiVersion !== expected) {
    return [{ path: 'apiVersion', message: `expected "${expected}" for kind ${kind}, got ${show(apiVersion)}` }];
  }
  return [];
}

/** The text is the same for all objects of a kind, so that clients print it once. */
function inertWarning({ plural }: Resource): FieldWarning {
  return { path: '', message: `${plural} are stored and have no effect in this cluster` };
}

function unsupportedWarning(pointer: string): FieldWarning {
  return { path: pathOf(pointer), message: 'this field is not supported here and has no effect' };
}

/** `spec.affinity: this field …` */
export const warningText = ({ path, message }: FieldWarning): string => (path === '' ? message : `${path}: ${message}`);

/** One error per path. */
function fieldErrors(findings: readonly Finding[]): FieldError[] {
  const byPath = new Map<string, FieldError>();
  for (const finding of findings) {
    const error = fieldError(finding);
    if (!byPath.has(error.path)) byPath.set(error.path, error);
  }
  return [...byPath.values()];
}

const UNKNOWN = 'unknown field';

function fieldError({ pointer, member, what, expected, value, names = [] }: Finding): FieldError {
  const at = pathOf(pointer);
  const path = member === undefined ? at : join(at, member);
  switch (what) {
    case 'missing': {
      const message = expected ? `required value is missing: expected ${expected}` : 'required value is missing';
      return { path, message, reason: 'FieldValueRequired' };
    }
    case 'unknown':
      return { path, message: `${UNKNOWN}${didYouMean(member!, names)}`, reason: 'FieldUnknown' };
    default: {
      const reason = what === 'not-listed' ? 'FieldValueNotSupported' : 'FieldValueInvalid';
      return { path, message: `expected ${expected}, got ${show(value)}`, reason };
    }
  }
}

/** An error of ajv as a finding; empty for an error that only wraps another. */
function findingOf(error: ErrorObject): Finding[] {
  const schema = error.parentSchema as Schema;
  const pointer = error.instancePath;
  switch (error.keyword) {
    case 'required': {
      const member = error.params.missingProperty as string;
      return [{ pointer, member, what: 'missing', expected: schema.properties?.[member]?.expected ?? '' }];
    }
    case 'additionalProperties': {
      const member = error.params.additionalProperty as string;
      return [{ pointer, member, what: 'unknown', expected: '', names: Object.keys(schema.properties ?? {}) }];
    }
    case 'propertyNames':
      return []; // The cause is reported separately, with the key as its data.
    default: {
      const expected = schema.expected ?? error.message ?? '';
      const what = error.keyword === 'enum' ? 'not-listed' : 'wrong';
      const member = error.propertyName;
      return [{ pointer, what, expected, value: error.data, ...(member !== undefined && { member }) }];
    }
  }
}

/** `/spec/ports/0/port` → `spec.ports[0].port`. */
function pathOf(pointer: string): string {
  let path = '';
  for (const part of pointer.split('/').slice(1)) {
    const word = unescaped(part);
    path = /^\d+$/.test(word) && path !== '' ? `${path}[${word}]` : join(path, word);
  }
  return path;
}

function join(path: string, name: string): string {
  if (!/^[A-Za-z_$][\w$-]*$/.test(name)) return `${path}[${name}]`;
  return path === '' ? name : `${path}.${name}`;
}

function show(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'an object';
  const text = JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}

/** `; did you mean "port"?` if there is a similar name. */
function didYouMean(word: string, names: readonly string[]): string {
  const near = nearestWord(word, names);
  return near === undefined ? '' : `; did you mean "${near}"?`;
}

/** The value without members that are null; the same value when there are none. */
export function withoutNulls(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) {
    let copy: unknown[] | undefined;
    for (let i = 0; i < value.length; i++) {
      const item = withoutNulls(value[i]);
      if (item !== value[i]) {
        copy ??= [...value];
        copy[i] = item;
      }
    }
    return copy ?? value;
  }
  let copy: Record<string, unknown> | undefined;
  for (const [key, member] of Object.entries(value)) {
    const clean = withoutNulls(member);
    if (clean === member && member !== null) continue;
    copy ??= { ...value };
    if (member === null) delete copy[key];
    else copy[key] = clean;
  }
  return copy ?? value;
}
