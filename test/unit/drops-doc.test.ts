/** docs/drops.md matches the rows of verdicts.ts. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { verdictsAsMarkdown } from '../../native-free-dataplane/print/verdict.ts';
import { VERDICTS } from '../../native-free-dataplane/verdicts.ts';
import { ROOT } from '../lib/cluster.ts';

test('docs/drops.md is what `npm run docs` writes', () => {
  const written = readFileSync(join(ROOT, 'docs/drops.md'), 'utf8');
  const rows = (text: string): string[] => text.split('\n').filter((line) => line.startsWith('|'));
  assert.equal(rows(written), rows(verdictsAsMarkdown()));
  assert.is(written, verdictsAsMarkdown());
});

test('every verdict that is counted has exactly one line', () => {
  const written = verdictsAsMarkdown().split('\n');
  for (const row of VERDICTS) {
    if (row === undefined) continue;
    const lines = written.filter((line) => line.startsWith(`| \`${row.name}\` |`)).length;
    assert.is(lines, row.class === 'go-on' ? 0 : 1, row.name);
  }
});

test.run();
