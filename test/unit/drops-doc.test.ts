/** docs/drops.md and verdicts.ts say the same, and every verdict says what to do. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { verdictAdvice, verdictsAsMarkdown } from '../../native-free-dataplane/print/verdict-advice.ts';
import { VERDICT_TEXTS, Verdict } from '../../native-free-dataplane/verdicts.ts';
import { ROOT } from '../lib/cluster.ts';

const verdicts = Object.entries(Verdict).filter(([, number]) => number !== Verdict.GO_ON);

test('every verdict has a name, a sentence, a source and advice', () => {
  const wanting = verdicts.filter(([, number]) => {
    const text = VERDICT_TEXTS[number];
    return (
      !text || !/^[a-z0-9-]+$/.test(text.name) || !text.sentence.endsWith('.') || !text.source || !verdictAdvice(number)
    );
  });
  assert.equal(
    wanting.map(([name]) => name),
    [],
  );
});

test('no two verdicts share a number or a name', () => {
  assert.is(new Set(verdicts.map(([, number]) => number)).size, verdicts.length);
  assert.is(new Set(verdicts.map(([, number]) => VERDICT_TEXTS[number]?.name)).size, verdicts.length);
});

test('docs/drops.md is what `npm run docs` writes', () => {
  const written = readFileSync(join(ROOT, 'docs/drops.md'), 'utf8');
  const rows = (text: string): string[] => text.split('\n').filter((line) => line.startsWith('|'));
  assert.equal(rows(written), rows(verdictsAsMarkdown()));
  assert.is(written, verdictsAsMarkdown());
  for (const [, number] of verdicts) assert.ok(written.includes(`| \`${VERDICT_TEXTS[number]?.name}\` |`));
});

test.run();
