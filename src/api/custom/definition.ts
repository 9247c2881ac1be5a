/**
 * CustomResourceDefinitions: their validation, their defaults, and the resources they define
 * (apiextensions-apiserver/pkg/apis/apiextensions). The conversion strategy between versions is None: only apiVersion
 * changes.
 */
import type { FieldError } from '../errors.ts';
import type { Resource } from '../resources.ts';
import { invalid } from '../rules/field-errors.ts';
import { ageOf } from '../tables/age.ts';
import type { Cell, Columns } from '../tables/cells.ts';
import type { KubeObject } from '../types/objects.ts';
import { valuesAt } from './json-path.ts';
import type { StructuralSchema } from './structural.ts';

export interface DefinedVersion {
  name: string;
  served: boolean;
  storage: boolean;
  deprecated?: boolean;
  deprecationWarning?: string;
  schema?: { openAPIV3Schema?: StructuralSchema };
  subresources?: {
    status?: object;
    scale?: { specReplicasPath: string; statusReplicasPath: string; labelSelectorPath?: string };
  };
  selectableFields?: { jsonPath: string }[];
  additionalPrinterColumns?: { name: string; type: string; jsonPath: string; priority?: number }[];
}

export interface Names {
  plural: string;
  singular?: string;
  kind: string;
  listKind?: string;
  shortNames?: string[];
  categories?: string[];
}

export interface Definition extends KubeObject {
  spec: {
    group: string;
    names: Names;
    scope: 'Namespaced' | 'Cluster';
    versions: DefinedVersion[];
    conversion?: { strategy: string };
    preserveUnknownFields?: boolean;
  };
  status?: { conditions?: object[]; acceptedNames?: Names; storedVersions?: string[] };
}

const APPROVED = 'api-approved.kubernetes.io';

/** The finalizer that keeps a definition until its instances are deleted. */
export const CLEANUP = 'customresourcecleanup.apiextensions.k8s.io';

/** Defaults for the names and strategies that the definition leaves out. */
export function withDefinitionDefaults(definition: Definition, created: boolean): Definition {
  const { names, conversion } = definition.spec;
  const finalizers = definition.metadata.finalizers ?? [];
  const singular = names.singular ?? names.kind.toLowerCase();
  return {
    ...definition,
    metadata: { ...definition.metadata, ...(created && { finalizers: [...new Set([...finalizers, CLEANUP])] }) },
    spec: {
      ...definition.spec,
      names: { ...names, singular, listKind: names.listKind ?? `${names.kind}List` },
      conversion: conversion ?? { strategy: 'None' },
    },
  };
}

const required = (path: string, message = 'Required value'): FieldError => ({
  path,
  message,
  reason: 'FieldValueRequired',
});

/** All rules that a definition breaks. */
export function checkDefinition({ metadata, spec }: Definition): FieldError[] {
  const errors: FieldError[] = [];
  const name = `${spec.names.plural}.${spec.group}`;
  if (metadata.name !== name)
    errors.push(invalid('metadata.name', metadata.name, `must be spec.names.plural+"."+spec.group`));
  if (!spec.group.includes('.'))
    errors.push(invalid('spec.group', spec.group, 'should be a domain with at least one dot'));
  const strategy = spec.conversion?.strategy ?? 'None';
  if (strategy !== 'None') {
    const message = `Unsupported value: ${JSON.stringify(strategy)}: supported values: "None"`;
    errors.push({ path: 'spec.conversion.strategy', message, reason: 'FieldValueNotSupported' });
  }
  if (spec.preserveUnknownFields) {
    errors.push(invalid('spec.preserveUnknownFields', true, 'must be false in order to use defaults in the schema'));
  }
  if (/(^|\.)(k8s|kubernetes)\.io$/.test(spec.group) && !metadata.annotations?.[APPROVED]) {
    errors.push(
      required(`metadata.annotations[${APPROVED}]`, 'Required value: protected groups must have approval annotation'),
    );
  }
  const stored = spec.versions.filter(({ storage }) => storage).length;
  if (stored !== 1)
    errors.push(invalid('spec.versions', stored, 'must have exactly one version marked as storage version'));
  if (new Set(spec.versions.map((version) => version.name)).size < spec.versions.length) {
    errors.push(
      invalid(
        'spec.versions',
        spec.versions.map((version) => version.name),
        'must contain unique version names',
      ),
    );
  }
  spec.versions.forEach((version, i) => {
    const path = `spec.versions[${i}].schema.openAPIV3Schema`;
    const schema = version.schema?.openAPIV3Schema;
    if (schema === undefined) errors.push(required(path, 'Required value: schemas are required'));
    else {
      if (schema.type !== 'object')
        errors.push(invalid(`${path}.type`, schema.type ?? '', 'must be object at the root'));
      checkStructural(schema, path, errors);
    }
  });
  return errors;
}

