/** What a cluster holds of the machine, and whether that grows: with pods that come and go, and with clusters that do. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Cluster, eventually, leftovers, processPod, startCluster } from './cluster.ts';

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
/** Descriptors of connections that have just closed may remain for a moment. */
const SPARE_DESCRIPTORS = 8;

export interface ChurnOptions {
  readonly pods: number;
  readonly atATime: number;
  readonly onRound?: (done: number, held: Held) => void;
}

/**
 * Start and delete so many pods in one cluster.
 * @returns what was held when the first round was over, and at the end
 */
export async function churnPods(
  cluster: Cluster,
  { pods, atATime, onRound }: ChurnOptions,
): Promise<{ first: Held; last: Held }> {
  let first: Held | undefined;
  let last: Held | undefined;
  for (let done = 0; done < pods; done += atATime) {
    const names = Array.from({ length: Math.min(atATime, pods - done) }, (_, i) => `p${done + i}`);
    await cluster.apply(...names.map((name) => processPod(name, undefined, ['sleep', '1000'])));
    await eventually(async () => {
      const { items } = await cluster.get<{ items: { status: { phase: string } }[] }>('pods');
      return items.filter(({ status }) => status.phase === 'Running').length >= names.length ? true : undefined;
    }, 120_000);
    await cluster.cli('delete', 'pod', ...names, '--grace-period', '0');
    await eventually(async () => {
      const { items } = await cluster.get<{ items: unknown[] }>('pods');
      return items.length === 0 ? true : undefined;
    }, 120_000);
    last = await settled(cluster, first);
    first ??= last;
    onRound?.(done + names.length, last);
  }
  return { first: first!, last: last! };
}

/** What is held once it no longer exceeds `former`, or after ten seconds. */
async function settled(cluster: Cluster, former: Held | undefined): Promise<Held> {
  if (former === undefined) return measure(cluster);
  return eventually(async () => {
    const held = await measure(cluster);
    return growth(former, held).length === 0 ? held : undefined;
  }).catch(() => measure(cluster));
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

interface Cycles {
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
