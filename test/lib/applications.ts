/**
 * The example applications (test/apps): brought up by one command, put under load, updated, and taken down. With APPS_FULL=1
 * every workload is updated, not only those in front, and the time until all is Ready has a bound.
 */
import type { ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { suite, type Test } from 'uvu';
import * as assert from 'uvu/assert';
import { ApiClient } from '../../src/api/client/client.ts';
import { API_SOCKET } from '../../src/cluster/state.ts';
import { Cluster, dataplane, eventually, output, type Ran, ROOT } from './cluster.ts';
import type { LoadOptions, LoadRequest, LoadResult } from './http-load-client.ts';

export const FULL = process.env.APPS_FULL === '1';
const OUTSIDE = 'dp-outside';
const READY_SECONDS = 15;
const CATALOGUE = join(ROOT, 'test/apps/catalogue.yaml');
const LOAD = fileURLToPath(new URL('./http-load-client.js', import.meta.url));
/** How long the load goes on after an update: connections to pods that are gone would fail now. */
const AFTER_MS = 1000;

type Workload = 'Deployment' | 'StatefulSet';

export interface Description {
  /** As `-f` has it, below test/apps; or `-`, with the text of `input`. */
  readonly files: string;
  readonly input?: () => string;
  /** Programs of the host it needs: a name in PATH, or `NAME|DIRECTORY OR FILE` where Debian has it elsewhere. */
  readonly programs?: readonly string[];
  /** Why it cannot run here. */
  readonly why?: string | undefined;
  /** Only with APPS_FULL=1: its shape is that of another one, and the suite has to end in time. */
  readonly longForm?: boolean;
}

/** A suite whose tests share one application; skipped, with the reason, where a program is missing. */
export function applicationSuite(name: string, description: Description): { test: Test; app: Application } {
  const late = description.longForm && !FULL ? 'in the long form only (npm run test:apps)' : undefined;
  const why = late ?? description.why ?? missingProgram(description.programs ?? []);
  const test = suite(`application ${name}`);
  const app = new Application();
  if (why !== undefined) {
    console.log(`skipped: application ${name}: ${why}`);
    const skipped = ((title: string, body: () => void) => test.skip(title, body)) as unknown as Test;
    return { test: Object.assign(skipped, { run: test.run, skip: test.skip }), app };
  }
  test.before(() => app.up(description));
  test.after(() => app.down());
  return { test, app };
}

/** The first of these programs that is missing, as a reason to skip. */
export function missingProgram(programs: readonly string[]): string | undefined {
  for (const one of programs) {
    const [program = '', elsewhere] = one.split('|');
    const places = (process.env.PATH ?? '').split(':').map((directory) => join(directory, program));
    if (![...places, ...(elsewhere ? [elsewhere] : [])].some((path) => existsSync(path)))
      return `the program ${program} is not installed`;
  }
  return undefined;
}

export class Application {
  readonly cluster = new Cluster();
  readonly api = new ApiClient(API_SOCKET);

  async up({ files, input }: Description): Promise<void> {
    const startedMs = Date.now();
    const path = files === '-' ? files : join(ROOT, 'test/apps', files);
    const args = ['up', '--catalogue', CATALOGUE, '-f', path, '--timeout', '100'];
    await output(dataplane(args, { timeoutMs: 120_000, ...(input && { input: input() }) }));
    const seconds = (Date.now() - startedMs) / 1000;
    console.log(`Ready after ${seconds.toFixed(1)} s`);
    if (FULL) assert.ok(seconds < READY_SECONDS, `Ready only after ${seconds} s`);
  }

  /** @throws Error if something is left */
  async down(): Promise<void> {
    this.api.close();
    await this.cluster.down();
  }

  apply(manifests: string): Promise<Ran> {
    return dataplane(['apply', '-f', '-'], { input: manifests });
  }

  /** A page as a client outside the cluster sees it. */
  page(url: string, ...args: string[]): Promise<string> {
    return this.cluster.fetch(OUTSIDE, url, ...args);
  }

  /** Replaces all pods of a workload, as `kubectl rollout restart` does, and waits until that is done. */
  async rollOut(kind: Workload, name: string, namespace = 'default'): Promise<void> {
    const annotations = { 'kubectl.kubernetes.io/restartedAt': new Date().toISOString() };
    await this.api.patch(kind, name, { spec: { template: { metadata: { annotations } } } }, { namespace });
    await this.rolledOut(kind, name, namespace);
  }

  /** Waits until all pods of a workload are those of its present template, and Ready. */
  async rolledOut(kind: Workload, name: string, namespace = 'default'): Promise<void> {
    await eventually(async () => {
      const { metadata, spec, status = {} } = await this.api.get(kind, name, namespace);
      const wanted = spec.replicas ?? 1;
      const current = (status.observedGeneration ?? 0) >= (metadata.generation ?? 0);
      const counts = [status.replicas, status.updatedReplicas, status.readyReplicas];
      return (current && counts.every((count) => count === wanted)) || undefined;
    }, 90_000);
  }

  /** Requests from outside while `work` runs; fails if one of them does. */
  async underLoad(requests: LoadRequest[], work: () => Promise<void>): Promise<void> {
    const options: LoadOptions = { requests, connections: 2 };
    const child = this.cluster.start(OUTSIDE, [process.execPath, LOAD, JSON.stringify(options)]);
    const result = resultOf(child);
    try {
      await work();
      await sleep(AFTER_MS);
    } finally {
      child.stdin?.end();
    }
    const { requests: made, failures } = JSON.parse(await result) as LoadResult;
    assert.equal(failures, [], `failures of ${made} requests`);
    assert.ok(made > 20, `only ${made} requests were made`);
  }

  /** The output of all pods with these labels. */
  async logs(labelSelector: string, namespace = 'default', container?: string): Promise<string> {
    const { items } = await this.api.list('Pod', { namespace, labelSelector });
    const choose = container === undefined ? [] : ['-c', container];
    const texts = await Promise.all(
      items.map(({ metadata }) => this.cluster.cli('logs', metadata.name, '-n', namespace, ...choose)),
    );
    return texts.join('');
  }
}

function resultOf(child: ChildProcess): Promise<string> {
  let [text, errors] = ['', ''];
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    errors += chunk;
  });
  return new Promise((resolve) => {
    child.once('close', (code) => {
      const failure: LoadResult = { requests: 0, failures: [`the load ended with status ${code}: ${errors}`] };
      resolve(code === 0 ? text : JSON.stringify(failure));
    });
  });
}
