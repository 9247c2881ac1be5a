/**
 * A cluster for a test: brought up, driven by its command line and from inside its namespaces, always taken down.
 *
 *   const cluster = await startCluster({ args: ['--nodes', '2', '-f', 'demo/'] });
 *   await cluster.exec('dp-outside', ['curl', '-s', 'http://172.18.0.11:31418/']);
 *   await cluster.down();                                   // in test.after; also done when the process ends early
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ApiClient } from '../../src/api/client/client.ts';
import { resourceNamed } from '../../src/api/resources.ts';
import { type NodeStatus, readStatus } from '../../src/cli/sources/status.ts';
import { API_SOCKET, readClusterFile } from '../../src/cluster/state.ts';
import { leftovers } from './leftovers.ts';

export interface Ran {
  status: number;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  input?: string;
  /** Default 30000. */
  timeoutMs?: number;
  env?: NodeJS.ProcessEnv;
}

export interface ClusterOptions {
  /** Further arguments for `dataplane up`. */
  args?: readonly string[];
  /** Manifests, passed on stdin. */
  manifests?: readonly object[];
}

/** The project's root: the directory of package.json. */
export const ROOT = (() => {
  let directory = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(directory, 'package.json'))) directory = dirname(directory);
  return directory;
})();

/** The command as it is shipped. */
export const MAIN = join(ROOT, 'dist/bundle/cli/main.js');

/** The reason a cluster cannot be brought up here; undefined if it can. For a test to skip. */
export function whyNoCluster(): string | undefined {
  if (process.getuid?.() !== 0) return 'it needs root';
  if (!existsSync('/dev/net/tun')) return 'there is no /dev/net/tun';
  return undefined;
}

/** Runs a program to its end; a non-zero status is a result, not an error. */
export function run(args: readonly string[], { input, timeoutMs = 30_000, env }: RunOptions = {}): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const [program, ...rest] = args;
    const child = spawn(program!, rest, { cwd: ROOT, env: { ...process.env, ...env }, stdio: 'pipe' });
    const output = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text: string) => {
        output[name] += text;
      });
    }
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (signal !== null) output.stderr += `\n(${args.join(' ')}: ${signal} after ${timeoutMs} ms)`;
      resolve({ status: code ?? 128, ...output });
    });
    child.stdin.on('error', () => {});
    child.stdin.end(input);
  });
}

/** `dataplane …` */
export const dataplane = (args: readonly string[], options?: RunOptions) =>
  run([process.execPath, MAIN, ...args], options);

/** Output of a program. @throws Error with its output if its status is not 0 */
export async function output(ran: Promise<Ran>): Promise<string> {
  const { status, stdout, stderr } = await ran;
  if (status !== 0) throw new Error(`status ${status}: ${stderr}${stdout}`);
  return stdout;
}

export class Cluster {
  private readonly children = new Set<ChildProcess>();
  private readonly atExit = () => {
    for (const child of this.children) child.kill('SIGKILL');
    spawnSync(process.execPath, [MAIN, 'down'], { stdio: 'ignore' });
  };

  constructor() {
    process.once('exit', this.atExit);
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
  }

  /** Standard output of `dataplane …`. @throws Error if it fails */
  cli(...args: string[]): Promise<string> {
    return output(dataplane(args));
  }

  /**
   * `dataplane get … -o json`, parsed. A single object is read from the API by this process: tests that wait for a state ask
   * many times, and a process each would take most of a core.
   */
  async get<T>(...args: string[]): Promise<T> {
    const [kind = '', name, option = '-n', namespace = 'default', ...more] = args;
    const resource = resourceNamed(kind);
    if (resource === undefined || name === undefined || name.startsWith('-') || option !== '-n' || more.length > 0) {
      return JSON.parse(await this.cli('get', ...args, '-o', 'json')) as T;
    }
    const client = new ApiClient(API_SOCKET, { timeoutMs: 5000 });
    try {
      return (await client.get(resource.kind, name, resource.namespaced ? namespace : undefined)) as T;
    } finally {
      client.close();
    }
  }

