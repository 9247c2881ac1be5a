/** Maintains the number of pods of ReplicaSets and ReplicationControllers. */
import { ApiError } from '../../api/errors.ts';
import { isActive } from '../../api/pod-phase.ts';
import type { Condition, LabelSelector, Pod, ReplicaSet, ReplicationController } from '../../api/types/objects.ts';
import { type Cluster, withCondition } from '../cluster.ts';
import { keyOf, splitKey, type WorkQueue } from '../work-queue.ts';
import { Owned } from './owners.ts';
import { createPod, deletePod, leastMissedFirst, progressOf, withoutZeros } from './pod-control.ts';

type Replicated = ReplicaSet | ReplicationController;

/** How many pods are created or deleted at a time; the rest follows later. */
const BURST = 500;

export function startReplicaSetController(cluster: Cluster): void {
  start(cluster, 'ReplicaSet', 'replica-sets', ({ spec }) => spec.selector);
}

export function startReplicationControllers(cluster: Cluster): void {
  start(cluster, 'ReplicationController', 'replication-controllers', ({ spec }) => ({
    matchLabels: spec.selector ?? spec.template.metadata?.labels ?? {},
  }));
}

function start<K extends 'ReplicaSet' | 'ReplicationController'>(
  cluster: Cluster,
  kind: K,
  name: string,
  selectorOf: (owner: K extends 'ReplicaSet' ? ReplicaSet : ReplicationController) => LabelSelector,
): void {
  const { store } = cluster;
  const owned = new Owned(store, 'Pod', kind);
  const queue = cluster.queue(name, (key) => {
    const set = store.get(kind, ...splitKey(key)) as Replicated | undefined;
    if (set === undefined || set.metadata.deletionTimestamp !== undefined) return;
    const pods = owned.claim(cluster, set, selectorOf(set as never));
    reconcile(cluster, queue, set, pods);
  });
  owned.queueOwners(queue, selectorOf as never);
}

function reconcile(cluster: Cluster, queue: WorkQueue, set: Replicated, pods: readonly Pod[]): void {
  const wanted = set.spec.replicas ?? 1;
  const active = pods.filter(isActive);
  let failure: ApiError | undefined;
  const missing = Math.min(wanted - active.length, BURST);
  try {
    for (let i = 0; i < missing; i++) active.push(createPod(cluster, set, set.spec.template));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    failure = error;
  }
  const surplus = Math.max(0, active.length - wanted);
  const leaving = leastMissedFirst(active).slice(0, Math.min(surplus, BURST));
  for (const pod of leaving) deletePod(cluster, set, pod);
  const staying = active.filter((pod) => !leaving.includes(pod));
  const nextMs = writeStatus(cluster, set, staying, failure);
  if (nextMs !== undefined) queue.addAfter(keyOf(set), nextMs);
  if (missing === BURST || leaving.length === BURST) queue.add(keyOf(set));
  if (failure !== undefined) throw failure; // the work queue retries with back-off
}

/** @returns milliseconds until the next pod becomes available, if any */
function writeStatus(
  cluster: Cluster,
  set: Replicated,
  pods: readonly Pod[],
  failure: ApiError | undefined,
): number | undefined {
  const { store, registry } = cluster;
  const now = store.get(set.kind, set.metadata.namespace, set.metadata.name) as Replicated | undefined;
  if (now === undefined) return undefined;
  const { ready, available, nextMs } = progressOf(pods, now.spec.minReadySeconds);
  const wanted = Object.entries(now.spec.template.metadata?.labels ?? {});
  const labelled = pods.filter(({ metadata }) => wanted.every(([key, value]) => metadata.labels?.[key] === value));
  const conditions = conditionsOf(now.status?.conditions, failure);
  const status = {
    replicas: pods.length,
    ...withoutZeros({ fullyLabeledReplicas: labelled.length, readyReplicas: ready, availableReplicas: available }),
    observedGeneration: now.metadata.generation,
    ...(conditions.length > 0 && { conditions }),
  };
  registry.write({ ...now, status } as ReplicaSet, now as ReplicaSet);
  return nextMs;
}

function conditionsOf(old: readonly Condition[] | undefined, failure: ApiError | undefined): Condition[] {
  if (failure === undefined) return (old ?? []).filter(({ type }) => type !== 'ReplicaFailure');
  return withCondition(old, {
    type: 'ReplicaFailure',
    status: 'True',
    reason: 'FailedCreate',
    message: failure.message,
  });
}
