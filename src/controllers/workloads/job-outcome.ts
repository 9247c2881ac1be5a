/**
 * Whether a Job has failed or succeeded, before its remaining pods have ended (pkg/controller/job/job_controller.go and
 * success_policy.go). The result is a condition FailureTarget or SuccessCriteriaMet; the final one, Failed or Complete,
 * has the same reason and follows when no pod is left (KEP-3998). Pure.
 */
import { isActive } from '../../api/pod-phase.ts';
import type { Condition, Job, JobSpec, Pod } from '../../api/types/objects.ts';
import { conditionOf } from '../cluster.ts';
import { IndexSet } from './job-indexes.ts';

const DEFAULT_BACKOFF_LIMIT = 6;

export interface JobCounts {
  succeeded: number;
  failed: number;
  /** Of an Indexed Job. */
  completed: IndexSet | undefined;
  /** Of a Job with backoffLimitPerIndex. */
  failedIndexes: IndexSet | undefined;
  /** Why podFailurePolicy fails the Job. */
  fatal: string | undefined;
}

/** The condition if the Job is to end now, whatever its remaining pods would do. */
export function outcomeOf(
  job: Job,
  pods: readonly Pod[],
  counts: JobCounts,
  deadlineMs: number,
): Condition | undefined {
  const { spec, status } = job;
  const decided = ['SuccessCriteriaMet', 'FailureTarget'].map((type) => conditionOf(status?.conditions, type));
  const known = decided.find((condition) => condition?.status === 'True');
  if (known !== undefined) return known;
  if (counts.fatal !== undefined) return failedBy('PodFailurePolicy', counts.fatal);
  const { backoffLimit = DEFAULT_BACKOFF_LIMIT } = spec;
  if (counts.failed > backoffLimit || tooManyRestarts(spec, pods, backoffLimit)) {
    return failedBy('BackoffLimitExceeded', 'Job has reached the specified backoff limit');
  }
  if (deadlineMs <= 0) return failedBy('DeadlineExceeded', 'Job was active longer than specified deadline');
  return indexesFailed(spec, counts) ?? successPolicyMet(spec, counts);
}

/** The condition of a Job that has what it was created for. */
export function completionOf({ spec }: Job, active: number, succeeded: number): Condition | undefined {
  // Without completions (a work queue), the Job is complete after one success, once no pod is running.
  const done = spec.completions === undefined ? succeeded > 0 && active === 0 : succeeded >= spec.completions;
  return done ? succeededBy('CompletionsReached', 'Reached expected number of succeeded pods') : undefined;
}

/** The restarts of a pod with restartPolicy OnFailure count as its failures (pastBackoffLimitOnFailure). */
function tooManyRestarts({ template }: JobSpec, pods: readonly Pod[], backoffLimit: number): boolean {
  if (template.spec.restartPolicy !== 'OnFailure') return false;
  const containers = pods
    .filter(isActive)
    .flatMap(({ status }) => [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])]);
  const restarts = containers.reduce((sum, { restartCount }) => sum + restartCount, 0);
  return backoffLimit === 0 ? restarts > 0 : restarts >= backoffLimit;
}

function indexesFailed({ maxFailedIndexes, completions = 0 }: JobSpec, counts: JobCounts): Condition | undefined {
  const failed = counts.failedIndexes?.size ?? 0;
  if (failed === 0) return undefined;
  if (maxFailedIndexes !== undefined && failed > maxFailedIndexes) {
    return failedBy('MaxFailedIndexesExceeded', 'Job has exceeded the specified maximal number of failed indexes');
  }
  const ended = failed + (counts.completed?.size ?? 0);
  return ended >= completions ? failedBy('FailedIndexes', 'Job has failed indexes') : undefined;
}

function successPolicyMet(
  { successPolicy, completions = 0 }: JobSpec,
  { completed }: JobCounts,
): Condition | undefined {
  if (completed === undefined || completed.size === 0) return undefined;
  const met = (successPolicy?.rules ?? []).findIndex(({ succeededIndexes, succeededCount }) => {
    if (succeededIndexes === undefined) return completed.size >= succeededCount!;
    const wanted = new IndexSet(completions, succeededIndexes);
    return wanted.common(completed) >= (succeededCount ?? wanted.size);
  });
  return met < 0 ? undefined : succeededBy('SuccessPolicy', `Matched rules at index ${met}`);
}

const failedBy = (reason: string, message: string): Condition => ({
  type: 'FailureTarget',
  status: 'True',
  reason,
  message,
});
const succeededBy = (reason: string, message: string): Condition => ({
  type: 'SuccessCriteriaMet',
  status: 'True',
  reason,
  message,
});
