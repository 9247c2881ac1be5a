/** What a cluster holds of the machine, and whether that grows: with pods that come and go, and with clusters that do. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ApiClient } from '../../src/api/client/client.ts';
import { API_SOCKET } from '../../src/cluster/state.ts';
import { type Cluster, eventually, processPod, startCluster } from './cluster.ts';
import { leftovers } from './leftovers.ts';

/** What there is of the machine, as far as this test sees it. */
interface MachineCounts {
  readonly namespaces: number;
  readonly mounts: number;
  readonly processes: number;
  readonly sharedFiles: number;
}

/** Counts that must not grow with the number of pods there have been. */
export interface Held extends MachineCounts {
  /** Of the controller and all agents. */
  readonly descriptors: number;
  readonly residentMb: number;
  readonly threads: number;
  /** Bytes of the store's files. */
  readonly storeBytes: number;
}

export interface Quarters {
  readonly residentMb: readonly [second: number, last: number];
  readonly storeBytes: readonly [second: number, last: number];
}

const CLUSTER_DIR = '/run/dataplane';

function filesOf(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

async function pidsOf(cluster: Cluster): Promise<number[]> {
  const { controller, nodes } = await cluster.status();
  return [controller.pid, ...nodes.map(({ agentPid }) => agentPid ?? 0)].filter((pid) => pid > 0);
}

const measureMachine = (): MachineCounts => ({
  namespaces: filesOf('/run/netns').length,
  mounts: readFileSync('/proc/self/mountinfo', 'utf8').split('\n').length - 1,
  processes: filesOf('/proc').filter((name) => /^\d+$/.test(name)).length,
  sharedFiles: filesOf('/dev/shm').length,
});

async function measure(cluster: Cluster): Promise<Held> {
  const pids = await pidsOf(cluster);
  const statusOf = (pid: number): string => readFileSync(`/proc/${pid}/status`, 'utf8');
  const field = (name: string): number =>
    pids.reduce((sum, pid) => sum + Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(statusOf(pid))?.[1] ?? 0), 0);
  const store = filesOf(join(CLUSTER_DIR, 'store')).map((name) => statSync(join(CLUSTER_DIR, 'store', name)).size);
  return {
    descriptors: pids.reduce((sum, pid) => sum + filesOf(`/proc/${pid}/fd`).length, 0),
    residentMb: Math.round(field('VmRSS') / 1024),
    threads: field('Threads'),
    ...measureMachine(),
    storeBytes: store.reduce((sum, bytes) => sum + bytes, 0),
  };
}

/** Counts that must be equal before and after; memory and the store's log vary with when they are cleaned. */
const EXACT: readonly (keyof Held)[] = ['namespaces', 'mounts', 'processes', 'sharedFiles', 'threads'];
/** Without a change for so long, what ends has ended. */
const STILL_MS = 1000;
/** Descriptors of connections that have just closed may remain for a moment. */
const SPARE_DESCRIPTORS = 8;

export interface ChurnOptions {
  readonly pods: number;
  readonly atATime: number;
  readonly onRound?: (done: number, held: Held) => void;
}

/**
 * Start and delete so many pods in one cluster. Through the API, because a command for each step would take most of the time.
 * @returns what was held after each round; the first starts what is started when needed, and counts for nothing
 */
export async function churnPods(cluster: Cluster, { pods, atATime, onRound }: ChurnOptions): Promise<Held[]> {
  const rounds: Held[] = [];
  const client = new ApiClient(API_SOCKET, { timeoutMs: 30_000 });
  const until = (isDone: (phases: readonly string[]) => boolean) =>
    eventually(async () => {
      const { items } = await client.list('Pod', { namespace: 'default' });
      return isDone(items.map(({ status }) => status?.phase ?? '')) ? true : undefined;
    }, 300_000);
  try {
    for (let done = 0; done < pods; done += atATime) {
      const names = Array.from({ length: Math.min(atATime, pods - done) }, (_, i) => `p${done + i}`);
      await Promise.all(names.map((name) => client.create(processPod(name, undefined, ['sleep', '1000']))));
      await until((phases) => phases.filter((phase) => phase === 'Running').length === names.length);
      const options = { namespace: 'default', gracePeriodSeconds: 0 };
      await Promise.all(names.map((name) => client.delete('Pod', name, options)));
      await until((phases) => phases.length === 0);
      rounds.push(await settled(cluster, rounds[1]));
      onRound?.(done + names.length, rounds.at(-1)!);
    }
  } finally {
    client.close();
  }
  return rounds;
}

