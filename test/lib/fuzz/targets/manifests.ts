/** Manifest files: read, or refused with lines that name the document, never with an error of the code itself. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { ManifestError } from '../../../../src/cluster/errors.ts';
import { parseManifests } from '../../../../src/cluster/manifests/manifests.ts';
import { ROOT } from '../../cluster.ts';
import { pick, type Random } from '../../seeded-random.ts';
import { spoil } from '../json.ts';
import type { FuzzTarget } from '../target.ts';

const DIRECTORY = join(ROOT, 'test/manifests');
/** Texts of single documents. */
const documents = readdirSync(DIRECTORY)
  .sort()
  .flatMap((name) => readFileSync(join(DIRECTORY, name), 'utf8').split(/^---$/m))
  .filter((text) => text.length < 4000);
const objects = documents.flatMap((text) => {
  try {
    return parseManifests([{ name: 'it', text }]).map(({ object }) => object);
  } catch {
    return [];
  }
});
const PIECES = [
  '---\n',
  '&a ',
  '*a',
  '<<: *a\n',
  '- ',
  '\t',
  '? ',
  '!!binary ',
  '|\n',
  '>-\n',
  '{',
  '}',
  '[',
  '"',
  '%YAML 1.1\n',
];

function text(random: Random): string {
  if (random.below(2) === 0) {
    let object: unknown = pick(random, objects);
    for (let n = random.below(4); n > 0; n--) object = spoil(object, random);
    return stringify(object, { aliasDuplicateObjects: false }) ?? '';
  }
  let it = pick(random, documents);
  for (let n = random.below(4); n > 0; n--) {
    const at = random.below(it.length + 1);
    it = it.slice(0, at) + pick(random, PIECES) + it.slice(at + random.below(8));
  }
  return it;
}

export const target: FuzzTarget = {
  name: 'manifests',
  unit: 'documents',
  run(random: Random): number {
    const given = text(random);
    try {
      parseManifests([{ name: 'it', text: given }]);
    } catch (error) {
      if (!(error instanceof ManifestError)) throw new Error(`${(error as Error).stack}\nof\n${given}`);
    }
    return 1;
  },
};
