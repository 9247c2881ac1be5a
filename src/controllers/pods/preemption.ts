/**
 * Which pods have to go so that a pod of higher priority fits (kubernetes pkg/scheduler/framework/preemption and
 * plugins/defaultpreemption). Pure: the scheduler asks, and acts. Disruption budgets are respected as far as possible:
 * a pod that a budget protects is removed only if nothing else helps.
 */
import { matchesSelector } from '../../api/selectors.ts';
import type { NodeObject, Pod, PodDisruptionBudget } from '../../api/types/objects.ts';
import { priorityOf } from './nominations.ts';

/** kube-scheduler's texts for nodes that preemption does not help with. */
export const NOT_HELPFUL = 'Preemption is not helpful for scheduling';
export const NO_VICTIMS = 'No preemption victims found for incoming pod';
/** Reason of the condition DisruptionTarget of a removed pod. */
export const PREEMPTION_REASON = 'PreemptionByScheduler';

export interface Candidate {
  node: NodeObject;
  /** The most important first. */
  victims: readonly Pod[];
  /** How many of them a disruption budget protects. */
  violations: number;
}

/** Why the pod may not preempt others at present; undefined if it may. @param onNominated the pods on its nominated node */
export function whyNotEligible(pod: Pod, onNominated: readonly Pod[]): string | undefined {
  if (pod.spec.preemptionPolicy === 'Never') return 'not eligible due to preemptionPolicy=Never.';
  const waits = onNominated.some((other) => isLower(other, pod) && isPreempted(other));
  return waits ? 'not eligible due to a terminating pod on the nominated node.' : undefined;
}

const isLower = (one: Pod, other: Pod): boolean => priorityOf(one) < priorityOf(other);

const isPreempted = ({ metadata, status }: Pod): boolean =>
  metadata.deletionTimestamp !== undefined &&
  (status?.conditions ?? []).some(
    ({ type, status: is, reason }) => type === 'DisruptionTarget' && is === 'True' && reason === PREEMPTION_REASON,
  );

export interface Occupation {
  node: NodeObject;
  /** The pods there, and those that are nominated for it. */
  pods: readonly Pod[];
  /** Of all namespaces. */
  budgets: readonly PodDisruptionBudget[];
}

/**
 * The fewest pods of a node that have to go, or why that does not help.
 * @param obstaclesBeside what would be in the pod's way if only these pods were on the node
 */
export function victimsOn(
  pod: Pod,
  { node, pods, budgets }: Occupation,
  obstaclesBeside: (others: readonly Pod[]) => readonly string[],
): Candidate | readonly string[] {
  const lower = pods.filter((other) => isLower(other, pod)).sort(byImportance);
  if (lower.length === 0) return [NO_VICTIMS];
  let kept = pods.filter((other) => !isLower(other, pod));
  const missing = obstaclesBeside(kept);
  if (missing.length > 0) return missing;
  const guarded = guardedBy(budgets, lower);
  const victims: Pod[] = [];
  // As many as possible stay, the protected and the most important ones first.
  for (const other of [...lower.filter((p) => guarded.has(p)), ...lower.filter((p) => !guarded.has(p))]) {
    if (obstaclesBeside([...kept, other]).length === 0) kept = [...kept, other];
    else victims.push(other);
  }
  if (victims.length === 0) return [NO_VICTIMS];
  return { node, victims: victims.sort(byImportance), violations: victims.filter((p) => guarded.has(p)).length };
}

/** A higher priority, then an earlier start (scheduler/util, MoreImportantPod). */
function byImportance(a: Pod, b: Pod): number {
  return priorityOf(b) - priorityOf(a) || startOf(a) - startOf(b);
}

const startOf = ({ status }: Pod): number => Date.parse(status?.startTime ?? '') || Number.MAX_SAFE_INTEGER;

/** The pods whose removal their budgets do not allow, if all are removed in this order. */
function guardedBy(budgets: readonly PodDisruptionBudget[], pods: readonly Pod[]): Set<Pod> {
  const allowed = new Map(budgets.map((budget) => [budget, budget.status?.disruptionsAllowed ?? 0]));
  const guarded = new Set<Pod>();
  for (const pod of pods) {
    for (const budget of budgets) {
      if (!isAbout(budget, pod) || budget.status?.disruptedPods?.[pod.metadata.name] !== undefined) continue;
      const left = allowed.get(budget)! - 1;
      allowed.set(budget, left);
      if (left < 0) guarded.add(pod);
    }
  }
  return guarded;
}

/** Unlike for evictions, an empty selector is about no pod, and a pod without labels has no budget. */
function isAbout({ metadata, spec }: PodDisruptionBudget, pod: Pod): boolean {
  const { labels = {}, namespace } = pod.metadata;
  const { matchLabels = {}, matchExpressions = [] } = spec.selector ?? {};
  if (Object.keys(matchLabels).length + matchExpressions.length === 0 || Object.keys(labels).length === 0) return false;
  return metadata.namespace === namespace && matchesSelector(spec.selector!, labels);
}

/** The node where preemption does the least harm (preemption.go, pickOneNodeForPreemption). */
export function leastHarm(candidates: readonly Candidate[]): Candidate | undefined {
  const harm = ({ victims, violations }: Candidate): number[] => {
    const priorities = victims.map(priorityOf);
    const highest = priorities[0]!;
    const sum = priorities.reduce((total, priority) => total + priority + 2 ** 31, 0);
    // Of the most important ones, the node whose first pod started last.
    const earliest = Math.min(...victims.filter((p) => priorityOf(p) === highest).map(startOf));
    return [violations, highest, sum, victims.length, -earliest];
  };
  let best: { candidate: Candidate; harm: number[] } | undefined;
  for (const candidate of candidates) {
    const its = harm(candidate);
    if (best === undefined || isBefore(its, best.harm)) best = { candidate, harm: its };
  }
  return best?.candidate;
}

/** Compares the first numbers that differ. */
export function isBefore(one: readonly number[], other: readonly number[]): boolean {
  const at = one.findIndex((value, i) => value !== other[i]);
  return at >= 0 && one[at]! < other[at]!;
}
