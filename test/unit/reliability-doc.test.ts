import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ROOT } from '../lib/cluster.ts';
import { reliabilityPage } from '../lib/reliability-page.ts';

test('docs/reliability.md is made from the reports of the runs', () => {
  assert.fixture(readFileSync(join(ROOT, 'docs/reliability.md'), 'utf8'), reliabilityPage());
});

test.run();
