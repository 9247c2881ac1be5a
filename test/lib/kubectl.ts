/** kubectl itself against a cluster that is up. Which one: environment variable KUBECTL, else the one in the PATH. */
import { spawnSync } from 'node:child_process';
import { output, type Ran, type RunOptions, run } from './cluster.ts';

const PROGRAM = process.env.KUBECTL || 'kubectl';
/** Written by `dataplane up`. */
const KUBECONFIG = '/run/dataplane/kubeconfig';

/** Why kubectl cannot be run here; undefined when it can. */
export function whyNoKubectl(): string | undefined {
  const { error } = spawnSync(PROGRAM, ['version', '--client'], { stdio: 'ignore' });
  return error === undefined ? undefined : `there is no ${PROGRAM} (set KUBECTL)`;
}

/** Runs kubectl to its end, on this machine as its users do. */
export function tryKubectl(words: readonly string[], options: RunOptions = {}): Promise<Ran> {
  return run([PROGRAM, ...words], { ...options, env: { KUBECONFIG, HOME: '/nonexistent', ...options.env } });
}

/** What kubectl printed. @throws Error with all it said when it failed */
export const kubectl = (words: readonly string[], options?: RunOptions): Promise<string> =>
  output(tryKubectl(words, options));
