/**
 * Maintains status.disruptionsAllowed of PodDisruptionBudgets: the number of healthy pods above the required number
 * (pkg/controller/disruption). Evictions check it (src/api/server/subresources.ts).
 */
import { isEnded } from '../../api/pod-phase.ts';
import { isReady } from '../../api/ready.ts';
import { matchesSelector } from '../../api/selectors.ts';
import type { Condition, Kind, KubeObject, Pod, PodDisruptionBudget } from '../../api/types/objects.ts';
import { type Cluster, withCondition } from '../cluster.ts';
import { keyOf, splitKey } from '../work-queue.ts';
import { share } from './pod-control.ts';

/** An allowed eviction must be observed within this time, or it no longer counts (DeletionTimeout). */
const EVICTION_MS = 120_000;
/** Controllers whose spec.replicas a percentage refers to. */
const SCALED: readonly string[] = ['ReplicaSet', 'ReplicationController', 'StatefulSet'];

export function startDisruptionBudgets(cluster: Cluster): void {
  const { store } = cluster;
  const queue = cluster.queue('disruption-budgets', (key) => {
    const budget = store.get('PodDisruptionBudget', ...splitKey(key));
    if (budget === undefined) return;
    const nextMs = update(cluster, budget);
    if (nextMs !== undefined) queue.addAfter(key, nextMs);
  });
  const concerned = (pod: Pod) => {
    for (const budget of store.list('PodDisruptionBudget', pod.metadata.namespace)) {
      if (selects(budget, pod)) queue.add(keyOf(budget));
    }
  };
  for (const budget of store.list('PodDisruptionBudget')) queue.add(keyOf(budget));
  store.onCommit('PodDisruptionBudget', ({ type, object, old }) => {
    if (type !== 'DELETED' && object.spec !== old?.spec) queue.add(keyOf(object));
  });
  store.onCommit('Pod', ({ object, old }) => {
    concerned(object);
    if (old !== undefined && old.metadata.labels !== object.metadata.labels) concerned(old);
  });
  const scaled = ({ object, old }: { object: KubeObject; old?: KubeObject | undefined }) => {
    const replicas = (each: KubeObject | undefined) =>
      (each as { spec?: { replicas?: number } } | undefined)?.spec?.replicas;
    if (replicas(object) === replicas(old)) return;
    for (const budget of store.list('PodDisruptionBudget', object.metadata.namespace)) queue.add(keyOf(budget));
  };
  for (const kind of ['ReplicaSet', 'ReplicationController', 'StatefulSet'] as const) store.onCommit(kind, scaled);
}

/** An absent selector selects nothing, an empty one everything (policy/v1). */
const selects = ({ spec }: PodDisruptionBudget, pod: Pod): boolean =>
  spec.selector !== undefined && matchesSelector(spec.selector, pod.metadata.labels ?? {});

function update(cluster: Cluster, budget: PodDisruptionBudget): number | undefined {
  const { store, registry } = cluster;
  const { namespace } = budget.metadata;
  const pods = store.list('Pod', namespace).filter((pod) => selects(budget, pod) && !isEnded(pod));
  const { minAvailable, maxUnavailable } = budget.spec;
  const expected = typeof minAvailable === 'number' ? pods.length : expectedPods(cluster, pods);
  const needed =
    maxUnavailable !== undefined
      ? Math.max(0, expected - share(maxUnavailable, expected, Math.ceil))
      : share(minAvailable ?? 0, expected, Math.ceil);
  const nowMs = Date.now();
  const disrupted = Object.entries(budget.status?.disruptedPods ?? {}).filter(([name, at]) => {
    const pod = store.get('Pod', namespace, name);
    return pod !== undefined && pod.metadata.deletionTimestamp === undefined && nowMs - Date.parse(at) < EVICTION_MS;
  });
  const gone = new Set(disrupted.map(([name]) => name));
  const healthy = pods.filter(
    (pod) => isReady(pod) && pod.metadata.deletionTimestamp === undefined && !gone.has(pod.metadata.name),
  ).length;
  const allowed = expected > 0 ? Math.max(0, healthy - needed) : 0;
  const condition: Condition = {
    type: 'DisruptionAllowed',
    status: allowed > 0 ? 'True' : 'False',
    reason: allowed > 0 ? 'SufficientPods' : 'InsufficientPods',
    message: '',
    observedGeneration: budget.metadata.generation ?? 1,
  };
  const status = {
    currentHealthy: healthy,
    desiredHealthy: needed,
    disruptionsAllowed: allowed,
    expectedPods: expected,
    observedGeneration: budget.metadata.generation ?? 1,
    ...(disrupted.length > 0 && { disruptedPods: Object.fromEntries(disrupted) }),
    conditions: withCondition(budget.status?.conditions, condition),
  };
  registry.write({ ...budget, status }, budget);
  return disrupted.length > 0 ? EVICTION_MS : undefined;
}

/** The expected number of pods: the replicas of their controllers, each counted once. */
function expectedPods({ store }: Cluster, pods: readonly Pod[]): number {
  const owners = new Map<string, number>();
  let alone = 0;
  for (const pod of pods) {
    const owner = pod.metadata.ownerReferences?.find((o) => o.controller === true && SCALED.includes(o.kind));
    const found = owner && store.get(owner.kind as Kind, pod.metadata.namespace, owner.name);
    if (found === undefined) alone++;
    else owners.set(found.metadata.uid, (found as { spec?: { replicas?: number } }).spec?.replicas ?? 1);
  }
  return [...owners.values()].reduce((sum, n) => sum + n, alone);
}
