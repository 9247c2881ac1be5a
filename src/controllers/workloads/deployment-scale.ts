/** Numbers of a Deployment's ReplicaSets, and how a new total is shared among them. */
import type { ReplicaSet } from '../../api/types/objects.ts';

export const replicasOf = (set: ReplicaSet): number => set.spec.replicas ?? 1;
/** A set that is being scaled down counts as smaller at once, before its status shows it. */
export const availableOf = (set: ReplicaSet): number => Math.min(set.status?.availableReplicas ?? 0, replicasOf(set));
export const presentOf = (set: ReplicaSet): number => set.status?.replicas ?? 0;
export const total = (sets: readonly ReplicaSet[], of: (set: ReplicaSet) => number): number =>
  sets.reduce((n, set) => n + of(set), 0);

/**
 * In the middle of a rollout every active set keeps its share of the pods, so that a step towards a broken template is
 * not made larger (pkg/controller/deployment/sync.go, scale). With one active set it gets them all.
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
  // The larger sets first; of equals the newer one when there is more to give, the older one when there is less.
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
  // What rounding left over is the largest set's.
  const [first] = shares;
  if (first !== undefined) first[1] = Math.max(0, first[1] + left);
  return shares;
}

function newest(sets: readonly ReplicaSet[]): ReplicaSet | undefined {
  return [...sets].sort(
    (a, b) => Date.parse(b.metadata.creationTimestamp) - Date.parse(a.metadata.creationTimestamp),
  )[0];
}
