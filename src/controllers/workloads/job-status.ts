/** The status of a Job, its conditions and the Events that announce them (pkg/controller/job/job_controller.go). */
import { isActive, isTerminating } from '../../api/pod-phase.ts';
import { isReady } from '../../api/ready.ts';
import { nowText } from '../../api/store/store.ts';
import type { Condition, Job, Pod } from '../../api/types/objects.ts';
import { type Cluster, conditionOf } from '../cluster.ts';
import type { JobCounts } from './job-outcome.ts';
import { withoutZeros } from './pod-control.ts';

export interface JobProgress {
  /** All that the Job has now. */
  pods: readonly Pod[];
  counts: JobCounts;
  startedAt: string | undefined;
  /** SuccessCriteriaMet or FailureTarget. */
  outcome: Condition | undefined;
}

export function writeJobStatus(cluster: Cluster, { metadata }: Job, progress: JobProgress): void {
  const { store, registry } = cluster;
  const now = store.get('Job', metadata.namespace, metadata.name);
  if (now === undefined) return;
  const { pods, counts, startedAt, outcome } = progress;
  const active = pods.filter(isActive);
  const terminating = pods.filter(isTerminating).length;
  const ended = active.length === 0 && terminating === 0;
  const final = outcome === undefined || !ended ? undefined : finalOf(outcome);
  const conditions = nextConditions(now, outcome, final);
  const { completed, failedIndexes, succeeded, failed } = counts;
  const status = {
    ...withoutZeros({ active: active.length, succeeded, failed }),
    ready: active.filter(isReady).length,
    terminating,
    ...(completed !== undefined && completed.size > 0 && { completedIndexes: completed.print() }),
    ...(failedIndexes !== undefined && { failedIndexes: failedIndexes.print() }),
    uncountedTerminatedPods: {},
    ...(startedAt !== undefined && { startTime: startedAt }),
    ...(final?.type === 'Complete' && { completionTime: nowText() }),
    ...(conditions.length > 0 && { conditions }),
  };
  const written = registry.write({ ...now, status }, now);
  if (final?.type === 'Complete') cluster.event(written, 'Normal', 'Completed', 'Job completed');
  if (final?.type === 'Failed') cluster.event(written, 'Warning', final.reason!, final.message!);
  for (const { type, status: value } of conditions.filter((condition) => isChange(condition, now))) {
    if (type !== 'Suspended') continue;
    if (value === 'True') cluster.event(written, 'Normal', 'Suspended', 'Job suspended');
    else cluster.event(written, 'Normal', 'Resumed', 'Job resumed');
  }
}

const finalOf = ({ type, reason, message }: Condition): Condition => ({
  type: type === 'FailureTarget' ? 'Failed' : 'Complete',
  status: 'True',
  ...(reason !== undefined && { reason }),
  ...(message !== undefined && { message }),
});

const isChange = ({ type, status }: Condition, now: Job): boolean =>
  conditionOf(now.status?.conditions, type)?.status !== status;

function nextConditions(now: Job, outcome: Condition | undefined, final: Condition | undefined): Condition[] {
  const before = now.status?.conditions ?? [];
  const suspended = conditionOf(before, 'Suspended')?.status === 'True';
  const add: Condition[] = [];
  if (outcome === undefined && now.spec.suspend && !suspended) {
    add.push({ type: 'Suspended', status: 'True', reason: 'JobSuspended', message: 'Job suspended' });
  } else if (outcome === undefined && !now.spec.suspend && suspended) {
    add.push({ type: 'Suspended', status: 'False', reason: 'JobResumed', message: 'Job resumed' });
  }
  if (outcome !== undefined && isChange(outcome, now)) add.push(outcome);
  if (final !== undefined) add.push(final);
  const time = nowText();
  const timed = add.map((condition) => ({ ...condition, lastProbeTime: time, lastTransitionTime: time }));
  return [...before.filter(({ type }) => !timed.some((each) => each.type === type)), ...timed];
}
