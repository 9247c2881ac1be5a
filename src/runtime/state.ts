/**
 * State that must outlive an agent: one `state.json` per pod, written completely and renamed into place. Everything
 * else can be read from the API, from /proc, or from the files beside it.
 */
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Pod } from '../api/types/objects.ts';
import type { ProcessMark } from '../linux/processes.ts';
import { isAbsent, readIfPresent } from '../linux/read-file.ts';
import { replaceFile } from '../linux/replace-file.ts';
import type { ContainerProcess } from './container/process.ts';

export interface Termination {
  exitCode: number;
  signal?: number;
  reason: string;
  message?: string;
  startedAtMs: number;
  finishedAtMs: number;
  containerID?: string;
}

/** Which list of the pod's spec a container is in. */
export type ContainerRole = 'regular' | 'init' | 'sidecar' | 'ephemeral';

/** The history of one container over all its instances. */
export interface ContainerRecord {
  name: string;
  phase: 'waiting' | 'starting' | 'running' | 'terminated';
  /** Reason for waiting. */
  reason?: string;
  message?: string;
  /** Of the current or the last instance. */
  process?: ContainerProcess;
  startedAtMs?: number;
  containerID?: string;
  /** Of the image it was last started from, for the status. */
  imageID?: string;
  /** Its root is an image: it was started by the launcher. */
  imageRoot?: boolean;
  /** Path of its control group (groups.ts). */
  group?: string;
  /** How the current instance ended. */
  ended?: Termination;
  /** How the previous instance ended. */
  last?: Termination;
  restartCount: number;
  /** Instances so far. */
  instances: number;
  /** Hash of the spec it was started from; a different hash requires a restart. */
  specHash?: string;
  /** The next delay of the back-off, and when it was last computed. */
  backOffMs: number;
  notBeforeMs: number;
  /** Probe results, kept so that a new agent does not take a healthy pod out of service. */
  ready: boolean;
  started: boolean;
}

export interface PodState {
  version: 1;
  nodeName: string;
  /** As last seen, without `status`. */
  pod: Pod;
  /** Empty with hostNetwork: the pod is in the network namespace of its node. */
  netnsName: string;
  podIP: string;
  pause?: ProcessMark;
  startedAtMs: number;
  initialized: boolean;
  /** A failure of the pod as a whole, such as DeadlineExceeded. */
  failure?: { reason: string; message: string };
  containers: Record<string, ContainerRecord>;
}

const statePath = (podDir: string): string => join(podDir, 'state.json');

/** Directory of one container's files. */
export const containerDirectory = (podDir: string, container: string): string => join(podDir, 'run', container);

export function writeState(podDir: string, state: PodState): void {
  mkdirSync(podDir, { recursive: true, mode: 0o755 });
  replaceFile(statePath(podDir), JSON.stringify(state));
}

/** undefined if there is none, or it cannot be parsed. @throws if it cannot be read now */
export function readState(podDir: string): PodState | undefined {
  const text = readIfPresent(statePath(podDir));
  if (text === undefined) return undefined;
  try {
    const state = JSON.parse(text) as PodState;
    return state.version === 1 ? state : undefined;
  } catch {
    return undefined;
  }
}

/** Directories of all pods on this machine, of any node. @throws if they cannot be listed now */
export function podDirectories(stateDir: string): string[] {
  const pods = join(stateDir, 'pods');
  try {
    return readdirSync(pods).map((name) => join(pods, name));
  } catch (error) {
    if (isAbsent(error)) return [];
    throw error;
  }
}

export function newRecord(name: string): ContainerRecord {
  return {
    name,
    phase: 'waiting',
    reason: 'ContainerCreating',
    restartCount: 0,
    instances: 0,
    backOffMs: 0,
    notBeforeMs: 0,
    ready: false,
    started: false,
  };
}
