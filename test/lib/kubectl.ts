/** kubectl itself against a cluster that is up. Which one: environment variable KUBECTL, else the one in the PATH. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { output, type Ran, type RunOptions, run } from './cluster.ts';

export const PROGRAM: string = process.env.KUBECTL || 'kubectl';
/** The kubeconfig is the one `dataplane up` writes; this machine's user configuration is ignored. */
export const KUBECTL_ENV: NodeJS.ProcessEnv = { KUBECONFIG: '/run/dataplane/kubeconfig', HOME: '/nonexistent' };

/** The reason kubectl cannot be run here; undefined if it can. */
export function whyNoKubectl(): string | undefined {
  const { error } = spawnSync(PROGRAM, ['version', '--client'], { stdio: 'ignore' });
  return error === undefined ? undefined : `there is no ${PROGRAM} (set KUBECTL)`;
}

/** Runs kubectl to its end, on this machine as its users do. */
export function tryKubectl(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  return run([PROGRAM, ...args], { ...options, env: { ...KUBECTL_ENV, ...options.env } });
}

/** kubectl's output. @throws Error with its output if it failed */
export const kubectl = (args: readonly string[], options?: RunOptions): Promise<string> =>
  output(tryKubectl(args, options));

/** Starts kubectl; the caller stops it. */
export function spawnKubectl(args: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
  return spawn(PROGRAM, args, { env: { ...process.env, ...KUBECTL_ENV, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
}

/** For a shell. The arguments must need no quoting. */
export const kubectlLine = (args: readonly string[]): string => [PROGRAM, ...args].join(' ');
