/** docs/pod-fields.md matches the schema, and the schema knows every field of the published types. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { publishedType } from '../../../../src/api/published/types.ts';
import { NOTES, podFieldRows, podFieldsAsMarkdown } from '../../../../src/api/schema/pod-fields.ts';
import { validate } from '../../../../src/api/schema/schema.ts';
import { ROOT } from '../../../lib/cluster.ts';

const rows = podFieldRows();
const stateOf = (type: string, field: string) => rows.find((row) => row.type === type && row.field === field)?.state;

test('docs/pod-fields.md is what `npm run docs` writes', () => {
  assert.is(readFileSync(join(ROOT, 'docs/pod-fields.md'), 'utf8'), podFieldsAsMarkdown());
});

test('every published field of PodSpec and Container is in the table, and none is refused', () => {
  for (const type of ['PodSpec', 'Container', 'Probe', 'Volume', 'SecurityContext', 'PodSecurityContext']) {
    const known = rows.filter((row) => row.type === type).map(({ field }) => field);
    assert.equal(known, [...publishedType(`k8s.io.api.core.v1.${type}`).fields.keys()], type);
  }
  assert.equal(
    rows.filter(({ state }) => state === 'refused').map(({ type, field }) => `${type}.${field}`),
    [],
  );
});

test('every note is about a field of the table', () => {
  const fields = new Set(rows.map(({ type, field }) => `${type}.${field}`));
  assert.equal(
    Object.keys(NOTES).filter((name) => !fields.has(name)),
    [],
  );
});

test('the warnings are those of the table: a stored field warns, one that is acted upon does not', () => {
  const values: Record<string, unknown> = {
    hostPID: true,
    hostUsers: false,
    setHostnameAsFQDN: true,
    schedulerName: 's',
    hostNetwork: true,
    imagePullSecrets: [{ name: 's' }],
  };
  const own: Record<string, unknown> = {
    tty: true,
    resizePolicy: [{ resourceName: 'cpu', restartPolicy: 'NotRequired' }],
  };
  const { errors, warnings } = validate({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p' },
    spec: { containers: [{ name: 'c', image: 'i', ...own }], ...values },
  });
  assert.equal(errors, []);
  const stored = [
    ...Object.keys(values)
      .filter((field) => stateOf('PodSpec', field) === 'stored')
      .map((field) => `spec.${field}`),
    ...Object.keys(own)
      .filter((field) => stateOf('Container', field) === 'stored')
      .map((field) => `spec.containers[0].${field}`),
  ];
  assert.ok(stored.length > 2);
  assert.equal(warnings.map(({ path }) => path).sort(), stored.sort());
});

test.run();
