/**
 * Gives a node back: everything that agents have made there is removed, and what they changed is as before. It works
 * without the API and after a crash. What was not theirs is left alone.
 */
import { rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { OVERLAYS } from '../../../native-free-dataplane/overlay/modes.ts';
import { removeOutside } from '../../linux/cgroup/outside.ts';
import { killAll } from '../../linux/processes.ts';
import { listShared, unlinkShared } from '../../linux/shm-files.ts';
import { removePodFiles } from '../../runtime/cleanup.ts';
import { podDirectories, readState } from '../../runtime/state.ts';
import { memoryNames, SHM_PREFIX } from '../../shm-names.ts';
import { findStandby, STANDBY_GROUP } from '../../standby/find.ts';
import { type Attachment, Attachments } from '../cni/attachments.ts';
import { type CniDirectories, cniFiles } from '../cni/installation.ts';
import { copiesIn } from '../cni/program-copy.ts';
import { removePodDevice } from '../pods/ports.ts';
import { FORMER_STATE, readFormerState } from '../underlay/former-state.ts';
import { type RemovedHostState, removeHostState } from '../underlay/remove-host-state.ts';

const GONE_MS = 3000;

export interface ResetOptions {
  readonly node: string;
  readonly stateDir: string;
  readonly cni: { readonly directories: CniDirectories; readonly socket: string };
}

/** The pods that would lose their network. */
export interface NodePods {
  /** Directories of pods that the agent itself runs. */
  readonly own: readonly string[];
  /** Containers that a runtime has connected. */
  readonly connected: readonly Attachment[];
}

export interface ResetReport extends RemovedHostState {
  readonly pods: number;
  readonly files: number;
}

/** @throws Error if the list of containers is damaged */
export function podsOf({ node, stateDir }: Pick<ResetOptions, 'node' | 'stateDir'>): NodePods {
  const own = podDirectories(stateDir).filter((directory) => readState(directory)?.nodeName === node);
  return { own, connected: new Attachments(attachmentsFile(stateDir, node)).all() };
}

const attachmentsFile = (stateDir: string, node: string): string => join(stateDir, 'nodes', node, 'cni.json');

/**
 * Remove everything. The caller holds the node's lock, so that no agent runs or starts. Idempotent.
 * @throws Error naming what could not be removed; what comes after it is then still there
 */
export async function resetNode({ node, stateDir, cni }: ResetOptions): Promise<ResetReport> {
  const directory = join(stateDir, 'nodes', node);
  const pods = podsOf({ node, stateDir });
  // First, so that runtimes take the node's network to be down.
  const files = [...cniFiles(cni.directories), cni.socket];
  const removed = files.filter(removeFile).length;
  rmSync(copiesIn(cni.directories.programs), { recursive: true, force: true });
  await killAll([findStandby(directory)], GONE_MS);
  removeOutside(STANDBY_GROUP);
  for (const { netnsPath, ifname } of pods.connected) removePodDevice(netnsPath, ifname);
  for (const pod of pods.own) await removePodFiles(pod);
  const host = removeHostState(readFormerState(join(directory, FORMER_STATE)));
  const tables = sharedMemoryOf(node);
  for (const name of tables) unlinkShared(name);
  rmSync(directory, { recursive: true, force: true });
  for (const empty of [join(stateDir, 'pods'), join(stateDir, 'nodes'), stateDir]) removeIfEmpty(empty);
  return { ...host, pods: pods.own.length + pods.connected.length, files: removed + tables.length };
}

/** Not by prefix alone: the name of another node may begin with this one's. */
function sharedMemoryOf(node: string): string[] {
  const tables: string[] = Object.values(memoryNames(node));
  const prefix = `${SHM_PREFIX}${node}-`;
  const isRing = new RegExp(`^(${Object.keys(OVERLAYS).join('|')})-\\d+-(in|out)$`);
  return listShared(prefix).filter((name) => tables.includes(name) || isRing.test(name.slice(prefix.length)));
}

function removeFile(path: string): boolean {
  try {
    rmSync(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

function removeIfEmpty(directory: string): void {
  try {
    rmdirSync(directory);
  } catch {
    // Others have files there, or it does not exist.
  }
}
