/**
 * Evicts pods that use more storage than they may, and, when the file system of the pods is nearly full, the pod that uses
 * most of it: it is shared with the state of the cluster, and a pod that fills it must not stop the others.
 */
import { statfsSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { templateContainersOf } from '../../api/containers.ts';
import type { Pod } from '../../api/types/objects.ts';
import { monotonicMs } from '../../linux/clock.ts';
import { diskUsage } from '../../linux/disk-usage.ts';
import { volumePath } from '../files/volumes.ts';
import { podDirectories, readState } from '../state.ts';
import {
  evictionMessage,
  exceeded,
  isShort,
  limitsStorage,
  pressureMessage,
  type Room,
  type StorageUsage,
} from './storage-limits.ts';

/** kubelet looks every 10 seconds, at a file system that others do not need. */
const PERIOD_MS = 2_000;
/**
 * How long the node reports that it was short of storage (kubelet: --eviction-pressure-transition-period, five minutes): an
 * eviction ends it at once, before anybody has seen it.
 */
const REPORTED_MS = 60_000;

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
  private lastShort: { atMs: number; message: string } | undefined;

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

  /** That the file system of the pods is nearly full, or was so a moment ago; undefined if it was not. */
  get pressure(): string | undefined {
    const { lastShort } = this;
    return lastShort && monotonicMs() - lastShort.atMs < REPORTED_MS ? lastShort.message : undefined;
  }

  private async look(): Promise<void> {
    const own = [...this.pods()].filter(({ usesStorage }) => usesStorage);
    const limited = own.filter(({ pod }) => limitsStorage(pod));
    for (const [watched, usage] of await usageOf(limited)) {
      const message = exceeded(watched.pod, usage);
      if (message !== undefined) watched.evict(message);
    }
    const { blocks, bavail, bsize, files, ffree } = statfsSync(this.stateDir);
    const rooms: Room[] = [
      { counted: 'bytes', total: blocks * bsize, free: bavail * bsize },
      { counted: 'inodes', total: files, free: ffree },
    ];
    for (const room of rooms.filter(isShort)) {
      this.lastShort = { atMs: monotonicMs(), message: pressureMessage(room, this.stateDir) };
      await this.evictLargest(own, room);
    }
  }

  /** Of all pods of this machine, whose nodes share its file systems; each agent evicts only its own. */
  private async evictLargest(own: readonly WatchedPod[], room: Room): Promise<void> {
    const all = podDirectories(this.stateDir).filter((podDir) => {
      const state = readState(podDir);
      return state !== undefined && state.failure === undefined;
    });
    // Everything in them: a container can fill its /etc/hosts and its termination message too.
    const usage = await diskUsage(all, room.counted);
    let largest = { podDir: '', used: 0 };
    for (const [podDir, used] of usage) if (used > largest.used) largest = { podDir, used };
    own.find(({ podDir }) => podDir === largest.podDir)?.evict(evictionMessage(room, largest.used));
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
