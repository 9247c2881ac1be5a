/** `npm run docs`: generates the pages that are derived from the source. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { verdictsAsMarkdown } from '../../native-free-dataplane/print/verdict.ts';
import { podFieldsAsMarkdown } from '../../src/api/schema/pod-fields.ts';
import { ROOT } from './cluster.ts';
import { reliabilityPage } from './reliability-page.ts';

const PAGES = {
  'docs/drops.md': verdictsAsMarkdown,
  'docs/pod-fields.md': podFieldsAsMarkdown,
  'docs/reliability.md': reliabilityPage,
};
for (const [path, text] of Object.entries(PAGES)) {
  writeFileSync(join(ROOT, path), text());
  console.log(`wrote ${path}`);
}
