/** The functions that ajv makes from the schemas of the kinds, at run time and for the bundle (scripts/schema-code.mjs). */
import { createRequire } from 'node:module';
import type { ErrorObject, ValidateFunction } from 'ajv';
import standalone from 'ajv/dist/standalone/index.js';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { apiVersionOf, RESOURCES } from '../../../src/api/resources.ts';
import { openSchemas, schemaOf, validatorName, validatorOf } from '../../../src/api/schema/validators.ts';

const test = suite('schemas as functions');

/** The code of all kinds, as the bundle contains it. */
function bundled(): Record<string, ValidateFunction> {
  const ajv = openSchemas(true);
  for (const resource of RESOURCES) ajv.addSchema(schemaOf(resource), resource.key);
  const code = standalone.default(
    ajv,
    Object.fromEntries(RESOURCES.map((resource) => [validatorName(resource), resource.key])),
  );
  const module = { exports: {} };
  new Function('exports', 'require', 'module', code)(module.exports, createRequire(import.meta.url), module);
  return module.exports;
}

const essence = (errors: ErrorObject[] | null | undefined) =>
  (errors ?? []).map(({ instancePath, keyword, params, parentSchema }) => ({
    instancePath,
    keyword,
    params,
    parentSchema,
  }));

test('the code for the bundle finds the same errors and unsupported fields as the functions made at run time', () => {
  const functions = bundled();
  let errors = 0;
  let unsupported = 0;
  for (const resource of RESOURCES) {
    const { kind } = resource;
    const apiVersion = apiVersionOf(resource);
    const container = {
      name: 'c',
      image: 'nginx',
      workingDir: 1,
      ports: [{ containerPort: 'x' }],
      securityContext: { procMount: 'Unmasked' },
    };
    const template = { metadata: { labels: { a: 1 } }, spec: { containers: [container], hostPID: true, nosuch: 1 } };
    for (const object of [
      { apiVersion, kind, metadata: { name: 'a' } },
      { apiVersion, kind, metadata: { name: 'A_', labels: { 'a b': 'c d' }, nosuch: true } },
      {
        apiVersion,
        kind,
        metadata: { name: 'a' },
        spec: { ...template.spec, template, replicas: -1, ports: 3, type: 'x' },
      },
      { apiVersion, kind, metadata: { name: 'a' }, spec: 'x', data: 3, status: [], rules: {}, subjects: 1 },
    ]) {
      const [atRunTime, atBuildTime] = [validatorOf(resource), functions[validatorName(resource)]!];
      const pointers: [string[], string[]] = [[], []];
      assert.is(atBuildTime.call(pointers[1], object), atRunTime.call(pointers[0], object), kind);
      assert.equal(essence(atBuildTime.errors), essence(atRunTime.errors), kind);
      assert.equal(pointers[1], pointers[0], kind);
      errors += essence(atRunTime.errors).length;
      unsupported += pointers[0].length;
    }
  }
  assert.ok(
    errors > 100 && unsupported > 0,
    `${errors} errors, ${unsupported} unsupported fields: too few to show anything`,
  );
});

test('the name of an IPAddress is an address of either family', () => {
  const resource = RESOURCES.find(({ kind }) => kind === 'IPAddress')!;
  const validate = openSchemas().compile(schemaOf(resource));
  for (const name of ['10.96.0.7', 'fe80::42:1dff:fe84:f9e2']) {
    const object = { apiVersion: apiVersionOf(resource), kind: 'IPAddress', metadata: { name } };
    assert.ok(validate.call([], object), JSON.stringify(validate.errors));
  }
});

test.run();
