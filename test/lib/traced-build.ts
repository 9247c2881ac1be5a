/** The traced build of the pipeline, as `dataplane trace` loads it. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ROOT } from './cluster.ts';

type Traced = typeof import('../../native-free-dataplane/trace/traced.ts');

export const { processTraced } = (await import(pathToFileURL(join(ROOT, 'dist/bundle/traced.js')).href)) as Traced;
