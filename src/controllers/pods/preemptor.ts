/**
 * Removes pods of lower priority so that a pod fits: they are marked, named in events and deleted with their grace period,
 * and the pod is nominated for their node. Which ones: preemption.ts.
 */
import { resourceOfKind } from '../../api/resources.ts';
import { DEFAULT_SCHEDULER } from '../../api/schema/pod-defaults.ts';
import type { NodeObject, Pod } from '../../api/types/objects.ts';
import { type Cluster, withCondition } from '../cluster.ts';
import { crowding, type Neighbours } from './fit.ts';
import { type Neighbourhood, relationsOf } from './pod-affinity.ts';
import { type Candidate, leastHarm, NOT_HELPFUL, PREEMPTION_REASON, victimsOn, whyNotEligible } from './preemption.ts';
import { counted, podsOn, type Scheduling } from './scheduling.ts';

const PODS = resourceOfKind('Pod')!;
const NOBODY: Neighbours = { count: 0, pods: () => [] };

export interface Situation {
  nodes: readonly NodeObject[];
  /** Those among them on which nothing but other pods is in the way. */
  crowded: readonly NodeObject[];
  around: Neighbourhood | undefined;
}

export interface Preemption {
  /** The node that the pod is nominated for now. */
  nominated: string | undefined;
  /** Why no pods are removed, for the pod's condition; empty if some are. */
  why: string;
}

export function preempt(scheduling: Scheduling, pod: Pod, { nodes, crowded, around }: Situation): Preemption {
  const before = pod.status?.nominatedNodeName;
  const refusal = whyNotEligible(pod, before ? podsOn(scheduling, before) : []);
  if (refusal !== undefined) return { nominated: before, why: `preemption: ${refusal}` };
  const candidates: Candidate[] = [];
  const reasons = new Array<string>(nodes.length - crowded.length).fill(NOT_HELPFUL);
  const budgets = scheduling.cluster.store.list('PodDisruptionBudget');
  for (const node of crowded) {
    const { name } = node.metadata;
    // It is too small for the pod, whatever is removed.
    if (crowding(pod, node, NOBODY).length > 0) {
      reasons.push(NOT_HELPFUL);
      continue;
    }
    const here = [...podsOn(scheduling, name), ...scheduling.nominations.ahead(name, pod)];
    const beside = (others: readonly Pod[]) => obstaclesBeside(pod, node, others, around);
    const found = victimsOn(pod, { node, pods: here, budgets }, beside);
    if ('victims' in found) candidates.push(found);
    else reasons.push(...found);
  }
  const best = leastHarm(candidates);
  if (best === undefined) {
    return { nominated: undefined, why: `preemption: 0/${nodes.length} nodes are available: ${counted(reasons)}.` };
  }
  clear(scheduling, pod, best);
  return { nominated: best.node.metadata.name, why: '' };
}

/** What would be in the way if only these pods were on the node. */
function obstaclesBeside(
  pod: Pod,
  node: NodeObject,
  others: readonly Pod[],
  around: Neighbourhood | undefined,
): readonly string[] {
  const crowds = crowding(pod, node, { count: others.length, pods: () => others });
  if (crowds.length > 0 || around === undefined) return crowds;
  const left = new Set(others);
  const placed = around.placed.filter((other) => other.node !== node || left.has(other.pod));
  const why = relationsOf(pod, { ...around, placed })(node);
  return why === undefined ? [] : [`node(s) ${why}`];
}

function clear({ cluster, nominations }: Scheduling, pod: Pod, { node, victims }: Candidate): void {
  const { name } = node.metadata;
  for (const victim of victims) remove(cluster, victim, pod, name);
  // They may fit elsewhere by now, and what is cleared here is not for them.
  for (const other of nominations.behind(name, pod)) {
    const { nominatedNodeName: _, ...status } = other.status ?? {};
    cluster.registry.write({ ...other, status }, other);
  }
}

function remove(cluster: Cluster, victim: Pod, pod: Pod, node: string): void {
  const { namespace, name, deletionTimestamp } = victim.metadata;
  if (deletionTimestamp !== undefined) return;
  const condition = {
    type: 'DisruptionTarget',
    status: 'True' as const,
    reason: PREEMPTION_REASON,
    message: `${DEFAULT_SCHEDULER}: preempting to accommodate a higher priority pod`,
  };
  const conditions = withCondition(victim.status?.conditions, condition);
  cluster.registry.write({ ...victim, status: { ...victim.status, conditions } }, victim);
  cluster.event(victim, 'Normal', 'Preempted', `Preempted by pod ${pod.metadata.uid} on node ${node}`);
  cluster.registry.delete(PODS, namespace, name);
}
