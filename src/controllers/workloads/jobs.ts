/**
 * Runs pods until enough have succeeded or too many have failed (pkg/controller/job). A pod that has ended is counted
 * once, in the status, and in the same transaction marked as counted by the annotation below, so that later changes to
 * it change no count. A pod that is deleted before it has succeeded counts as failed. A pod that this controller
 * deletes, because the Job was suspended, scaled down or has ended, is marked first and not counted.
 */
import { ApiError } from '../../api/errors.ts';
import { isActive, isEnded } from '../../api/pod-phase.ts';
import { isReady } from '../../api/ready.ts';
import { resourceOfKind } from '../../api/resources.ts';
import type { Admission } from '../../api/store/registry.ts';
import { nowText } from '../../api/store/store.ts';
import type { Condition, Job, Pod } from '../../api/types/objects.ts';
import { type Cluster, conditionOf } from '../cluster.ts';
import { keyOf, splitKey, type WorkQueue } from '../work-queue.ts';
import { judgeFailure } from './job-failure-policy.ts';
import { Indexes, indexOfPod, podExtras } from './job-indexes.ts';
import { controllerOf, Owned } from './owners.ts';
import { createPod, deletePod, leastMissedFirst, withoutZeros } from './pod-control.ts';

const JOBS = resourceOfKind('Job')!;
const COUNTED = 'dataplane.dev/job-counted';
const BATCH_UID = 'batch.kubernetes.io/controller-uid';
const BATCH_NAME = 'batch.kubernetes.io/job-name';
const DEFAULT_BACKOFF_LIMIT = 6;
/**
 * Delay between a failure and the next pod; doubles with each failure (DefaultJobPodFailureBackOff,
 * MaxJobPodFailureBackOff).
 */
const BACKOFF_MS = 10_000;
const MAX_BACKOFF_MS = 600_000;

/** Without effect, and nothing else would show it: their values are those of a Job that fails or succeeds as a whole. */
const WITHOUT_EFFECT = [
  'backoffLimitPerIndex',
  'maxFailedIndexes',
  'successPolicy',
  'podReplacementPolicy',
  'managedBy',
];

/** A Job selects its pods by its own uid, unless manualSelector is set (registry/batch/job/strategy.go). */
export const jobAdmission: Admission<Job> = {
  prepare(job, old) {
    if (old !== undefined || job.spec.manualSelector === true) return job;
    const uid = crypto.randomUUID();
    const own = { [BATCH_UID]: uid, 'controller-uid': uid };
    const names = { [BATCH_NAME]: job.metadata.name, 'job-name': job.metadata.name };
    const template = job.spec.template;
    const labels = { ...template.metadata?.labels, ...own, ...names };
    // A Job without labels has those of its template (SetDefaults_Job).
    const unlabelled = Object.keys(job.metadata.labels ?? {}).length === 0;
    return {
      ...job,
      metadata: { ...job.metadata, uid, ...(unlabelled && { labels }) },
      spec: {
        ...job.spec,
        selector: { matchLabels: { [BATCH_UID]: uid } },
        template: { ...template, metadata: { ...template.metadata, labels } },
      },
    };
  },
  warn: ({ spec }) =>
    WITHOUT_EFFECT.filter((name) => name in spec).map((name) => ({
      path: `spec.${name}`,
      message: 'this field is not supported here and has no effect',
    })),
};

export function startJobController(cluster: Cluster): void {
  const { store } = cluster;
  const owned = new Owned(store, 'Pod', 'Job');
  /** Job's key → pods that were removed before they were counted. */
  const lost = new Map<string, Pod[]>();
  const queue: WorkQueue = cluster.queue('jobs', (key) => {
    const job = store.get('Job', ...splitKey(key));
    const gone = lost.get(key) ?? [];
    lost.delete(key);
    if (job === undefined || job.metadata.deletionTimestamp !== undefined) return;
    const own = gone.filter((pod) => controllerOf(pod, 'Job')?.uid === job.metadata.uid);
    const pods = owned.claim(cluster, job, job.spec.selector ?? {});
    const nextMs = new JobRun(cluster, job, pods, own).reconcile();
    if (nextMs !== undefined) queue.addAfter(key, nextMs);
  });
  store.onCommit('Pod', ({ type, object }) => {
    const owner = type === 'DELETED' ? controllerOf(object, 'Job') : undefined;
    if (owner === undefined || isCounted(object)) return;
    const key = keyOf({ metadata: { ...object.metadata, name: owner.name } });
    lost.set(key, [...(lost.get(key) ?? []), object]);
  });
  owned.queueOwners(queue, ({ spec }) => spec.selector);
}

const isCounted = ({ metadata }: Pod): boolean => metadata.annotations?.[COUNTED] === 'true';

export const isFinished = ({ status }: Job): boolean =>
  (status?.conditions ?? []).some(({ type, status: s }) => (type === 'Complete' || type === 'Failed') && s === 'True');

