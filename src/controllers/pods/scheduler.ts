/**
 * Assigns every pod a node and an address in one write. A pod with spec.nodeName goes there; others go to the fitting
 * Ready node that they prefer, or with the fewest pods, where their requests fit beside those of the others, those of
 * higher priority first. A pod that does not fit anywhere stays Pending, with the reason in condition
 * PodScheduled and in an Event, and is tried again when a node or an address becomes available.
 */

import { HOST_PORTS_TAKEN, holdsHostPorts, hostPortsClash, hostPortsOf } from '../../api/host-ports.ts';
import { isReady } from '../../api/ready.ts';
import { DEFAULT_SCHEDULER } from '../../api/schema/pod-defaults.ts';
import { matchesLabels } from '../../api/selectors.ts';
import { type NodeObject, type Pod, WellKnown } from '../../api/types/objects.ts';
import { parseCidr } from '../../net/address.ts';
import { type Cluster, conditionOf, withCondition } from '../cluster.ts';
import type { PodVolumes } from '../storage/pod-volumes.ts';
import { keyOf, splitKey } from '../work-queue.ts';
import type { PodAddresses } from './addresses.ts';
import { podIpOf } from './addresses.ts';
import { Neighbourhoods } from './neighbourhood.ts';
import { nodeAffinityFits, nodePreference } from './node-affinity.ts';
import { insufficient } from './node-resources.ts';
import { preferenceOf, relationsOf } from './pod-affinity.ts';
import { untolerated } from './tolerations.ts';

/** The properties of a node that decide whether a pod may run there. */
const fitness = (node: NodeObject | undefined) =>
  node === undefined
    ? ''
    : JSON.stringify([
        isReady(node),
        node.spec?.unschedulable === true,
        node.spec?.podCIDR,
        node.metadata.labels,
        node.spec?.taints,
        node.status?.allocatable,
      ]);

export function startScheduler(cluster: Cluster, addresses: PodAddresses, volumes: PodVolumes): void {
  const { store } = cluster;
  const neighbourhoods = new Neighbourhoods(store);
  const waiting = new Set<string>();
  const queue = cluster.queue('scheduler', (key) => {
    const pod = store.get('Pod', ...splitKey(key));
    if (pod === undefined || isPlaced(pod) || isEnding(pod)) waiting.delete(key);
    else if (place({ cluster, addresses, volumes, neighbourhoods }, pod)) waiting.delete(key);
    else waiting.add(key);
  });
  const priorityOf = (key: string) => store.get('Pod', ...splitKey(key))?.spec.priority ?? 0;
  const retry = () => {
    for (const key of [...waiting].sort((a, b) => priorityOf(b) - priorityOf(a))) queue.add(key);
  };
  const consider = (pod: Pod) => {
    if (!isPlaced(pod) && !isEnding(pod) && isOurs(pod)) queue.add(keyOf(pod));
  };
  for (const pod of store.list('Pod')) consider(pod);
  store.onCommit('Pod', ({ type, object, old }) => {
    if (type === 'ADDED' || (type === 'MODIFIED' && object.spec.nodeName !== old?.spec.nodeName)) consider(object);
    if (type === 'DELETED') waiting.delete(keyOf(object));
    // A deleted pod frees its address and host ports, one whose phase is final its host ports.
    const frees = type === 'DELETED' || (old !== undefined && holdsHostPorts(old) && !holdsHostPorts(object));
    if (frees && waiting.size > 0) retry();
    // A pod that others want to be near may have been placed, or have got a label.
    else if (
      waiting.size > 0 &&
      isPlaced(object) &&
      (!old || !isPlaced(old) || old.metadata.labels !== object.metadata.labels)
    ) {
      for (const key of waiting) if (wantsCompany(store.get('Pod', ...splitKey(key)))) queue.add(key);
    }
  });
  for (const kind of ['PersistentVolumeClaim', 'PersistentVolume', 'StorageClass'] as const) {
    store.onCommit(kind, ({ type }) => {
      if (waiting.size > 0 && type !== 'DELETED') retry();
    });
  }
  store.onCommit('Node', ({ type, object, old }) => {
    if (waiting.size > 0 && type !== 'DELETED' && fitness(object) !== fitness(old)) retry();
  });
}

