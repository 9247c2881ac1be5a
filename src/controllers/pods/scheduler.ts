/**
 * Assigns every pod a node and an address in one write. A pod with spec.nodeName goes there; others go to the fitting
 * Ready node that they prefer, or with the fewest pods, where their requests fit beside those of the others, those of
 * higher priority first. A pod that does not fit anywhere stays Pending, with the reason in condition
 * PodScheduled and in an Event, and is tried again when a node or an address becomes available. If pods of lower priority
 * are in its way, they are deleted with their grace period, and the pod is nominated for their node (preemptor.ts).
 */
import { holdsHostPorts } from '../../api/host-ports.ts';
import { isActive } from '../../api/pod-phase.ts';
import { isReady } from '../../api/ready.ts';
import { DEFAULT_SCHEDULER } from '../../api/schema/pod-defaults.ts';
import { type NodeObject, type Pod, WellKnown } from '../../api/types/objects.ts';
import { parseCidr } from '../../net/address.ts';
import { type Cluster, conditionOf, withCondition } from '../cluster.ts';
import type { PodVolumes } from '../storage/pod-volumes.ts';
import { keyOf, splitKey } from '../work-queue.ts';
import type { PodAddresses } from './addresses.ts';
import { podIpOf } from './addresses.ts';
import { crowding, firstObstacle } from './fit.ts';
import { Neighbourhoods } from './neighbourhood.ts';
import { nodePreference } from './node-affinity.ts';
import { Nominations, priorityOf } from './nominations.ts';
import { dependsOnOthers, preferenceOf, relationsOf } from './pod-affinity.ts';
import { isBefore } from './preemption.ts';
import { preempt, type Situation } from './preemptor.ts';
import { counted, neighboursOn, type Scheduling } from './scheduling.ts';
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
  const nominations = new Nominations(store);
  const scheduling = { cluster, addresses, volumes, neighbourhoods, nominations };
  const waiting = new Set<string>();
  const queue = cluster.queue('scheduler', (key) => {
    const pod = store.get('Pod', ...splitKey(key));
    if (pod === undefined || isPlaced(pod) || !isActive(pod)) waiting.delete(key);
    else if (place(scheduling, pod)) waiting.delete(key);
    else waiting.add(key);
  });
  const urgency = (key: string) => {
    const pod = store.get('Pod', ...splitKey(key));
    return pod === undefined ? 0 : priorityOf(pod);
  };
  const retry = () => {
    for (const key of [...waiting].sort((a, b) => urgency(b) - urgency(a))) queue.add(key);
  };
  const consider = (pod: Pod) => {
    if (!isPlaced(pod) && isActive(pod) && isOurs(pod)) queue.add(keyOf(pod));
  };
  for (const pod of store.list('Pod').sort((a, b) => priorityOf(b) - priorityOf(a))) consider(pod);
  store.onCommit('Pod', ({ type, object, old }) => {
    const changed =
      object.spec.nodeName !== old?.spec.nodeName || isGated(object) !== (old !== undefined && isGated(old));
    if (type === 'ADDED' || (type === 'MODIFIED' && changed)) consider(object);
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

/** Or another scheduler has chosen the node, and the pod still needs its address. */
const isOurs = ({ spec }: Pod) =>
  Boolean(spec.nodeName) || (spec.schedulerName ?? DEFAULT_SCHEDULER) === DEFAULT_SCHEDULER;

const isGated = ({ spec }: Pod): boolean => (spec.schedulingGates ?? []).length > 0;

const isPlaced = (pod: Pod) =>
  Boolean(pod.spec.nodeName) &&
  (pod.spec.hostNetwork === true || podIpOf(pod) !== undefined) &&
  conditionOf(pod.status?.conditions, 'PodScheduled')?.status === 'True';

const wantsCompany = (pod: Pod | undefined): boolean =>
  pod?.spec.affinity?.podAffinity?.requiredDuringSchedulingIgnoredDuringExecution !== undefined;

/** True if the pod has got its node and address. */
function place(scheduling: Scheduling, pod: Pod): boolean {
  const { cluster, addresses, volumes } = scheduling;
  const { store } = cluster;
  const named = pod.spec.nodeName;
  if (named) {
    const node = store.get('Node', undefined, named);
    if (node === undefined)
      return refuse(cluster, pod, { reason: 'NodeNotFound', message: `node "${named}" not found` });
    return volumes.ready(pod, node) && bind(cluster, addresses, pod, node);
  }
  if (isGated(pod)) {
    const message = 'Scheduling is blocked due to non-empty scheduling gates';
    return refuse(cluster, pod, { reason: 'SchedulingGated', message });
  }
  const nodes = store.list('Node').sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  const available = `0/${nodes.length} nodes are available`;
  const unschedulable = (message: string, nominated?: string) =>
    refuse(cluster, pod, { reason: 'Unschedulable', message, nominated });
  if (nodes.length === 0) return unschedulable('no nodes available to schedule pods');
  const obstacle = volumes.obstacle(pod);
  if (obstacle !== undefined) return unschedulable(`${available}: ${obstacle}.`);
  const { best, reasons, ...situation } = choose(scheduling, pod, nodes);
  if (best !== undefined) return volumes.ready(pod, best) && bind(cluster, addresses, pod, best);
  const { nominated, why } = preempt(scheduling, pod, situation);
  return unschedulable(`${available}: ${counted(reasons)}.${why === '' ? '' : ` ${why}`}`, nominated);
}

interface Choice extends Situation {
  /** Undefined if the pod fits nowhere. */
  best: NodeObject | undefined;
  /** Why not, of all nodes. */
  reasons: string[];
}

function choose(scheduling: Scheduling, pod: Pod, nodes: readonly NodeObject[]): Choice {
  const around = scheduling.neighbourhoods.of(pod);
  const relation = around && relationsOf(pod, around);
  const preference = around && preferenceOf(pod, around);
  const reasons: string[] = [];
  const crowded: NodeObject[] = [];
  let best: { node: NodeObject; rank: readonly number[] } | undefined;
  for (const node of nodes) {
    const obstacle = firstObstacle(scheduling.volumes, pod, node);
    if (obstacle !== undefined) {
      reasons.push(`node(s) ${obstacle}`);
      continue;
    }
    const crowds = crowding(pod, node, neighboursOn(scheduling, pod, node));
    const related = relation?.(node);
    if (crowds.length > 0 || related !== undefined) {
      reasons.push(...(crowds.length > 0 ? crowds : [`node(s) ${related}`]));
      if (related === undefined || dependsOnOthers(related)) crowded.push(node);
      continue;
    }
    // A node that was cleared for the pod comes first; nodes with an untolerated PreferNoSchedule taint come last.
    const { name } = node.metadata;
    const cleared = pod.status?.nominatedNodeName === name;
    const avoided = untolerated(node.spec?.taints, pod.spec.tolerations, ['PreferNoSchedule']) !== undefined;
    const liking = nodePreference(pod.spec, node) + (preference?.(node) ?? 0);
    const rank = [cleared ? 0 : 1, avoided ? 1 : 0, -liking, scheduling.addresses.podsOn(name).size];
    if (best === undefined || isBefore(rank, best.rank)) best = { node, rank };
  }
  return { best: best?.node, reasons, nodes, crowded, around };
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
      return refuse(cluster, pod, {
        reason: 'NoFreeAddress',
        message: `no address is free in ${node.spec?.podCIDR} of node ${name}`,
      });
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

interface Refusal {
  reason: string;
  message: string;
  /** The node that is being cleared for the pod. */
  nominated?: string | undefined;
}

function refuse(cluster: Cluster, pod: Pod, { reason, message, nominated }: Refusal): false {
  const condition = { type: 'PodScheduled', status: 'False' as const, reason, message };
  const known = conditionOf(pod.status?.conditions, 'PodScheduled');
  const { nominatedNodeName, ...status } = pod.status ?? {};
  const same = known?.status === 'False' && known.message === message;
  if (same && nominatedNodeName === nominated) return false;
  const conditions = withCondition(pod.status?.conditions, condition);
  const waiting = { ...status, ...(nominated !== undefined && { nominatedNodeName: nominated }), conditions };
  cluster.registry.write({ ...pod, status: waiting }, pod);
  // A gate is not a failure (kube-scheduler, plugins/schedulinggates).
  if (reason !== 'SchedulingGated') cluster.event(pod, 'Warning', 'FailedScheduling', message);
  return false;
}
