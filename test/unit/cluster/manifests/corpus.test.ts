/**
 * Documents of each category that public repositories have (test/manifests, written here): at least nine in ten are accepted, and
 * those that are refused are the ones that are expected, each with its reason.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseManifests } from '../../../../src/cluster/manifests/manifests.ts';
import { missingImages } from '../../../../src/cluster/manifests/placement.ts';
import { ROOT } from '../../../lib/cluster.ts';

const DIRECTORY = join(ROOT, 'test/manifests');
const REFUSED = 'not-served.yaml';
const accepted = readdirSync(DIRECTORY).filter((name) => name !== REFUSED);
const parse = (name: string, text = readFileSync(join(DIRECTORY, name), 'utf8')) => parseManifests([{ name, text }]);

for (const name of accepted) {
  test(`${name}: every document is accepted`, () => {
    assert.ok(parse(name).length > 0);
  });
}

test('each refused document has a reason, and they are less than a tenth', () => {
  const documents = readFileSync(join(DIRECTORY, REFUSED), 'utf8').split(/^---$/m);
  const reasons = documents.map((text) => {
    try {
      parse(REFUSED, text);
      return 'accepted';
    } catch (error) {
      return (error as Error).message;
    }
  });
  for (const [i, reason] of [/ServiceMonitor/, /HTTPRoute/, /extensions\/v1beta1/].entries())
    assert.match(reasons[i]!, reason);
  const total = accepted.flatMap((name) => parse(name)).length + documents.length;
  assert.ok(total > 40, String(total));
  assert.ok(documents.length / total <= 0.1);
});

test('every image is one of the catalogue', () => {
  assert.equal(
    missingImages(
      accepted.flatMap((name) => parse(name)),
      [],
    ),
    [],
  );
});

test.run();
