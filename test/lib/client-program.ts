/**
 * Programs of others that are run against a cluster. Where one is, an environment variable says; the tests that need it are
 * skipped, with the reason, where that is not set.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { output, type Ran, type RunOptions, run } from './cluster.ts';
import { testUnless } from './test-unless.ts';

type Body = (program: string) => Promise<void>;
type Suite = NonNullable<Parameters<typeof testUnless>[1]>;

/** Adds a test that needs the program of this variable. */
export function clientTest(suite: Suite, variable: string, name: string, body: Body): void {
  const program = process.env[variable];
  testUnless(program ? undefined : `${name}: ${variable} is not set`, suite)(name, () => body(program!));
}

/** Is one of these variables set? Without any, a file needs no cluster. */
export const someClient = (...variables: string[]): boolean => variables.some((name) => process.env[name]);

/** A directory of its own for what a program writes into the home of its user. */
export class ClientHome {
  readonly path: string = mkdtempSync(join(tmpdir(), 'dataplane-client-'));
  /** A program here is configured by the kubeconfig of the cluster that is up, and by nothing else. */
  readonly env: NodeJS.ProcessEnv = {
    KUBECONFIG: '/run/dataplane/kubeconfig',
    HOME: this.path,
    XDG_CONFIG_HOME: '',
    XDG_CACHE_HOME: '',
    XDG_DATA_HOME: '',
  };

  tryRun(words: readonly string[], options: RunOptions = {}): Promise<Ran> {
    return run(words, { ...options, env: { ...this.env, ...options.env } });
  }

  /** A program's output. @throws Error with its output if it failed */
  run(words: readonly string[], options: RunOptions = {}): Promise<string> {
    return output(this.tryRun(words, options));
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
