/** What a packet would meet on this machine now: walks over copies of the nodes' tables, for `trace` and `why`. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Features } from '../../../native-free-dataplane/dataplane.ts';
import { processTraced } from '../../../native-free-dataplane/trace/traced.ts';
import type { ApiClient } from '../../api/client/client.ts';
import { DEFAULT_CLUSTER_OPTIONS } from '../../api/cluster-options.ts';
import { readClusterFile, STATE_DIR } from '../../cluster/state.ts';
import { monotonicMs } from '../../linux/clock.ts';
import { listShared, SHM_DIRECTORY } from '../../linux/shm-files.ts';
import { copySparse, expand } from '../../linux/sparse-file.ts';
import { gatewayOf } from '../../net/pod-network.ts';
import { mapTables } from '../../observe/replay/snapshot-file.ts';
import { type NamedObjects, Names } from '../../observe/trace/names.ts';
import { NodeCopy, type NodeTables } from '../../observe/trace/node-copy.ts';
import { Resolver, type Start } from '../../observe/trace/resolver.ts';
import { type Walk, Walker, type WalkOptions } from '../../observe/trace/walk.ts';
import { memoryName, nodesWith, SHM_PREFIX } from '../../shm-names.ts';

/**
 * The way of a packet through this machine's nodes as they are now, and of its reply. The packet changes the copies only.
 * @param start where it begins, given the nodes
 * @returns undefined if this machine has no node
 */
export function walkLive(
  objects: NamedObjects,
  start: (resolver: Resolver) => Start,
  options: WalkOptions = {},
): Walk | undefined {
  const { nodes, nowMs } = copyNodes();
  if (nodes.length === 0) return undefined;
  const names = new Names(objects);
  const { from, frame } = start(new Resolver(nodes, names, outsideAddress));
  return new Walker(nodes, names, processTraced, nowMs, options).walk(frame, from);
}

/** Copies of this machine's nodes, and the time at which they were taken. */
export function copyNodes(): { nodes: NodeCopy[]; nowMs: number } {
  const nowMs = monotonicMs();
  return { nodes: copyLiveTables().map((node, number) => new NodeCopy(node, nowMs, (nowMs ^ number) | 1)), nowMs };
}

/** Copies of the tables of every node of this machine. Reading changes nothing. */
function copyLiveTables(): NodeTables[] {
  return nodesWith('conntrack', listShared(SHM_PREFIX)).map((name) => ({
    name,
    tables: mapTables((table) => copyOf(memoryName(name, table))),
    features: readFeatures(name),
  }));
}

/** Tables are mostly holes: of a node's 200 MB, 5 hold data. */
const copyOf = (memory: string): ArrayBuffer => expand(copySparse(join(SHM_DIRECTORY, memory)));

/** The offload features of the node's device, as recorded by its agent. */
export function readFeatures(node: string): Features {
  try {
    const text = readFileSync(join(STATE_DIR, 'nodes', node, 'dataplane.json'), 'utf8');
    const { tunnelOffload = false, udpSegmentation = false } = JSON.parse(text) as Partial<Features>;
    return { tunnelOffload, udpSegmentation };
  } catch {
    return { tunnelOffload: false, udpSegmentation: false };
  }
}

/** The objects that addresses are named after. */
export async function readNamedObjects(client: ApiClient): Promise<NamedObjects> {
  const [pods, services, nodes] = await Promise.all([client.list('Pod'), client.list('Service'), client.list('Node')]);
  return { pods: pods.items, services: services.items, nodes: nodes.items };
}

/** The address of the machine outside the cluster: the underlay's first. */
export function outsideAddress(): string {
  const { underlayCidr } = readClusterFile()?.options ?? DEFAULT_CLUSTER_OPTIONS;
  return gatewayOf(underlayCidr);
}