const isEnding = ({ metadata, status }: Pod) =>
  metadata.deletionTimestamp !== undefined || status?.phase === 'Succeeded' || status?.phase === 'Failed';

/** Or another scheduler has chosen the node, and the pod still needs its address. */
const isOurs = ({ spec }: Pod) =>
  Boolean(spec.nodeName) || (spec.schedulerName ?? DEFAULT_SCHEDULER) === DEFAULT_SCHEDULER;

const isPlaced = (pod: Pod) =>
  Boolean(pod.spec.nodeName) &&
  (pod.spec.hostNetwork === true || podIpOf(pod) !== undefined) &&
  conditionOf(pod.status?.conditions, 'PodScheduled')?.status === 'True';

const wantsCompany = (pod: Pod | undefined): boolean =>
  pod?.spec.affinity?.podAffinity?.requiredDuringSchedulingIgnoredDuringExecution !== undefined;

interface Scheduling {
  cluster: Cluster;
  addresses: PodAddresses;
  volumes: PodVolumes;
  neighbourhoods: Neighbourhoods;
}

/** True if the pod has got its node and address. */
function place(scheduling: Scheduling, pod: Pod): boolean {
  const { cluster, addresses, volumes } = scheduling;
  const { store } = cluster;
  const named = pod.spec.nodeName;
  if (named) {
    const node = store.get('Node', undefined, named);
    if (node === undefined) return refuse(cluster, pod, 'NodeNotFound', `node "${named}" not found`);
    return volumes.ready(pod, node) && bind(cluster, addresses, pod, node);
  }
  const reasons = new Map<string, number>();
  const around = scheduling.neighbourhoods.of(pod);
  const relation = around && relationsOf(pod, around);
  const preference = around && preferenceOf(pod, around);
  let best: { node: NodeObject; rank: readonly number[] } | undefined;
  const nodes = store.list('Node').sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  const obstacle = volumes.obstacle(pod);
  const available = `0/${nodes.length} nodes are available`;
  if (obstacle !== undefined) return refuse(cluster, pod, 'Unschedulable', `${available}: ${obstacle}.`);
  for (const node of nodes) {
    const obstacles = whyNot(scheduling, pod, node);
    const pods = addresses.podsOn(node.metadata.name).size;
    if (obstacles.length === 0) {
      const why = relation?.(node);
      if (why !== undefined) obstacles.push(`node(s) ${why}`);
    }
    for (const why of obstacles) reasons.set(why, (reasons.get(why) ?? 0) + 1);
    if (obstacles.length > 0) continue;
    // Nodes with an untolerated PreferNoSchedule taint come after all others.
    const avoided = untolerated(node.spec?.taints, pod.spec.tolerations, ['PreferNoSchedule']) !== undefined;
    const rank = [avoided ? 1 : 0, -(nodePreference(pod.spec, node) + (preference?.(node) ?? 0)), pods];
    if (best === undefined || isBefore(rank, best.rank)) best = { node, rank };
  }
  if (best !== undefined) return volumes.ready(pod, best.node) && bind(cluster, addresses, pod, best.node);
  const causes = [...reasons]
    .map(([why, count]) => `${count} ${why}`)
    .sort()
    .join(', ');
  const message = nodes.length === 0 ? 'no nodes available to schedule pods' : `${available}: ${causes}.`;
  return refuse(cluster, pod, 'Unschedulable', message);
}

/** Compares the first numbers that differ. */
function isBefore(one: readonly number[], other: readonly number[]): boolean {
  const at = one.findIndex((value, i) => value !== other[i]);
  return at >= 0 && one[at]! < other[at]!;
}

/** kube-scheduler's texts: the first obstacle, or else everything that the node has not enough of; empty if the pod fits. */
function whyNot(scheduling: Scheduling, pod: Pod, node: NodeObject): string[] {
  const obstacle = firstObstacle(scheduling, pod, node);
  if (obstacle !== undefined) return [`node(s) ${obstacle}`];
  return insufficient(pod, node, () => podsOn(scheduling, node)).map((name) => `Insufficient ${name}`);
}

