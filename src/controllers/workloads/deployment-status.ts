/**
 * The status of a Deployment: replica counts, and the conditions Available and Progressing, with the progress deadline
 * (pkg/controller/deployment/{progress,sync}.go).
 */
import { nowText } from '../../api/store/store.ts';
import type { Condition, Deployment, ReplicaSet } from '../../api/types/objects.ts';
import { type Cluster, conditionOf } from '../cluster.ts';
import { REVISION } from './deployment-history.ts';
import { presentOf, replicasOf, total } from './deployment-scale.ts';
import { share, withoutZeros } from './pod-control.ts';

/** The value of progressDeadlineSeconds that means "no deadline". */
const NO_DEADLINE = 2 ** 31 - 1;
const DEFAULT_DEADLINE_S = 600;

/**
 * @param freshName name of the set with the current template; undefined while there is none
 * @returns milliseconds until the rollout's deadline; undefined if none is running
 */
export function writeDeploymentStatus(
  { store, registry }: Cluster,
  deployment: Deployment,
  freshName: string | undefined,
  old: readonly ReplicaSet[],
): number | undefined {
  const { namespace, name, generation } = deployment.metadata;
  const now = store.get('Deployment', namespace, name);
  if (now === undefined) return undefined;
  const fresh = freshName === undefined ? undefined : store.get('ReplicaSet', namespace, freshName);
  const latest = old
    .map((set) => store.get('ReplicaSet', namespace, set.metadata.name))
    .filter((set) => set !== undefined);
  const all = [...(fresh ? [fresh] : []), ...latest];
  const available = total(all, (set) => set.status?.availableReplicas ?? 0);
  const numbers = {
    replicas: total(all, presentOf),
    updatedReplicas: fresh ? presentOf(fresh) : 0,
    readyReplicas: total(all, (set) => set.status?.readyReplicas ?? 0),
    availableReplicas: available,
    unavailableReplicas: Math.max(0, Math.max(total(all, presentOf), total(all, replicasOf)) - available),
  };
  const before = now.status?.conditions;
  const progress = progressCondition(now, fresh, numbers);
  const conditions = [availableCondition(now, available), ...(progress ? [progress] : [])];
  const failure = all.flatMap((set) => set.status?.conditions ?? []).find(({ type }) => type === 'ReplicaFailure');
  if (failure !== undefined) conditions.push(failure);
  const status = {
    ...withoutZeros(numbers),
    observedGeneration: generation,
    conditions: conditions.map((condition) => timed(condition, conditionOf(before, condition.type))),
  };
  const revision = fresh?.metadata.annotations?.[REVISION];
  const annotations = { ...now.metadata.annotations, ...(revision !== undefined && { [REVISION]: revision }) };
  registry.write({ ...now, metadata: { ...now.metadata, annotations }, status }, now);
  return deadlineIn(now, status.conditions);
}

interface Numbers {
  replicas: number;
  updatedReplicas: number;
  readyReplicas: number;
  availableReplicas: number;
}

function availableCondition({ spec }: Deployment, available: number): Condition {
  const wanted = spec.replicas ?? 1;
  const { type, rollingUpdate } = spec.strategy ?? {};
  const missing = type === 'Recreate' ? 0 : share(rollingUpdate?.maxUnavailable ?? '25%', wanted, Math.floor);
  const enough = available >= wanted - missing;
  return {
    type: 'Available',
    status: enough ? 'True' : 'False',
    reason: enough ? 'MinimumReplicasAvailable' : 'MinimumReplicasUnavailable',
    message: enough ? 'Deployment has minimum availability.' : 'Deployment does not have minimum availability.',
  };
}

function progressCondition(now: Deployment, fresh: ReplicaSet | undefined, numbers: Numbers): Condition | undefined {
  const { spec, status, metadata } = now;
  const old = conditionOf(status?.conditions, 'Progressing');
  const about = fresh ? `ReplicaSet "${fresh.metadata.name}"` : `Deployment "${metadata.name}"`;
  const condition = (value: Condition['status'], reason: string, message: string): Condition => {
    return { type: 'Progressing', status: value, reason, message };
  };
  if (spec.paused === true) return condition('Unknown', 'DeploymentPaused', 'Deployment is paused');
  if (old?.reason === 'DeploymentPaused') return condition('Unknown', 'DeploymentResumed', 'Deployment is resumed');
  if (deadlineOf(now) === undefined) return old;
  const wanted = spec.replicas ?? 1;
  const { replicas, updatedReplicas, availableReplicas } = numbers;
  if (updatedReplicas === wanted && replicas === wanted && availableReplicas === wanted) {
    return condition('True', 'NewReplicaSetAvailable', `${about} has successfully progressed.`);
  }
  if (old === undefined)
    return condition('True', 'NewReplicaSetCreated', `Created new replica set "${fresh?.metadata.name}"`);
  if (hasProgressed(status, numbers)) return condition('True', 'ReplicaSetUpdated', `${about} is progressing.`);
  if (old.reason === 'NewReplicaSetAvailable') {
    // Pods that are lost after a complete rollout are no new rollout; a new template is.
    const rolling = updatedReplicas < wanted || replicas > updatedReplicas;
    return rolling ? condition('True', 'ReplicaSetUpdated', `${about} is progressing.`) : old;
  }
  if (old.status !== 'False' && (deadlineIn(now, [old]) ?? 1) <= 0) {
    return condition('False', 'ProgressDeadlineExceeded', `${about} has timed out progressing.`);
  }
  return old;
}

function hasProgressed(old: Deployment['status'], now: Numbers): boolean {
  const before = (key: keyof Numbers) => old?.[key] ?? 0;
  return (
    now.updatedReplicas > before('updatedReplicas') ||
    now.replicas - now.updatedReplicas < before('replicas') - before('updatedReplicas') ||
    now.readyReplicas > before('readyReplicas') ||
    now.availableReplicas > before('availableReplicas')
  );
}

function deadlineOf({ spec }: Deployment): number | undefined {
  const seconds = spec.progressDeadlineSeconds ?? DEFAULT_DEADLINE_S;
  return seconds === NO_DEADLINE ? undefined : seconds;
}

/** Milliseconds until the progress deadline; undefined if no progress is expected. */
function deadlineIn(deployment: Deployment, conditions: readonly Condition[]): number | undefined {
  const seconds = deadlineOf(deployment);
  const progress = conditionOf(conditions, 'Progressing');
  const over = progress === undefined || progress.status === 'False' || progress.reason === 'NewReplicaSetAvailable';
  if (seconds === undefined || over || progress.reason === 'DeploymentPaused') return undefined;
  const since = Date.parse(progress.lastUpdateTime ?? '') || Date.now();
  return since + seconds * 1000 - Date.now();
}

/** An unchanged condition keeps its times; one that shows progress gets a new lastUpdateTime. */
function timed(condition: Condition, old: Condition | undefined): Condition {
  if (condition === old) return old;
  const same = old !== undefined && old.status === condition.status && old.reason === condition.reason;
  const again = same && condition.reason !== 'ReplicaSetUpdated' && old.message === condition.message;
  if (again) return old;
  const now = nowText();
  const transition = old?.status === condition.status ? old.lastTransitionTime : undefined;
  return { ...condition, lastUpdateTime: now, lastTransitionTime: transition ?? now };
}
