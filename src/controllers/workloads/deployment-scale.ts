/** Replica counts of a Deployment's ReplicaSets, and the distribution of a new total among them. */
import type { ReplicaSet } from '../../api/types/objects.ts';

export const replicasOf = (set: ReplicaSet): number => set.spec.replicas ?? 1;
/** A set that is being scaled down counts as smaller immediately, before its status shows it. */
export const availableOf = (set: ReplicaSet): number => Math.min(set.status?.availableReplicas ?? 0, replicasOf(set));
export const presentOf = (set: ReplicaSet): number => set.status?.replicas ?? 0;
export const total = (sets: readonly ReplicaSet[], of: (set: ReplicaSet) => number): number =>
  sets.reduce((n, set) => n + of(set), 0);

/**
 * When a Deployment is scaled during a rollout, every active set keeps its share of the pods, so that a broken new
 * template does not get a larger share (pkg/controller/deployment/sync.go, scale). A single active set gets them all.
 */
export function scaleProportionally(
  fresh: ReplicaSet | undefined,
  old: readonly ReplicaSet[],
  wanted: number,
  surge: number,
): [set: ReplicaSet, replicas: number][] {
  const all = [...(fresh ? [fresh] : []), ...old];
  const active = all.filter((set) => replicasOf(set) > 0);
  if (active.length <= 1) {
    const only = active[0] ?? fresh ?? newest(old);
    return only === undefined ? [] : [[only, wanted]];
  }
  if (fresh !== undefined && replicasOf(fresh) >= wanted && availableOf(fresh) >= wanted) {
    return old.filter((set) => replicasOf(set) > 0).map((set) => [set, 0]);
  }
  const present = total(active, replicasOf);
  const allowed = wanted > 0 ? wanted + surge : 0;
  let left = allowed - present;
  // Larger sets first; among equals, the newer one when scaling up, the older one when scaling down.
  const order = [...active].sort((a, b) => {
    const age = Date.parse(a.metadata.creationTimestamp) - Date.parse(b.metadata.creationTimestamp);
    return replicasOf(b) - replicasOf(a) || (left > 0 ? -age : age);
  });
  const shares = order.map((set): [ReplicaSet, number] => {
    const exact = Math.round((replicasOf(set) * allowed) / present) - replicasOf(set);
    const given = left > 0 ? Math.min(Math.max(exact, 0), left) : Math.max(Math.min(exact, 0), left);
    left -= given;
    return [set, replicasOf(set) + given];
  });
  // The remainder of rounding goes to the largest set.
  const [first] = shares;
  if (first !== undefined) first[1] = Math.max(0, first[1] + left);
  return shares;
}

function newest(sets: readonly ReplicaSet[]): ReplicaSet | undefined {
  return [...sets].sort(
    (a, b) => Date.parse(b.metadata.creationTimestamp) - Date.parse(a.metadata.creationTimestamp),
  )[0];
}
