/** Keeps as many pods of a ReplicaSet as it asks for. */
import { resourceOfKind } from '../../api/resources.ts';
import { matchesSelector } from '../../api/selectors.ts';
import type { Pod, ReplicaSet } from '../../api/types/objects.ts';
import { type Cluster, conditionOf } from '../cluster.ts';
import { isPodReady } from '../services/endpoint-groups.ts';
import { keyOf, splitKey } from '../work-queue.ts';
import { Owned, ownedBy } from './owners.ts';

const PODS = resourceOfKind('Pod')!;

export function startReplicaSetController(cluster: Cluster): void {
  const { store, registry } = cluster;
  const owned = new Owned(store, 'Pod', 'ReplicaSet');
  const queue = cluster.queue('replica-sets', (key) => {
    const set = store.get('ReplicaSet', ...splitKey(key));
    if (set === undefined || set.metadata.deletionTimestamp !== undefined) return;
    reconcile(cluster, set, owned.of(set));
  });
  owned.queueOwners(queue);

  function reconcile({ event }: Cluster, set: ReplicaSet, pods: readonly Pod[]): void {
    const wanted = set.spec.replicas ?? 1;
    const alive = pods.filter((p) => {
      const ended = p.status?.phase === 'Succeeded' || p.status?.phase === 'Failed';
      return (
        !ended &&
        p.metadata.deletionTimestamp === undefined &&
        matchesSelector(set.spec.selector, p.metadata.labels ?? {})
      );
    });
    for (let i = alive.length; i < wanted; i++) {
      const { namespace, name } = set.metadata;
      const { labels, annotations } = set.spec.template.metadata ?? {};
      const metadata = {
        generateName: `${name}-`,
        namespace,
        ...(labels && { labels }),
        ...(annotations && { annotations }),
        ownerReferences: [ownedBy(set)],
      };
      const pod = { apiVersion: 'v1', kind: 'Pod', metadata, spec: set.spec.template.spec };
      const { object } = registry.create(PODS, namespace, pod);
      event(set, 'Normal', 'SuccessfulCreate', `Created pod: ${object.metadata.name}`);
    }
    for (const pod of alive.sort(leastMissed).slice(0, Math.max(0, alive.length - wanted))) {
      registry.delete(PODS, pod.metadata.namespace, pod.metadata.name);
      event(set, 'Normal', 'SuccessfulDelete', `Deleted pod: ${pod.metadata.name}`);
    }
    const now = store.get('ReplicaSet', set.metadata.namespace, set.metadata.name);
    if (now !== undefined) writeStatus(now, alive);
  }

  function writeStatus(set: ReplicaSet, alive: readonly Pod[]): void {
    const ready = alive.filter(isPodReady);
    const settleMs = (set.spec.minReadySeconds ?? 0) * 1000;
    const since = (p: Pod) => Date.parse(conditionOf(p.status?.conditions, 'Ready')?.lastTransitionTime ?? '') || 0;
    const settled = ready.filter((p) => settleMs === 0 || Date.now() - since(p) >= settleMs);
    const status = {
      replicas: alive.length,
      fullyLabeledReplicas: alive.length,
      readyReplicas: ready.length,
      availableReplicas: settled.length,
      observedGeneration: set.metadata.generation,
    };
    registry.write({ ...set, status }, set);
    // The store does not change when the time is up, so a timer queues the set again.
    if (settled.length < ready.length) setTimeout(() => queue.add(keyOf(set)), settleMs + 1000).unref();
  }
}

/** Which pods to end first: unplaced before placed, unready before ready, younger before older. */
function leastMissed(a: Pod, b: Pod): number {
  const rank = (p: Pod) => (p.spec.nodeName ? 1 : 0) + (isPodReady(p) ? 2 : 0);
  return rank(a) - rank(b) || Number(b.metadata.resourceVersion) - Number(a.metadata.resourceVersion);
}