class JobRun {
  private readonly cluster: Cluster;
  private readonly job: Job;
  private readonly pods: readonly Pod[];
  private readonly lost: readonly Pod[];
  /** The pod that ends the Job, by its podFailurePolicy. */
  private fatal: string | undefined;
  private succeeded: number;
  private failed: number;
  private readonly indexes: Indexes | undefined;
  private nextMs: number | undefined;

  constructor(cluster: Cluster, job: Job, pods: readonly Pod[], lost: readonly Pod[]) {
    this.cluster = cluster;
    this.job = job;
    this.pods = pods;
    this.lost = lost;
    this.succeeded = job.status?.succeeded ?? 0;
    this.failed = job.status?.failed ?? 0;
    const { completionMode, completions = 1 } = job.spec;
    this.indexes =
      completionMode === 'Indexed' ? new Indexes(completions, job.status?.completedIndexes ?? '') : undefined;
  }

  reconcile(): number | undefined {
    const { job } = this;
    if (isFinished(job)) return this.expire();
    const ended = this.count();
    const active = this.pods.filter(isActive);
    const startedAt = job.spec.suspend ? undefined : (job.status?.startTime ?? nowText());
    const verdict = this.verdict(startedAt);
    let failure: ApiError | undefined;
    if (verdict !== undefined || job.spec.suspend) {
      for (const pod of active) this.giveUp(pod);
    } else {
      try {
        this.keepParallelism(active);
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        failure = error;
      }
    }
    this.writeStatus(startedAt, verdict);
    this.mark(ended);
    if (failure !== undefined) throw failure;
    return this.nextMs;
  }

  /** Counts pods that have ended and were not counted before. @returns the pods to mark as counted */
  private count(): Pod[] {
    const ended = this.pods.filter((pod) => isEnded(pod) && !isCounted(pod));
    for (const pod of ended) this.countOne(pod, pod.status?.phase === 'Succeeded');
    for (const pod of this.lost) this.countOne(pod, pod.status?.phase === 'Succeeded');
    return ended;
  }

  private countOne(pod: Pod, success: boolean): void {
    const index = indexOfPod(pod);
    if (!success) this.countFailure(pod);
    else if (this.indexes === undefined) this.succeeded++;
    else if (index !== undefined && this.indexes.complete(index)) this.succeeded = this.indexes.completed;
  }

  private countFailure(pod: Pod): void {
    const judged = judgeFailure(pod, this.job.spec.podFailurePolicy?.rules ?? []);
    if (judged?.action === 'Ignore') return;
    if (judged?.action === 'FailJob') this.fatal ??= judged.message;
    this.failed++;
  }

  private giveUp(pod: Pod): void {
    this.mark([pod]);
    deletePod(this.cluster, this.job, pod);
  }

  private mark(pods: readonly Pod[]): void {
    for (const { metadata } of pods) {
      const now = this.cluster.store.get('Pod', metadata.namespace, metadata.name);
      if (now?.metadata.uid !== metadata.uid) continue;
      const annotations = { ...now.metadata.annotations, [COUNTED]: 'true' };
      this.cluster.registry.write({ ...now, metadata: { ...now.metadata, annotations } }, now);
    }
  }

  /** The condition Complete or Failed, if the Job has finished. */
  private verdict(startedAt: string | undefined): Condition | undefined {
    const { spec } = this.job;
    const { activeDeadlineSeconds: deadline, backoffLimit = DEFAULT_BACKOFF_LIMIT } = spec;
    if (this.fatal !== undefined) return failedBy('PodFailurePolicy', this.fatal);
    if (this.failed > backoffLimit) {
      return failedBy('BackoffLimitExceeded', 'Job has reached the specified backoff limit');
    }
    if (deadline !== undefined && startedAt !== undefined) {
      const left = Date.parse(startedAt) + deadline * 1000 - Date.now();
      if (left <= 0) return failedBy('DeadlineExceeded', 'Job was active longer than specified deadline');
      this.lookIn(left + 10);
    }
    const active = this.pods.some(isActive);
    const { completions } = spec;
    // Without completions (a work queue), the Job is complete after one success, once no pod is running.
    const done = completions === undefined ? this.succeeded > 0 && !active : this.succeeded >= completions;
    return done
      ? {
          type: 'Complete',
          status: 'True',
          reason: 'CompletionsReached',
          message: 'Reached expected number of succeeded pods',
        }
      : undefined;
  }

  private keepParallelism(active: readonly Pod[]): void {
    const { job, cluster } = this;
    const { parallelism = 1, completions } = job.spec;
    const left = completions === undefined ? (this.succeeded > 0 ? 0 : parallelism) : completions - this.succeeded;
    // Terminating pods still occupy their index.
    const ending = this.pods.filter((pod) => !isEnded(pod) && !isActive(pod));
    const wanted = Math.max(0, Math.min(parallelism, left));
    const surplus = active.length - wanted;
    if (surplus > 0 && completions === undefined && this.succeeded > 0) return; // the others may finish
    if (surplus > 0) for (const pod of leastMissedFirst(active).slice(0, surplus)) this.giveUp(pod);
    const missing = wanted - active.length - (this.indexes ? ending.length : 0);
    if (missing <= 0) return;
    const waitMs = this.backOff();
    if (waitMs > 0) {
      this.lookIn(waitMs);
      return;
    }
    const busy = new Set([...active, ...ending].map(indexOfPod));
    for (let i = 0; i < missing; i++) {
      const index = this.indexes?.next(busy);
      if (this.indexes !== undefined && index === undefined) return;
      busy.add(index);
      createPod(cluster, job, job.spec.template, podExtras(job, index));
    }
  }

