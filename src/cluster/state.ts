/**
 * What the machine knows about a cluster that is up: the state directory and what is in it.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ClusterOptions } from '../api/cluster-options.ts';
import { findProcess, type ProcessMark } from '../linux/processes.ts';
import type { OffloadName } from '../linux/tap.ts';

export const STATE_DIR = '/run/dataplane';
export const CLUSTER_FILE = join(STATE_DIR, 'cluster.json');
export const API_SOCKET = join(STATE_DIR, 'api.sock');
export const KUBECONFIG = join(STATE_DIR, 'kubeconfig');

/** Where the API is: a unix socket or http://host:port. */
export const apiTarget = (): string => process.env.DATAPLANE_API || API_SOCKET;

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
  /** Port of the API on 127.0.0.1, where it was asked for. */
  apiPort?: number;
  /** Who may do what at the API; absent: every authenticated user everything. */
  authorization?: 'rbac';
  /** Best offloads the nodes' devices are to use; absent: all the kernel has. */
  offloads?: OffloadName;
  noUnderlayShortcut: boolean;
  /** Files with more programs for `image:`. */
  catalogue: string[];
  startedAt: string;
  /** The `dataplane up` at work; gone once it is done. */
  bringingUp?: ProcessMark;
  controller?: ProcessMark;
  /** Starts the controller again when it ends. */
  supervisor?: ProcessMark;
  /** Distinguishes clusters: `npm run demo` takes down only its own. */
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

/** The mark of a process that was just started. */
export const markOf = (pid: number): ProcessMark => findProcess(pid) ?? { pid, startTime: '' };
