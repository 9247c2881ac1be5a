/**
 * What the machine knows about a cluster that is up: the state directory, and processes named for good by pid and start time.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ClusterOptions } from '../api/cluster-options.ts';

export const STATE_DIR = '/run/dataplane';
export const CLUSTER_FILE = join(STATE_DIR, 'cluster.json');
export const API_SOCKET = join(STATE_DIR, 'api.sock');

/** Where the API is: a unix socket or http://host:port. */
export const apiTarget = (): string => process.env.DATAPLANE_API || API_SOCKET;

/** A process that no other will ever be taken for. */
export interface ProcessMark {
  pid: number;
  /** Clock ticks since boot, field 22 of /proc/pid/stat. */
  startTime: string;
}

export interface ClusterNode {
  name: string;
  /** Address on the underlay. */
  ip: string;
  podCIDR: string;
}

/** `cluster.json`: what the cluster is, for the controller (also when it starts again), `status` and `down`. */
export interface ClusterFile {
  options: ClusterOptions;
  nodes: ClusterNode[];
  /** MTU of the underlay's devices. */
  underlayMtu: number;
  tunnelOffload: boolean;
  catalogue?: string;
  startedAt: string;
  /** The `dataplane up` at work; gone once it is done. */
  bringingUp?: ProcessMark;
  controller?: ProcessMark;
  /** Who started it, to be told apart from others (`npm run demo` takes only its own down). */
  label?: string;
}

export function readClusterFile(directory = STATE_DIR): ClusterFile | undefined {
  try {
    return JSON.parse(readFileSync(join(directory, 'cluster.json'), 'utf8')) as ClusterFile;
  } catch {
    return undefined;
  }
}

export function writeClusterFile(cluster: ClusterFile): void {
  writeFileSync(`${CLUSTER_FILE}.tmp`, `${JSON.stringify(cluster, null, 2)}\n`, { mode: 0o600 });
  renameSync(`${CLUSTER_FILE}.tmp`, CLUSTER_FILE);
}

/** Field 22 of /proc/pid/stat (proc(5)); undefined when there is no such process, or only its zombie. */
export function startTimeOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The second field is the command in parentheses and may hold anything, so count from its end.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

export const markOf = (pid: number): ProcessMark => ({ pid, startTime: startTimeOf(pid) ?? '' });

export const isAlive = (mark: ProcessMark | undefined): boolean =>
  mark !== undefined && startTimeOf(mark.pid) === mark.startTime;