function podsOn({ cluster, addresses }: Scheduling, node: NodeObject): Pod[] {
  const keys = [...addresses.podsOn(node.metadata.name)];
  return keys.flatMap((key) => cluster.store.get('Pod', ...splitKey(key)) ?? []);
}

function firstObstacle(scheduling: Scheduling, pod: Pod, node: NodeObject): string | undefined {
  const { addresses, volumes } = scheduling;
  if (!isReady(node)) return 'were not ready';
  if (node.spec?.unschedulable) return 'were unschedulable';
  const taint = untolerated(node.spec?.taints, pod.spec.tolerations, ['NoSchedule', 'NoExecute']);
  if (taint !== undefined) return `had untolerated taint {${taint.key}: ${taint.value ?? ''}}`;
  if (!matchesLabels(pod.spec.nodeSelector ?? {}, node.metadata.labels) || !nodeAffinityFits(pod.spec, node)) {
    return "didn't match Pod's node affinity/selector";
  }
  const wanted = hostPortsOf(pod.spec);
  if (wanted.length > 0) {
    for (const other of podsOn(scheduling, node)) {
      if (holdsHostPorts(other) && hostPortsClash(hostPortsOf(other.spec), wanted)) return HOST_PORTS_TAKEN;
    }
  }
  if (!pod.spec.hostNetwork && !hasRoom(addresses, node)) return 'had no free pod address';
  return volumes.whyNotOn(node, pod);
}

/** Compares counts first: a node with fewer pods than addresses has a free one. */
function hasRoom(addresses: PodAddresses, node: NodeObject): boolean {
  const network = parseCidr(node.spec?.podCIDR ?? '');
  if (network === undefined) return false;
  const usable = network.last - network.first - 2n;
  return addresses.podsOn(node.metadata.name).size < usable || freeAddress(addresses, node) !== undefined;
}

function freeAddress(addresses: PodAddresses, node: NodeObject): string | undefined {
  const network = parseCidr(node.spec?.podCIDR ?? '');
  return network && addresses.free(network, Date.now());
}

function bind(cluster: Cluster, addresses: PodAddresses, pod: Pod, node: NodeObject): boolean {
  const { name } = node.metadata;
  const annotations = { ...pod.metadata.annotations };
  if (!pod.spec.hostNetwork && podIpOf(pod) === undefined) {
    const ip = freeAddress(addresses, node);
    if (ip === undefined) {
      return refuse(cluster, pod, 'NoFreeAddress', `no address is free in ${node.spec?.podCIDR} of node ${name}`);
    }
    annotations[WellKnown.POD_IP] = ip;
  }
  const conditions = withCondition(pod.status?.conditions, { type: 'PodScheduled', status: 'True' });
  const bound: Pod = {
    ...pod,
    metadata: { ...pod.metadata, ...(Object.keys(annotations).length > 0 && { annotations }) },
    spec: { ...pod.spec, nodeName: name },
    status: { ...pod.status, conditions },
  };
  // As by a Binding, which nobody owns (registry/core/pod/storage, assignPod).
  cluster.registry.as(undefined).write(bound, pod);
  const { namespace } = pod.metadata;
  cluster.event(bound, 'Normal', 'Scheduled', `Successfully assigned ${namespace}/${pod.metadata.name} to ${name}`);
  return true;
}

function refuse(cluster: Cluster, pod: Pod, reason: string, message: string): false {
  const condition = { type: 'PodScheduled', status: 'False' as const, reason, message };
  const known = conditionOf(pod.status?.conditions, 'PodScheduled');
  if (known?.status === 'False' && known.message === message) return false;
  const conditions = withCondition(pod.status?.conditions, condition);
  cluster.registry.write({ ...pod, status: { ...pod.status, conditions } }, pod);
  cluster.event(pod, 'Warning', 'FailedScheduling', message);
  return false;
}
