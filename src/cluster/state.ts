/**
 * The state directory of a cluster on this machine.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ClusterOptions } from '../api/cluster-options.ts';
import { findProcess, type ProcessMark } from '../linux/processes.ts';
import { replaceFile } from '../linux/replace-file.ts';
import type { OffloadName } from '../linux/tap.ts';

export const STATE_DIR = '/run/dataplane';
export const CLUSTER_FILE = join(STATE_DIR, 'cluster.json');
export const API_SOCKET = join(STATE_DIR, 'api.sock');
export const KUBECONFIG = join(STATE_DIR, 'kubeconfig');

/** Address of the API: the path of a unix socket, or http://host:port. */
export const apiTarget = (): string => process.env.DATAPLANE_API || API_SOCKET;

export interface ClusterNode {
  name: string;
  /** Address on the underlay. */
  ip: string;
  podCIDR: string;
}

/** `cluster.json`: the description of the cluster, for the controller and its restarts, `status` and `down`. */
export interface ClusterFile {
  options: ClusterOptions;
  nodes: ClusterNode[];
  /** MTU of the underlay's devices. */
  underlayMtu: number;
  /** Port of the API on 127.0.0.1, if it was requested. */
  apiPort?: number;
  /** Authorization mode of the API; default: every authenticated user may do everything. */
  authorization?: 'rbac';
  /** Highest offload level of the nodes' devices; default: everything the kernel supports. */
  offloads?: OffloadName;
  noUnderlayShortcut: boolean;
  /** Pods reach what the host reaches. */
  egress?: boolean;
  /** Ports of the host that lead to Services, as given to `--publish`. */
  published?: string[];
  /** Files with additional programs for `image:`. */
  catalogue: string[];
  startedAt: string;
  /** The `dataplane up` in progress; absent once it is done. */
  bringingUp?: ProcessMark;
  controller?: ProcessMark;
  /** The process that restarts the controller. */
  supervisor?: ProcessMark;
  /** A name for the cluster: `npm run demo` removes only the one that it labelled. */
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
  replaceFile(CLUSTER_FILE, `${JSON.stringify(cluster, null, 2)}\n`);
}

/** Identifies a process that was just started. */
export const markOf = (pid: number): ProcessMark => findProcess(pid) ?? { pid, startTime: '' };
