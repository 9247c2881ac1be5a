/** Prunes, defaults and validates a custom resource by the schema of its definition. */
import type { ValidateFunction } from 'ajv';
import { type FieldError, internalError } from '../errors.ts';
import type { Resource } from '../resources.ts';
import { checkEnvelope, type FieldWarning, withoutNulls } from '../schema/schema.ts';
import type { KubeObject } from '../types/objects.ts';
import { duplicateItems } from './list-types.ts';
import { compileStructural, prune, type StructuralSchema, structuralErrors, withSchemaDefaults } from './structural.ts';

export interface CustomCheck {
  object: KubeObject;
  errors: FieldError[];
  warnings: FieldWarning[];
}

/** Keyed by schema, which is a new object whenever its definition changes. */
const validators = new WeakMap<object, ValidateFunction>();

function validatorOf(resource: Resource, schema: StructuralSchema): ValidateFunction {
  let validator = validators.get(schema);
  if (validator === undefined) {
    try {
      validator = compileStructural(schema);
    } catch (error) {
      throw internalError(`the schema of ${resource.kind} cannot be used: ${(error as Error).message}`);
    }
    validators.set(schema, validator);
  }
  return validator;
}

/** @param unknown fields that the schema does not have are errors, warnings, or silently dropped */
export function checkCustom(resource: Resource, input: object, unknown: 'Strict' | 'Warn' | 'Ignore'): CustomCheck {
  const schema = resource.custom!.schema as StructuralSchema;
  const { metadata, ...rest } = input as KubeObject;
  const strays: string[] = [];
  const pruned = prune({ ...rest, metadata: withoutNulls(metadata) }, schema, strays);
  const object = withSchemaDefaults(pruned, schema) as KubeObject;
  const errors = checkEnvelope(resource, object);
  if (unknown === 'Strict') {
    errors.push(...strays.map((path) => ({ path, message: 'unknown field', reason: 'FieldUnknown' as const })));
  }
  errors.push(...structuralErrors(validatorOf(resource, schema), object), ...duplicateItems(object, schema));
  const notes = strays.map((path) => ({ path: '', message: `unknown field ${JSON.stringify(path)}` }));
  return { object, errors, warnings: unknown === 'Warn' ? notes : [] };
}
