/** The measured code as it is shipped: bundled into one function by scripts/bundle.mjs. */
import { raiseInliningLimits } from '../../../src/worker/inlining.ts';

export type PipelineModule = Pick<typeof import('../../../native-free-dataplane/pipeline.ts'), 'processFrame' | 'tick'>;

/** By relative path, so that a copy of dist/ measures its own bundle. */
const load = (path: string): Promise<unknown> => import(new URL(path, import.meta.url).href);

export const bundledPipeline = (await load('../../../bundle/pipeline.js')) as PipelineModule;

/** The pipeline as workers run it. */
export function workersPipeline(): PipelineModule {
  raiseInliningLimits();
  return bundledPipeline;
}

/** The loops of `lib/NAME.ts`, bundled into one function with all code they call, with the workers' inlining limits. */
export async function bundledLoops<Loops>(name: string): Promise<Loops> {
  raiseInliningLimits();
  return (await load(`../bundle/${name}.js`)) as Loops;
}
