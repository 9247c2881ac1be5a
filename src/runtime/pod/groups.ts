/**
 * The control groups of the pods of this machine:
 *
 *   dataplane/<run>/<pod>/<container>-<instance>
 *
 * `run` is derived from the state directory: two clusters of one machine do not share groups, and whoever has the state
 * directory can remove all of them, after any crash. Each instance of a container has a group of its own: what the last
 * one held is still being freed while the next one starts.
 */
import { existsSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, dirname } from 'node:path';
import type { Container, Pod } from '../../api/types/objects.ts';
import { Cgroups, type CgroupUsage, sharesOf } from '../../linux/cgroup/cgroups.ts';
import { findCgroupTrees } from '../../linux/cgroup/trees.ts';
import { containerLimits, podLimits } from '../container/resources.ts';

const TOP = 'dataplane';
/** Groups of a run that ended without being taken down, and that nobody uses, are removed after this time. */
const IDLE_MS = 60_000;

export class PodGroups {
  private readonly cgroups: Cgroups | undefined;
  private readonly run: string;
  /** Why this machine has no control groups for pods; undefined if it has. */
  readonly missing: string | undefined;

  constructor(stateDir: string, trees = findCgroupTrees()) {
    this.run = runGroup(stateDir);
    if (typeof trees === 'string') {
      this.missing = trees;
      return;
    }
    const cgroups = new Cgroups(trees);
    try {
      // As kubelet: all pods together weigh as much as the machine has processors.
      cgroups.make(TOP, { cpuShares: sharesOf(availableParallelism() * 1000) });
      for (const name of cgroups.list(TOP)) cgroups.removeIdle(`${TOP}/${name}`, IDLE_MS);
      cgroups.make(this.run, {});
      this.cgroups = cgroups;
    } catch (error) {
      this.missing = (error as Error).message;
    }
  }

  /** Of the kernel's interface that is used. */
  get version(): 1 | 2 | undefined {
    return this.cgroups?.trees.version;
  }

  /** Of the group around those of the pods. */
  directories(): string[] {
    return this.cgroups?.directories(this.run) ?? [];
  }

  /**
   * Make the group of a new instance of a container, with its limits and those of its pod.
   * @returns its path; undefined if this machine has none
   * @throws Error
   */
  make(podDir: string, pod: Pod, container: Container, instance: number): string | undefined {
    if (this.cgroups === undefined) return undefined;
    this.cgroups.make(this.groupOf(podDir), podLimits(pod));
    const path = `${this.groupOf(podDir)}/${container.name}-${instance}`;
    this.cgroups.make(path, containerLimits(container));
    return path;
  }

  /** A process joins the group by writing 0 to each of these files. */
  joinFiles(path: string | undefined): string[] {
    return (path !== undefined && this.cgroups?.joinFiles(path)) || [];
  }

  usage(path: string): CgroupUsage | undefined {
    return this.cgroups?.usage(path);
  }

  /** Was a process of the group killed because the group, or the pod's, had used all its memory? */
  ranOutOfMemory(path: string | undefined): boolean {
    return path !== undefined && (this.cgroups?.oomKills(path) ?? 0) > 0;
  }

  /** Remove the group of an instance that has ended. @throws Error if a process in it does not end */
  async remove(path: string): Promise<void> {
    await this.cgroups?.remove(path);
  }

  /** Remove the groups of a pod. @throws Error if a process in them does not end */
  async removeOf(podDir: string): Promise<void> {
    await this.cgroups?.remove(this.groupOf(podDir));
  }

  private groupOf(podDir: string): string {
    return `${this.run}/${basename(podDir)}`;
  }
}

/** As `joinFiles`, for a program that runs a command in a container. */
export function joinFilesOf(path: string | undefined): string[] {
  const trees = path === undefined ? '' : findCgroupTrees();
  return typeof trees === 'string' ? [] : new Cgroups(trees).joinFiles(path!);
}

/** The same for the groups that an OCI runtime makes beside ours. */
export function otherJoinFilesOf(path: string): string[] {
  const trees = findCgroupTrees();
  return typeof trees === 'string' ? [] : new Cgroups(trees).otherJoinFiles(path);
}

/** Remove the groups of a pod; processes that are still in them are killed. @throws Error if one does not end */
export async function removePodGroups(podDir: string): Promise<void> {
  const trees = findCgroupTrees();
  if (typeof trees === 'string') return;
  await new Cgroups(trees).remove(`${runGroup(dirname(dirname(podDir)))}/${basename(podDir)}`);
}

/** Remove the groups of all pods under a state directory. @throws Error if a process in them does not end */
export async function removeRunGroups(stateDir: string): Promise<void> {
  const trees = findCgroupTrees();
  if (typeof trees === 'string' || !existsSync(stateDir)) return;
  const cgroups = new Cgroups(trees);
  await cgroups.remove(runGroup(stateDir));
  cgroups.removeEmpty(TOP);
}

function runGroup(stateDir: string): string {
  const { dev, ino } = statSync(stateDir);
  return `${TOP}/run-${dev.toString(36)}-${ino.toString(36)}`;
}
