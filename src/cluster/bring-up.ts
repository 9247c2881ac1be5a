/** Brings a cluster up on this machine; after a failure everything is removed again. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { ApiClient } from '../api/client/client.ts';
import type { ClusterOptions } from '../api/cluster-options.ts';
import type { NodeObject } from '../api/types/objects.ts';
import { isAlive } from '../linux/processes.ts';
import type { OffloadName } from '../linux/tap.ts';
import { startController, waitForApi } from './controller-process.ts';
import { ClusterError } from './errors.ts';
import { checkMachine } from './machine.ts';
import { applyAll } from './manifests/apply-all.ts';
import type { Document } from './manifests/manifests.ts';
import { checkImages, checkPlacement } from './manifests/placement.ts';
import { nodeObject, planNodes, roomForNodes } from './nodes.ts';
import type { JobReadiness } from './readiness.ts';
import {
  API_SOCKET,
  CLUSTER_FILE,
  type ClusterFile,
  type ClusterNode,
  markOf,
  readClusterFile,
  STATE_DIR,
  writeClusterFile,
} from './state.ts';
import { anythingThere, namespaces, type TearDownReport, tearDown } from './tear-down.ts';
import { DEFAULT_TIMEOUT_SECONDS } from './timeout.ts';
import { makeNamespaces, makeUnderlay, underlayMtuFor } from './underlay.ts';
import { waitUntilReady } from './wait-ready.ts';
import { governOutside } from './ways-out/unroutable.ts';
import { makesPods } from './workload-kinds.ts';

export interface BringUpOptions {
  options: ClusterOptions;
  /** How many nodes. */
  nodes: number;
  /** Objects to apply, in this order. */
  documents: readonly Document[];
  /** The command line of `dataplane`, with which the controller and the agents are started. */
  program: readonly string[];
  /** Absolute paths of files with additional programs for `image:`. */
  catalogue?: readonly string[];
  /** Port of the API on 127.0.0.1; default: any free port. */
  apiPort?: number | undefined;
  /** rbac: users may do what roles allow; default: every authenticated user may do everything. */
  authorization?: 'rbac' | undefined;
  /** Highest offload level to request from the kernel; default: everything it supports. */
  offloads?: OffloadName | undefined;
  noUnderlayShortcut?: boolean;
  /** Pods reach what the host reaches (ways-out/way-out.ts). */
  egress?: boolean;
  /** Ports of the host that lead to Services (ways-in/published-port.ts). */
  published?: readonly string[];
  label?: string | undefined;
  /** How long to wait until everything is Ready. */
  timeoutSeconds?: number;
  /** When a Job counts as Ready; `none`: wait for nodes only, not for what is applied. Default: running. */
  waitFor?: JobReadiness | 'none' | undefined;
  /** Keep a cluster that did not become Ready, for examination. */
  keepOnFailure?: boolean;
  signal?: AbortSignal;
  onProgress?: (text: string) => void;
}

/** A cluster that is up. */
export interface Cluster {
  readonly file: ClusterFile;
  readonly nodes: readonly ClusterNode[];
  /** Removes everything. */
  tearDown(): Promise<TearDownReport>;
}

/**
 * Creates the network, starts controller and agents, applies the documents and waits until everything is Ready. All
 * checks that are possible are done before anything is changed; after a later failure everything is removed again.
 * @throws ClusterError, ApiError
 */
export async function bringUp(options: BringUpOptions): Promise<Cluster> {
  const cluster = planCluster(options);
  checkMachine(cluster.nodes.length, cluster.options.maxConntrack);
  claim(cluster);
  const signal = options.signal ?? new AbortController().signal;
  try {
    await start(cluster, options, signal);
    signal.throwIfAborted();
    isUp(cluster);
  } catch (error) {
    const cause = signal.aborted ? (signal.reason as Error) : (error as Error);
    if (options.keepOnFailure && cause instanceof ClusterError && cause.code === 'NOT_READY') {
      isUp(cluster);
      const advice = 'the cluster was left up; `dataplane down` removes it';
      throw new ClusterError(cause.code, cause.message, advice, cause.details);
    }
    await tearDown();
    throw cause;
  }
  return { file: cluster, nodes: cluster.nodes, tearDown };
}