  async apply(...manifests: object[]): Promise<void> {
    await output(dataplane(['apply', '-f', '-'], { input: asList(manifests) }));
  }

  /** What `dataplane status -o json` prints, read by this process. Without a controller, its pid is NaN. */
  async status(): Promise<{ controller: { pid: number; running: boolean }; nodes: NodeStatus[] }> {
    const file = readClusterFile();
    if (file === undefined) throw new Error('no cluster is up');
    const { controller, nodes } = await readStatus(file);
    return { controller: { ...controller, pid: controller.pid ?? Number.NaN }, nodes };
  }

  /** Runs a program inside a namespace: `dp-outside`, `nodeNetns('n1')`, `podNetns('client')`. */
  exec(netns: string, args: readonly string[], options?: RunOptions): Promise<Ran> {
    return run(['ip', 'netns', 'exec', netns, ...args], options);
  }

  /** Starts a program inside a namespace, which keeps running until `down`. */
  start(netns: string, args: readonly string[]): ChildProcess {
    const child = spawn('ip', ['netns', 'exec', netns, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.children.add(child);
    child.once('exit', () => this.children.delete(child));
    return child;
  }

  /** Starts `dataplane …` and leaves it running until `down`. */
  startHere(args: readonly string[]): ChildProcess {
    const child = spawn(process.execPath, [MAIN, ...args], { stdio: 'ignore' });
    this.children.add(child);
    child.once('exit', () => this.children.delete(child));
    return child;
  }

  /** The page at `url` as fetched from `netns`; a failure is an `Error` with curl's message. */
  async fetch(netns: string, url: string, ...args: string[]): Promise<string> {
    return output(this.exec(netns, ['curl', '-sS', '--max-time', '5', ...args, url]));
  }

  /** Removes everything. @throws Error if something is left behind */
  async down(): Promise<void> {
    for (const child of this.children) child.kill('SIGKILL');
    process.off('exit', this.atExit);
    await output(dataplane(['down']));
    const left = leftovers();
    if (left.length > 0) throw new Error(`left behind: ${left.join(', ')}`);
  }
}

/** Brings a cluster up. @throws Error with the output of `dataplane up`; nothing is left then */
export async function startCluster({ args = [], manifests = [] }: ClusterOptions = {}): Promise<Cluster> {
  const cluster = new Cluster();
  try {
    const files = manifests.length > 0 ? ['-f', '-'] : [];
    await output(dataplane(['up', ...args, ...files], { timeoutMs: 120_000, input: asList(manifests) }));
    return cluster;
  } catch (error) {
    await cluster.down();
    throw error;
  }
}

export const nodeNetns = (node: string): string => `dp-node-${node}`;
export const podNetns = (pod: string, namespace = 'default'): string => `dp-pod-${namespace}-${pod}`;

/** A pod that runs a program of the host. */
export function processPod(name: string, nodeName: string | undefined, command: readonly string[], more: object = {}) {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', labels: { app: name } },
    spec: {
      ...(nodeName !== undefined && { nodeName }),
      terminationGracePeriodSeconds: 1,
      containers: [{ name: 'main', image: 'process', command, ...more }],
    },
  };
}

/** Pause between two attempts of `eventually`: as long as an attempt takes, so that waiting by a program uses half a processor at most. */
const LEAST_PAUSE_MS = 50;
const MOST_PAUSE_MS = 300;

/** Retries until `work` returns something other than undefined; throws its last error, or a timeout. */
export async function eventually<T>(work: () => Promise<T | undefined>, timeoutMs = 10_000): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  let last: Error | undefined;
  while (Date.now() < deadline) {
    const begunMs = performance.now();
    try {
      const result = await work();
      if (result !== undefined) return result;
    } catch (error) {
      last = error as Error;
    }
    await sleep(Math.min(Math.max(LEAST_PAUSE_MS, performance.now() - begunMs), MOST_PAUSE_MS));
  }
  throw last ?? new Error(`not within ${timeoutMs} ms`);
}

const asList = (items: readonly object[]) => JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
