/**
 * Evicts pods that use more storage than they may, and, when the file system of the pods is nearly full, the pod that uses
 * most of it: it is shared with the state of the cluster, and a pod that fills it must not stop the others.
 */
import { statfsSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { templateContainersOf } from '../../api/containers.ts';
import { Quantity } from '../../api/quantity.ts';
import type { Pod } from '../../api/types/objects.ts';
import { diskUsage } from '../../linux/disk-usage.ts';
import { volumePath } from '../files/volumes.ts';
import { podDirectories, readState } from '../state.ts';
import { exceeded, limitsStorage, nodeShort, type StorageUsage, totalOf } from './storage-limits.ts';

/** kubelet looks every 10 seconds, at a file system that others do not need. */
const PERIOD_MS = 2_000;

export interface WatchedPod {
  readonly pod: Pod;
  readonly podDir: string;
  readonly usesStorage: boolean;
  evict(message: string): void;
}

export class StorageWatch {
  private readonly stateDir: string;
  private readonly pods: () => Iterable<WatchedPod>;
  private readonly log: (message: string) => void;
  private readonly timer: NodeJS.Timeout;
  private looking = false;

  /** @param pods those of this node */
  constructor(stateDir: string, pods: () => Iterable<WatchedPod>, log: (message: string) => void) {
    this.stateDir = stateDir;
    this.pods = pods;
    this.log = log;
    this.timer = setInterval(() => {
      if (this.looking) return;
      this.looking = true;
      this.look()
        .catch((error: Error) => this.log(`storage of pods: ${error.message}`))
        .finally(() => {
          this.looking = false;
        });
    }, PERIOD_MS);
  }

  close(): void {
    clearInterval(this.timer);
  }

  private async look(): Promise<void> {
    const own = [...this.pods()].filter(({ usesStorage }) => usesStorage);
    const limited = own.filter(({ pod }) => limitsStorage(pod));
    for (const [watched, usage] of await usageOf(limited)) {
      const message = exceeded(watched.pod, usage);
      if (message !== undefined) watched.evict(message);
    }
    const { blocks, bavail, bsize } = statfsSync(this.stateDir);
    const short = nodeShort(blocks * bsize, bavail * bsize);
    if (short !== undefined) await this.evictLargest(own, short);
  }

  /** Of all pods of this machine, whose nodes share its file systems; each agent evicts only its own. */
  private async evictLargest(own: readonly WatchedPod[], message: string): Promise<void> {
    const all = podDirectories(this.stateDir).flatMap((podDir) => {
      const state = readState(podDir);
      return state === undefined || state.failure !== undefined ? [] : [{ pod: state.pod, podDir }];
    });
    let largest: { podDir: string; bytes: number } | undefined;
    for (const [{ podDir }, usage] of await usageOf(all)) {
      const bytes = totalOf(usage);
      if (largest === undefined || bytes > largest.bytes) largest = { podDir, bytes };
    }
    if (largest === undefined || largest.bytes === 0) return;
    const used = Quantity.ofBytes(largest.bytes);
    own.find(({ podDir }) => podDir === largest.podDir)?.evict(`${message}The pod was using ${used}. `);
  }
}

async function usageOf<T extends Pick<WatchedPod, 'pod' | 'podDir'>>(
  pods: readonly T[],
): Promise<[pod: T, usage: StorageUsage][]> {
  const found = pods.map((each) => ({ each, directories: emptyDirectories(each) }));
  const bytes = await diskUsage(found.flatMap(({ directories }) => directories));
  return found.map(({ each, directories }) => {
    const volumes = directories.map((path) => [basename(path), bytes.get(path) ?? 0] as const);
    const names = templateContainersOf(each.pod.spec).map(({ name }) => name);
    const logs = names.map((name) => [name, logBytes(each.podDir, name)] as const);
    return [each, { volumes: new Map(volumes), logs: new Map(logs) }];
  });
}

/** Those of emptyDirs on disk. */
const emptyDirectories = ({ pod, podDir }: Pick<WatchedPod, 'pod' | 'podDir'>): string[] =>
  (pod.spec.volumes ?? [])
    .filter(({ emptyDir }) => emptyDir !== undefined && emptyDir.medium !== 'Memory')
    .map((volume) => volumePath(podDir, volume));

/** Of all instances whose logs are kept. */
const logBytes = (podDir: string, container: string): number =>
  ['.log', '.log.1', '.previous.log'].reduce(
    (sum, suffix) => sum + (statSync(join(podDir, `${container}${suffix}`), { throwIfNoEntry: false })?.size ?? 0),
    0,
  );