/** Plans the cluster and does all checks that need no cluster. @throws ClusterError */
function planCluster(wanted: BringUpOptions): ClusterFile {
  const { options, documents, catalogue = [], offloads, label } = wanted;
  const room = roomForNodes(options.podCidr);
  if (wanted.nodes > room) {
    throw new ClusterError(
      'OPTIONS',
      `${wanted.nodes} nodes: the pods' network ${options.podCidr} has room for ${room}`,
    );
  }
  const nodes = planNodes(wanted.nodes, options.podCidr, options.underlayCidr);
  checkPlacement(documents, nodes);
  checkImages(documents, catalogue);
  return {
    options,
    nodes,
    underlayMtu: underlayMtuFor(options),
    ...(wanted.apiPort !== undefined && { apiPort: wanted.apiPort }),
    ...(wanted.authorization !== undefined && { authorization: wanted.authorization }),
    ...(offloads !== undefined && { offloads }),
    noUnderlayShortcut: wanted.noUnderlayShortcut ?? false,
    ...(wanted.egress && { egress: true }),
    ...(wanted.published?.length && { published: [...wanted.published] }),
    catalogue: [...catalogue],
    startedAt: new Date().toISOString(),
    bringingUp: markOf(process.pid),
    ...(label !== undefined && { label }),
  };
}

/** Records that the cluster is up. The controller has recorded itself meanwhile. */
function isUp(cluster: ClusterFile): void {
  delete cluster.bringingUp;
  const { controller } = readClusterFile() ?? {};
  if (controller !== undefined) cluster.controller = controller;
  writeClusterFile(cluster);
}

/** Claims the state directory for this cluster; a second `up` at the same time is refused. @throws ClusterError */
function claim(cluster: ClusterFile): void {
  const present = readClusterFile();
  if (present !== undefined) {
    if (isAlive(present.bringingUp)) throw new ClusterError('BEING_BROUGHT_UP', 'a cluster is being brought up');
    if (isAlive(present.controller) || isAlive(present.supervisor)) {
      const since = `since ${present.startedAt.replace('T', ' ').slice(0, 19)} UTC`;
      throw new ClusterError('ALREADY_UP', `a cluster is already up (${since})`);
    }
  }
  if (anythingThere()) {
    const names = namespaces();
    const what = names.length > 0 ? ` (${names.slice(0, 3).join(', ')}${names.length > 3 ? ', …' : ''})` : '';
    throw new ClusterError('LEFTOVERS', `parts of an earlier cluster still exist${what}`);
  }
  mkdirSync(STATE_DIR, { recursive: true, mode: 0o755 });
  try {
    writeFileSync(CLUSTER_FILE, JSON.stringify(cluster), { flag: 'wx', mode: 0o600 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw new ClusterError('BEING_BROUGHT_UP', 'a cluster is being brought up');
  }
}

/** @throws ClusterError NETWORK */
async function makeNetwork({ nodes, options, underlayMtu, egress = false }: ClusterFile): Promise<void> {
  await makeUnderlay(nodes, options.underlayCidr, underlayMtu);
  const lacking = await governOutside(egress);
  if (egress && lacking !== undefined)
    throw new ClusterError('NETWORK', `there can be no way out of the cluster: ${lacking}`);
}

async function start(cluster: ClusterFile, wanted: BringUpOptions, signal: AbortSignal): Promise<void> {
  const { timeoutSeconds = DEFAULT_TIMEOUT_SECONDS, onProgress = () => {} } = wanted;
  const { nodes, options } = cluster;
  const deadline = Date.now() + timeoutSeconds * 1000;
  onProgress('creating the network and starting the controller…');
  await makeNamespaces(nodes);
  signal.throwIfAborted();
  // It enters the namespaces of the outside and of the nodes; the nodes' agents wait for the Node objects made below.
  cluster.supervisor = startController(wanted.program);
  writeClusterFile(cluster);
  const network = makeNetwork(cluster);
  await Promise.all([network, waitForApi(cluster.supervisor, deadline, signal)]).finally(() => network.catch(() => {}));
  const client = new ApiClient(API_SOCKET, { program: 'dataplane' });
  try {
    await Promise.all(nodes.map((node) => client.create<NodeObject>(nodeObject(node, options))));
    const waiting = { deadline, signal, onProgress, timeoutSeconds };
    const applying = { signal, onProgress };
    const pods = wanted.documents.filter(({ object }) => makesPods(object.kind));
    const others = wanted.documents.filter(({ object }) => !makesPods(object.kind));
    // The scheduler chooses the node with the fewest pods, so all nodes must exist before the first pod.
    await applyAll(client, others, applying);
    await waitUntilReady(client, nodes, [], waiting);
    await applyAll(client, pods, applying);
    const { waitFor } = wanted;
    if (waitFor === 'none') return;
    const applied = pods.map(({ object }) => object);
    await waitUntilReady(client, nodes, applied, { ...waiting, jobs: waitFor });
  } finally {
    client.close();
  }
}