  /** Milliseconds until the next pod may be created after the last failure. */
  private backOff(): number {
    if (this.failed === 0) return 0;
    const ends = this.pods.filter((pod) => pod.status?.phase === 'Failed').map(endOf);
    if (ends.length === 0) return 0;
    const wait = Math.min(BACKOFF_MS * 2 ** (Math.min(this.failed, 7) - 1), MAX_BACKOFF_MS);
    return Math.max(0, Math.max(...ends) + wait - Date.now());
  }

  private writeStatus(startedAt: string | undefined, verdict: Condition | undefined): void {
    const { store, registry } = this.cluster;
    const { namespace, name } = this.job.metadata;
    const now = store.get('Job', namespace, name);
    if (now === undefined) return;
    const pods = store.list('Pod', namespace).filter((pod) => controllerOf(pod, 'Job')?.uid === now.metadata.uid);
    const active = pods.filter(isActive);
    const conditions = this.conditions(now, verdict);
    const status = {
      ...withoutZeros({
        active: active.length,
        ready: active.filter(isReady).length,
        terminating: pods.filter((pod) => !isEnded(pod) && !isActive(pod)).length,
        succeeded: this.succeeded,
        failed: this.failed,
      }),
      ...(this.indexes && this.indexes.completed > 0 && { completedIndexes: this.indexes.print() }),
      ...(startedAt !== undefined && { startTime: startedAt }),
      ...(verdict?.type === 'Complete' && { completionTime: nowText() }),
      ...(conditions.length > 0 && { conditions }),
    };
    const written = registry.write({ ...now, status }, now);
    if (verdict?.type === 'Complete') this.cluster.event(written, 'Normal', 'Completed', 'Job completed');
    if (verdict?.type === 'Failed') this.cluster.event(written, 'Warning', verdict.reason!, verdict.message!);
    if (now.spec.suspend !== (conditionOf(now.status?.conditions, 'Suspended')?.status === 'True')) {
      if (now.spec.suspend) this.cluster.event(written, 'Normal', 'Suspended', 'Job suspended');
    }
    if (verdict !== undefined && now.spec.ttlSecondsAfterFinished !== undefined) {
      this.lookIn(now.spec.ttlSecondsAfterFinished * 1000 + 10);
    }
  }

  private conditions(now: Job, verdict: Condition | undefined): Condition[] {
    const before = now.status?.conditions ?? [];
    const add: Condition[] = [];
    const suspended = conditionOf(before, 'Suspended')?.status === 'True';
    if (now.spec.suspend && !suspended) {
      add.push({ type: 'Suspended', status: 'True', reason: 'JobSuspended', message: 'Job suspended' });
    } else if (!now.spec.suspend && suspended) {
      add.push({ type: 'Suspended', status: 'False', reason: 'JobResumed', message: 'Job resumed' });
    }
    if (verdict !== undefined) {
      // Each final condition is preceded by another one (KEP-3998).
      const ahead = verdict.type === 'Complete' ? 'SuccessCriteriaMet' : 'FailureTarget';
      add.push({ ...verdict, type: ahead }, verdict);
    }
    const time = nowText();
    const timed = add.map((condition) => ({ ...condition, lastProbeTime: time, lastTransitionTime: time }));
    return [...before.filter(({ type }) => !timed.some((each) => each.type === type)), ...timed];
  }

  /** Deletes a finished Job after ttlSecondsAfterFinished. @returns milliseconds until then, if any */
  private expire(): number | undefined {
    const { spec, status, metadata } = this.job;
    for (const pod of this.pods.filter(isActive)) this.giveUp(pod);
    const last = status?.conditions?.find(({ type }) => type === 'Complete' || type === 'Failed')?.lastTransitionTime;
    if (spec.ttlSecondsAfterFinished === undefined || last === undefined) return undefined;
    const left = Date.parse(last) + spec.ttlSecondsAfterFinished * 1000 - Date.now();
    if (left > 0) return left + 10;
    this.cluster.registry.delete(JOBS, metadata.namespace, metadata.name, { propagationPolicy: 'Foreground' });
    return undefined;
  }

  private lookIn(ms: number): void {
    this.nextMs = Math.min(this.nextMs ?? ms, ms);
  }
}

function failedBy(reason: string, message: string): Condition {
  return { type: 'Failed', status: 'True', reason, message };
}

function endOf({ status, metadata }: Pod): number {
  const ends = (status?.containerStatuses ?? []).map((c) => Date.parse(c.state?.terminated?.finishedAt ?? '') || 0);
  return Math.max(0, ...ends) || Date.parse(metadata.creationTimestamp);
}
