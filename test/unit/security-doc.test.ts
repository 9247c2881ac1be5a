/** docs/security.md: every promise names a test, and that test exists. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ROOT } from '../lib/cluster.ts';

const page = readFileSync(join(ROOT, 'docs/security.md'), 'utf8');
const rows = page.split('\n').filter((line) => /^\| (?!---|promise |report )/.test(line));

test('every row of docs/security.md names a test file, and a test in it', () => {
  assert.ok(rows.length > 50, `${rows.length} rows`);
  for (const row of rows) {
    const [, path = '', title = ''] = /\| `(test\/[^`]+\.test\.ts)`: (.+?) \|$/.exec(row) ?? [];
    assert.ok(existsSync(join(ROOT, path)) && path !== '', `no test file in: ${row}`);
    // A title may be interpolated, and quoted either way.
    assert.ok(readFileSync(join(ROOT, path), 'utf8').includes(title), `${path} has no test "${title}"`);
  }
});

/** Of CVEs, advisories, issues and commits. */
const ID = /CVE-\d{4}-\d+|GHSA-[\w-]+|GO-\d{4}-\d+|VU#\d+|#\d+|security-\d+|(?<=[ ,])[0-9a-f]{9}(?=[ ,]|$)/g;

test('every report that docs/security.md names is named by a test of that file', () => {
  const section = page.split(/^## /m).find((text) => text.startsWith('Errors that others had'))!;
  const named = [...section.matchAll(/^\| (.+) \| `(test\/.+?)`/gm)].flatMap(([, reports = '', path = '']) =>
    (reports.match(ID) ?? []).map((id) => [id, readFileSync(join(ROOT, path), 'utf8')] as const),
  );
  assert.ok(named.length > 60, `${named.length} reports`);
  assert.equal(
    named.filter(([id, text]) => !text.includes(id)).map(([id]) => id),
    [],
  );
});

test('every boundary says what is not promised', () => {
  const boundaries = page.split(/^## /m).slice(1);
  for (const section of boundaries.filter((text) => text.includes('| promise |'))) {
    assert.match(section, /^Not promised: /m, section.split('\n')[0]);
  }
});

test.run();
