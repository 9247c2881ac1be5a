/**
 * The schemas of the kinds as functions, made by ajv. A kind's function is made when it is first used, which takes 10 to
 * 100 ms; the bundle contains those of all kinds but custom ones (scripts/schema-code.mjs).
 */
import { Ajv, type KeywordCxt, type ValidateFunction } from 'ajv';
import { _, strConcat } from 'ajv/dist/compile/codegen/index.js';
import names from 'ajv/dist/compile/names.js';
import { apiVersionOf, type Resource } from '../resources.ts';
import { anything, dnsSubdomain, document, pathSegment, type Schema, SHARED } from './fields.ts';
import { SCHEMAS } from './objects.ts';
import { PREBUILT } from './prebuilt.ts';

/** Kinds whose names need not be DNS names; that of an IPAddress is one (src/api/rules/service-addresses.ts). */
const FREE_NAMES = new Set(['Role', 'RoleBinding', 'ClusterRole', 'ClusterRoleBinding', 'IPAddress']);

/**
 * An ajv that knows our keywords and the schemas that others refer to. Without the check against the meta-schema, which takes
 * longer than all validation that a command does.
 * @param source keep the code of its functions
 */
export function openSchemas(source = false): Ajv {
  const ajv = new Ajv({
    allErrors: true,
    verbose: true,
    strict: false,
    passContext: true,
    logger: false,
    meta: false,
    validateSchema: false,
    inlineRefs: false,
    code: { optimize: source, source },
  });
  ajv.addKeyword({ keyword: 'expected' });
  // Where an unsupported field is, into the list that is `this`.
  ajv.addKeyword({
    keyword: 'unsupported',
    errors: false,
    code: ({ gen, it }: KeywordCxt) => {
      gen.code(_`this.push(${strConcat(names.default.instancePath, it.errorPath)})`);
    },
  });
  for (const [name, schema] of Object.entries(SHARED)) ajv.addSchema(schema, name);
  return ajv;
}

/** The name of a kind's function. */
export const validatorName = (resource: Resource): string => `${apiVersionOf(resource)}/${resource.kind}`;

/** The schema of a kind; of its kind, version and metadata, if it is only stored. */
export function schemaOf(resource: Resource): Schema {
  const schema = SCHEMAS[resource.key];
  if (schema !== undefined) return schema;
  const name = FREE_NAMES.has(resource.kind) ? pathSegment : dnsSubdomain;
  return { ...document(apiVersionOf(resource), resource.kind, name, {}), additionalProperties: anything };
}

let ajv: Ajv | undefined;
const validators = new Map<string, ValidateFunction>();

/** The function that checks objects of a kind; pointers of unsupported fields are added to the array that is its `this`. */
export function validatorOf(resource: Resource): ValidateFunction {
  const name = validatorName(resource);
  let validator = PREBUILT[name] ?? validators.get(name);
  if (validator === undefined) {
    ajv ??= openSchemas();
    validator = ajv.compile(schemaOf(resource));
    validators.set(name, validator);
  }
  return validator;
}