/** What is held once it no longer exceeds `former`, or no longer changes; or after ten seconds. */
async function settled(cluster: Cluster, former: Held | undefined): Promise<Held> {
  let last = await measure(cluster);
  if (former === undefined) {
    return eventually(async () => {
      await sleep(STILL_MS);
      const before = last;
      last = await measure(cluster);
      return EXACT.every((name) => last[name] === before[name]) ? last : undefined;
    }).catch(() => last);
  }
  return eventually(async () => {
    const held = await measure(cluster);
    return growth(former, held).length === 0 ? held : undefined;
  }).catch(() => measure(cluster));
}

/** Memory and the store may vary by so much from one half of a long run to the other. */
const VARIATION = 1.25;
/** Shorter runs show nothing: heap and store reach their sizes first. */
const MIN_ROUNDS = 20;

const middle = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!;

/**
 * Memory and the store in the course of a long run: their medians in its second and in its last quarter.
 * @returns undefined if the run was too short
 */
export function quarters(rounds: readonly Held[]): Quarters | undefined {
  if (rounds.length < MIN_ROUNDS) return undefined;
  const quarter = rounds.length >> 2;
  const of = (name: 'residentMb' | 'storeBytes'): [second: number, last: number] => [
    middle(rounds.slice(quarter, 2 * quarter).map((held) => held[name])),
    middle(rounds.slice(-quarter).map((held) => held[name])),
  ];
  return { residentMb: of('residentMb'), storeBytes: of('storeBytes') };
}

/** What has grown from the second quarter to the last, as lines of text. */
export function trend(all: Quarters | undefined): string[] {
  return Object.entries(all ?? {})
    .filter(([, [second, last]]) => last > second * VARIATION)
    .map(([name, [second, last]]) => `${name}: ${second} in the second quarter, ${last} in the last`);
}

/** What has grown, as lines of text. */
export function growth(before: Held, after: Held): string[] {
  const grown = EXACT.filter((name) => after[name] > before[name]).map(
    (name) => `${name}: ${before[name]} to ${after[name]}`,
  );
  if (after.descriptors > before.descriptors + SPARE_DESCRIPTORS) {
    grown.push(`descriptors: ${before.descriptors} to ${after.descriptors}`);
  }
  return grown;
}

export interface Cycles {
  readonly cycles: number;
  /** What `down` left behind, by cycle. */
  readonly left: readonly string[];
  readonly mounts: readonly [first: number, last: number];
  readonly processes: readonly [first: number, last: number];
}

/** Bring a cluster with a pod up and take it down again, so often. */
export async function cycleClusters(cycles: number, onCycle: (done: number) => void = () => {}): Promise<Cycles> {
  const left: string[] = [];
  const counts: MachineCounts[] = [];
  for (let cycle = 1; cycle <= cycles; cycle++) {
    const cluster = await startCluster({
      args: ['--nodes', '1'],
      manifests: [processPod('p', 'n1', ['sleep', '1000'])],
    });
    await cluster.down();
    left.push(...leftovers().map((what) => `cycle ${cycle}: ${what}`));
    counts.push(measureMachine());
    onCycle(cycle);
  }
  const [first, last] = [counts[0]!, counts.at(-1)!];
  return { cycles, left, mounts: [first.mounts, last.mounts], processes: [first.processes, last.processes] };
}

/** What `npm run leaks -- --report` writes, while it runs too. */
export interface LeaksReport {
  readonly date: string;
  /** What was asked for. */
  readonly pods: number;
  readonly cycles: number;
  podsDone?: number;
  cyclesDone?: number;
  first?: Held;
  last?: Held;
  quarters?: Quarters;
  result?: Cycles;
  /** What has grown; absent until the end. */
  problems?: readonly string[];
}