/** Structural: every value has a type (pkg/apiserver/schema/validation.go). */
function checkStructural(schema: StructuralSchema, path: string, errors: FieldError[]): void {
  const free = schema['x-kubernetes-int-or-string'] || schema['x-kubernetes-preserve-unknown-fields'];
  if (schema.type === undefined && !free) {
    errors.push(required(`${path}.type`, 'Required value: must not be empty for specified object fields'));
  }
  if (schema.$ref !== undefined) errors.push({ path: `${path}.$ref`, message: 'Forbidden: $ref is not supported' });
  if (schema.properties !== undefined && schema.additionalProperties !== undefined) {
    errors.push({
      path: `${path}.additionalProperties`,
      message: 'Forbidden: must not be used together with properties',
    });
  }
  for (const [name, inner] of Object.entries(schema.properties ?? {})) {
    checkStructural(inner, `${path}.properties[${name}]`, errors);
  }
  if (schema.items !== undefined) checkStructural(schema.items, `${path}.items`, errors);
  else if (schema.type === 'array') errors.push(required(`${path}.items`, 'Required value: must be specified'));
  if (typeof schema.additionalProperties === 'object') {
    checkStructural(schema.additionalProperties, `${path}.additionalProperties`, errors);
  }
}

/** Does a schema contain CEL rules? They are not evaluated here. */
export function hasRules(schema: unknown): boolean {
  if (typeof schema !== 'object' || schema === null) return false;
  return Object.entries(schema).some(([key, value]) => key === 'x-kubernetes-validations' || hasRules(value));
}

/** The status of a definition whose names are accepted. */
export function establishedStatus(definition: Definition, now: string): Definition['status'] {
  const { names, versions } = definition.spec;
  const condition = (type: string, reason: string, message: string) => ({
    type,
    status: 'True',
    lastTransitionTime: now,
    reason,
    message,
  });
  const storage = versions.find((version) => version.storage)!.name;
  return {
    conditions: definition.status?.conditions ?? [
      condition('NamesAccepted', 'NoConflicts', 'no conflicts found'),
      condition('Established', 'InitialNamesAccepted', 'the initial names have been accepted'),
    ],
    acceptedNames: names,
    storedVersions: [...new Set([...(definition.status?.storedVersions ?? []), storage])],
  };
}

const path = (text: string) => text.replace(/^\./, '');

/** The resource of one served version. */
export function resourceOf(definition: Definition, version: DefinedVersion): Resource {
  const { group, names, scope, versions } = definition.spec;
  const scale = version.subresources?.scale;
  const apiVersion = `${group}/${version.name}`;
  const storage = versions.find((other) => other.storage)!;
  return {
    kind: names.kind as Resource['kind'],
    key: `${names.kind}.${group}` as Resource['key'],
    group,
    version: version.name,
    plural: names.plural,
    singular: names.singular ?? names.kind.toLowerCase(),
    shortNames: names.shortNames ?? [],
    categories: names.categories ?? [],
    namespaced: scope === 'Namespaced',
    status: version.subresources?.status !== undefined,
    ...(scale !== undefined && {
      scale: {
        specReplicas: path(scale.specReplicasPath),
        statusReplicas: path(scale.statusReplicasPath),
        ...(scale.labelSelectorPath !== undefined && { selector: path(scale.labelSelectorPath) }),
      },
    }),
    inert: false,
    view: { read: (stored) => ({ ...stored, apiVersion }), write: (given) => given },
    custom: {
      schema: version.schema?.openAPIV3Schema ?? {},
      storedApiVersion: `${group}/${storage.name}`,
      columns: columnsOf(version),
      selectable: (version.selectableFields ?? []).map(({ jsonPath }) => path(jsonPath)),
    },
  };
}

function columnsOf({ additionalPrinterColumns }: DefinedVersion): Columns<KubeObject> {
  const columns = additionalPrinterColumns ?? [{ name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' }];
  const cell = (object: KubeObject, type: string, jsonPath: string, nowMs: number): Cell => {
    const values = valuesAt(object, jsonPath);
    if (values.length === 0) return type === 'date' ? '<unknown>' : '';
    if (type === 'date') return ageOf(String(values[0]), nowMs);
    if (type === 'integer' || type === 'number') return Number(values[0]);
    if (type === 'boolean') return values[0] === true;
    return values.map((value) => (typeof value === 'object' ? JSON.stringify(value) : String(value))).join(',');
  };
  return {
    names: ['Name', ...columns.map(({ name, priority }) => ((priority ?? 0) > 0 ? `+${name}` : name))],
    row: (object, nowMs) => [
      object.metadata.name,
      ...columns.map(({ type, jsonPath }) => cell(object, type, jsonPath, nowMs)),
    ],
  };
}
