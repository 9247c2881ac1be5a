/**
 * Is this object what Kubernetes would accept, and what do we make of it? Usable without a server: the CLI checks every
 * document with `validate` before it applies any.
 *
 * Three layers: the schema of the kind (ajv; compiled on first use of a kind, about 10 ms), rules between fields
 * (`rules.ts`), and what only the cluster knows (addresses, ports, names taken), which the controllers check on writing.
 */
import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import type { DataValidateFunction } from 'ajv/dist/types/index.js';
import type { FieldError } from '../errors.ts';
import { nearestWord } from '../nearest-word.ts';
import { apiVersionOf, RESOURCES, resourceOfKind } from '../resources.ts';
import { checkRules } from '../rules/object.ts';
import type { Kind, KubeObject } from '../types/objects.ts';
import { type Schema, SHARED } from './fields.ts';
import { SCHEMAS } from './objects.ts';

export interface FieldWarning {
  path: string;
  message: string;
}

export interface Validation {
  /** Empty: the object can be applied. */
  errors: FieldError[];
  /** Fields that Kubernetes has and we do not act upon. */
  warnings: FieldWarning[];
}

/** Kinds a person may well try. That they exist is worth saying, and that we do not have them. */
const KNOWN_ELSEWHERE = new Set(
  `APIService Binding CSIDriver CSINode CertificateSigningRequest ClusterRole ClusterRoleBinding ControllerRevision
  CronJob CustomResourceDefinition DaemonSet FlowSchema HorizontalPodAutoscaler Ingress IngressClass IPAddress Job
  Lease LimitRange MutatingWebhookConfiguration NetworkPolicy PersistentVolume PersistentVolumeClaim
  PodDisruptionBudget PodTemplate PriorityClass ReplicationController ResourceQuota Role RoleBinding RuntimeClass
  ServiceAccount ServiceCIDR StatefulSet StorageClass ValidatingAdmissionPolicy ValidatingWebhookConfiguration
  VolumeAttachment`.split(/\s+/),
);

// Our schemas are not checked against the meta-schema and the code made from them is not optimised: both take longer
// than all the checking a command ever does (Pod: 350 ms with them, Node 20, 2 cores).
const ajv = new Ajv({
  allErrors: true,
  verbose: true,
  strict: false,
  passContext: true,
  logger: false,
  meta: false,
  validateSchema: false,
  inlineRefs: false,
  code: { optimize: false },
});
ajv.addKeyword({ keyword: 'expected' });
const noteUnsupported: DataValidateFunction = function (this: string[], ...[, , , at]: unknown[]) {
  this.push((at as { instancePath: string }).instancePath);
  return true;
};
ajv.addKeyword({ keyword: 'unsupported', errors: false, validate: noteUnsupported });
for (const [name, schema] of Object.entries(SHARED)) ajv.addSchema(schema, name);

const validators = new Map<string, ValidateFunction>();

function validatorOf(kind: Kind): ValidateFunction {
  let validator = validators.get(kind);
  if (validator === undefined) {
    validator = ajv.compile(SCHEMAS[kind]);
    validators.set(kind, validator);
  }
  return validator;
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
  /** The object without nulls and, unless unknown fields are errors, without these. */
  object: KubeObject;
}

/** The first layer alone. `unknown` says what a field that does not exist is: an error, a warning, or nothing. */
export function checkSchema(input: unknown, unknown: 'Strict' | 'Warn' | 'Ignore' = 'Strict'): SchemaCheck {
  const errors = checkKind(input);
  let object = input as KubeObject;
  if (errors.length > 0) return { errors, warnings: [], object };
  object = withoutNulls(object) as KubeObject;
  const validator = validatorOf(object.kind as Kind);
  const unsupported: string[] = [];
  if (validator.call(unsupported, object)) return { errors, warnings: unsupported.map(tellUnsupported), object };
  const found = validator.errors ?? [];
  const warnings = unsupported.map(tellUnsupported);
  if (unknown === 'Strict') return { errors: tellErrors(found), warnings, object };
  const strays = found.filter((e) => e.keyword === 'additionalProperties');
  if (strays.length > 0) object = structuredClone(object);
  for (const stray of strays) removeField(object, stray);
  if (unknown === 'Warn') {
    for (const { path, message } of tellErrors(strays)) warnings.push({ path, message });
  }
  return { errors: tellErrors(found.filter((e) => e.keyword !== 'additionalProperties')), warnings, object };
}

function removeField(object: KubeObject, { instancePath, params }: ErrorObject): void {
  let at: unknown = object;
  for (const part of instancePath.split('/').slice(1)) {
    at = (at as Record<string, unknown>)[part.replace(/~1/g, '/').replace(/~0/g, '~')];
  }
  delete (at as Record<string, unknown>)[params.additionalProperty as string];
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
    const message = KNOWN_ELSEWHERE.has(kind)
      ? `${kind} is not supported yet; supported are ${known}`
      : `unknown kind "${kind}"${didYouMean(
          kind,
          RESOURCES.map((r) => r.kind),
        )}; supported are ${known}`;
    return [{ path: 'kind', message, reason: 'FieldValueNotSupported' }];
  }
  const expected = apiVersionOf(resource);
  if (apiVersion !== expected) {
    return [{ path: 'apiVersion', message: `expected "${expected}" for kind ${kind}, got ${show(apiVersion)}` }];
  }
  return [];
}

function tellUnsupported(pointer: string): FieldWarning {
  return { path: pathOf(pointer), message: 'this field is not supported here and has no effect' };
}

function tellErrors(errors: ErrorObject[]): FieldError[] {
  const told = new Map<string, FieldError>();
  for (const error of errors) {
    const field = tellError(error);
    if (field !== undefined && !told.has(field.path)) told.set(field.path, field);
  }
  return [...told.values()];
}

function tellError(error: ErrorObject): FieldError | undefined {
  const schema = error.parentSchema as Schema;
  const path = pathOf(error.instancePath);
  switch (error.keyword) {
    case 'required': {
      const missing = error.params.missingProperty as string;
      const expected = schema.properties?.[missing]?.expected;
      const message = expected ? `required value is missing: expected ${expected}` : 'required value is missing';
      return { path: join(path, missing), message, reason: 'FieldValueRequired' };
    }
    case 'additionalProperties': {
      const name = error.params.additionalProperty as string;
      const message = `unknown field${didYouMean(name, Object.keys(schema.properties ?? {}))}`;
      return { path: join(path, name), message, reason: 'FieldUnknown' };
    }
    case 'propertyNames':
      return undefined; // Its cause is an error of its own, with the key as data.
    default: {
      const at = error.propertyName === undefined ? path : join(path, error.propertyName);
      const message = `expected ${schema.expected ?? error.message}, got ${show(error.data)}`;
      return { path: at, message, reason: error.keyword === 'enum' ? 'FieldValueNotSupported' : 'FieldValueInvalid' };
    }
  }
}

/** `/spec/ports/0/port` → `spec.ports[0].port`. */
function pathOf(pointer: string): string {
  let path = '';
  for (const part of pointer.split('/').slice(1)) {
    const word = part.replace(/~1/g, '/').replace(/~0/g, '~');
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

/** `; did you mean "port"?` when a name is near. */
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
