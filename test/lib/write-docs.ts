/** `npm run docs`: generates the pages that are derived from the source. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { verdictsAsMarkdown } from '../../native-free-dataplane/print/verdict.ts';
import { ROOT } from './cluster.ts';

writeFileSync(join(ROOT, 'docs/drops.md'), verdictsAsMarkdown());
console.log('wrote docs/drops.md');
