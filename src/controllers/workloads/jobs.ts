/**
 * Runs pods until enough have succeeded or too many have failed (pkg/controller/job). A pod that has ended is counted
 * once, in the status, and in the same transaction marked as counted by the annotation below, so that later changes to
 * it change no count. A pod that is deleted before it has succeeded counts as failed. A pod that this controller
 * deletes, because the Job was suspended, scaled down or has succeeded, is marked first and not counted.
 */
import { ApiError } from '../../api/errors.ts';
import { isActive, isEnded, isTerminating } from '../../api/pod-phase.ts';
import { resourceOfKind } from '../../api/resources.ts';
import type { Admission } from '../../api/store/registry.ts';
import { nowText } from '../../api/store/store.ts';
import type { Condition, Job, Pod } from '../../api/types/objects.ts';
import type { Cluster } from '../cluster.ts';
import { keyOf, splitKey, type WorkQueue } from '../work-queue.ts';
import { judgeFailure } from './job-failure-policy.ts';
import { endsIndex, failuresAfter, IndexSet, indexOfPod, lastFailures, podExtras } from './job-indexes.ts';
import { completionOf, type JobCounts, outcomeOf } from './job-outcome.ts';
import { writeJobStatus } from './job-status.ts';
import { controllerOf, Owned } from './owners.ts';
import { createPod, deletePod, leastMissedFirst } from './pod-control.ts';

const JOBS = resourceOfKind('Job')!;
const COUNTED = 'dataplane.dev/job-counted';
/** The annotation's value for a pod that its Job deletes: neither a success nor a failure. */
const GIVEN_UP = 'given-up';
const BATCH_UID = 'batch.kubernetes.io/controller-uid';
const BATCH_NAME = 'batch.kubernetes.io/job-name';
/**
 * Delay between a failure and the next pod; doubles with each failure (DefaultJobPodFailureBackOff,
 * MaxJobPodFailureBackOff).
 */
const BACKOFF_MS = 10_000;
const MAX_BACKOFF_MS = 600_000;

/** Jobs with another managedBy belong to a controller of somebody else. */
const OURS = 'kubernetes.io/job-controller';

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
};

export function startJobController(cluster: Cluster): void {
  const { store } = cluster;
  const owned = new Owned(store, 'Pod', 'Job');
  /** Job's key → pods that were removed before they were counted. */
  const lost = new Map<string, Pod[]>();
  /** Job's key → removed pods that failed and whose index has no next pod yet, which needs their counts. */
  const unreplaced = new Map<string, Pod[]>();
  const queue: WorkQueue = cluster.queue('jobs', (key) => {
    const job = store.get('Job', ...splitKey(key));
    const gone = lost.get(key) ?? [];
    lost.delete(key);
    const before = unreplaced.get(key) ?? [];
    unreplaced.delete(key);
    if (job === undefined || job.metadata.deletionTimestamp !== undefined) return;
    if ((job.spec.managedBy ?? OURS) !== OURS) return;
    const own = gone.filter((pod) => controllerOf(pod, 'Job')?.uid === job.metadata.uid);
    const pods = owned.claim(cluster, job, job.spec.selector ?? {});
    const run = new JobRun(cluster, job, { pods, now: () => owned.of(job), lost: own, removed: before });
    const nextMs = run.reconcile();
    const left = run.unreplaced();
    if (left.length > 0) unreplaced.set(key, left);
    if (nextMs !== undefined) queue.addAfter(key, nextMs);
  });
  store.onCommit('Pod', ({ type, object }) => {
    const owner = type === 'DELETED' ? controllerOf(object, 'Job') : undefined;
    if (owner === undefined) return;
    const key = keyOf({ metadata: { ...object.metadata, name: owner.name } });
    const to = isCounted(object) ? unreplaced : lost;
    if (to === lost || isFailure(object)) to.set(key, [...(to.get(key) ?? []), object]);
  });
  owned.queueOwners(queue, ({ spec }) => spec.selector);
}

const isCounted = ({ metadata }: Pod): boolean => metadata.annotations?.[COUNTED] !== undefined;

/** It ended or is about to, without success and not because its Job gave it up. */
const isFailure = (pod: Pod): boolean =>
  pod.status?.phase !== 'Succeeded' && pod.metadata.annotations?.[COUNTED] !== GIVEN_UP;

/** The condition of a Job that has ended. */
const finalConditionOf = ({ status }: Job): Condition | undefined =>
  status?.conditions?.find(({ type, status: s }) => (type === 'Complete' || type === 'Failed') && s === 'True');

export const isFinished = (job: Job): boolean => finalConditionOf(job) !== undefined;

interface JobPods {
  /** When the run began. */
  pods: readonly Pod[];
  /** As they are by now. */
  now: () => readonly Pod[];
  /** Deleted from the store before they were counted. */
  lost: readonly Pod[];
  /** Deleted from the store, failed and counted. */
  removed: readonly Pod[];
}

class JobRun {
  private readonly cluster: Cluster;
  private readonly job: Job;
  private readonly pods: readonly Pod[];
  private readonly podsNow: () => readonly Pod[];
  private readonly lost: readonly Pod[];
  private readonly removed: readonly Pod[];
  private readonly counts: JobCounts;
  /** A pod is replaced, and counts as failed, when it has ended; else as soon as its deletion begins. */
  private readonly onlyEnded: boolean;
  private nextMs: number | undefined;

  constructor(cluster: Cluster, job: Job, { pods, now, lost, removed }: JobPods) {
    const { spec, status } = job;
    this.cluster = cluster;
    this.job = job;
    this.pods = pods;
    this.podsNow = now;
    this.lost = lost;
    this.removed = removed;
    this.onlyEnded = spec.podReplacementPolicy === 'Failed' || spec.podFailurePolicy !== undefined;
    const indexed = spec.completionMode === 'Indexed';
    const limit = spec.completions ?? 1;
    const perIndex = indexed && spec.backoffLimitPerIndex !== undefined;
    this.counts = {
      succeeded: status?.succeeded ?? 0,
      failed: status?.failed ?? 0,
      completed: indexed ? new IndexSet(limit, status?.completedIndexes) : undefined,
      failedIndexes: perIndex ? new IndexSet(limit, status?.failedIndexes) : undefined,
      fatal: undefined,
    };
  }

  reconcile(): number | undefined {
    const { job } = this;
    if (isFinished(job)) return this.expire();
    const counted = this.count();
    const active = this.pods.filter(isActive);
    const startedAt = job.spec.suspend ? undefined : (job.status?.startTime ?? nowText());
    let outcome = outcomeOf(job, this.pods, this.counts, this.deadlineMs(startedAt));
    let failure: ApiError | undefined;
    if (outcome !== undefined) {
      for (const pod of active) this.end(pod, outcome.type === 'FailureTarget');
    } else if (job.spec.suspend) {
      for (const pod of active) this.end(pod, false);
    } else {
      try {
        this.keepParallelism(active);
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        failure = error;
      }
      outcome = completionOf(job, active.length, this.counts.succeeded);
    }
    writeJobStatus(this.cluster, job, { pods: this.podsNow(), counts: this.counts, startedAt, outcome });
    this.mark(counted, 'true');
    if (failure !== undefined) throw failure;
    return this.nextMs;
  }

  /** Removed pods whose counts the next pod of their index still needs. */
  unreplaced(): Pod[] {
    const { completed, failedIndexes } = this.counts;
    if (completed === undefined || failedIndexes === undefined || isFinished(this.job)) return [];
    const running = new Set(this.podsNow().filter(isActive).map(indexOfPod));
    return [...this.removed, ...this.lost].filter(isFailure).filter((pod) => {
      const index = indexOfPod(pod) ?? -1;
      return !running.has(index) && !completed.has(index) && !failedIndexes.has(index);
    });
  }

  /** Milliseconds until activeDeadlineSeconds have passed. */
  private deadlineMs(startedAt: string | undefined): number {
    const { activeDeadlineSeconds: deadline } = this.job.spec;
    if (deadline === undefined || startedAt === undefined) return Number.POSITIVE_INFINITY;
    const left = Date.parse(startedAt) + deadline * 1000 - Date.now();
    if (left > 0) this.lookInFor(left + 10);
    return left;
  }

  /** Counts pods that have ended, or count as failed, and were not counted before. @returns the pods to mark as counted */
  private count(): Pod[] {
    const counts = (pod: Pod) => isEnded(pod) || (!this.onlyEnded && isTerminating(pod));
    const ended = this.pods.filter((pod) => counts(pod) && !isCounted(pod));
    for (const pod of [...ended, ...this.lost]) this.countOne(pod);
    return ended;
  }

  private countOne(pod: Pod): void {
    const { counts } = this;
    const index = indexOfPod(pod);
    if (pod.status?.phase !== 'Succeeded') {
      this.countFailure(pod);
      if (index !== undefined && endsIndex(pod, this.job.spec)) counts.failedIndexes?.add(index);
    } else if (counts.completed === undefined) counts.succeeded++;
    else if (index !== undefined && counts.completed.add(index)) counts.succeeded = counts.completed.size;
  }

  private countFailure(pod: Pod): void {
    const judged = judgeFailure(pod, this.job.spec);
    if (judged?.action === 'Ignore') return;
    if (judged?.action === 'FailJob') this.counts.fatal ??= judged.message;
    this.counts.failed++;
  }

  /** Deletes a pod that still runs. @param failed it counts as failed, because its Job has; else it is not counted */
  private end(pod: Pod, failed: boolean): void {
    if (failed) this.countFailure(pod);
    this.mark([pod], failed ? 'true' : GIVEN_UP);
    deletePod(this.cluster, this.job, pod);
  }

  private mark(pods: readonly Pod[], as: 'true' | typeof GIVEN_UP): void {
    for (const { metadata } of pods) {
      const now = this.cluster.store.get('Pod', metadata.namespace, metadata.name);
      if (now?.metadata.uid !== metadata.uid) continue;
      const annotations = { ...now.metadata.annotations, [COUNTED]: as };
      this.cluster.registry.write({ ...now, metadata: { ...now.metadata, annotations } }, now);
    }
  }

  private keepParallelism(active: readonly Pod[]): void {
    const { succeeded } = this.counts;
    const { parallelism = 1, completions } = this.job.spec;
    if (completions === undefined && succeeded > 0) return; // the others may finish
    const left = completions === undefined ? parallelism : completions - succeeded;
    const wanted = Math.max(0, Math.min(parallelism, left));
    const surplus = active.length - wanted;
    if (surplus > 0) for (const pod of leastMissedFirst(active).slice(0, surplus)) this.end(pod, false);
    const ending = this.onlyEnded ? this.pods.filter(isTerminating) : [];
    const missing = wanted - active.length - ending.length;
    if (missing <= 0) return;
    if (this.counts.completed !== undefined) {
      this.createIndexed(missing, new Set([...active, ...ending].map(indexOfPod)));
      return;
    }
    const waitMs = this.backOff();
    if (waitMs > 0) this.lookInFor(waitMs);
    else for (let i = 0; i < missing; i++) createPod(this.cluster, this.job, this.job.spec.template);
  }

  /** Creates pods for the lowest indexes that need one; each index that has failed waits on its own if it has a limit. */
  private createIndexed(missing: number, busy: ReadonlySet<number | undefined>): void {
    const { job, cluster } = this;
    const { completed, failedIndexes } = this.counts;
    const { completions = 1, template } = job.spec;
    const waitMs = failedIndexes === undefined ? this.backOff() : 0;
    if (waitMs > 0) {
      this.lookInFor(waitMs);
      return;
    }
    const gone = this.pods.filter((pod) => !isActive(pod));
    const last = lastFailures([...gone, ...this.lost, ...this.removed].filter(isFailure));
    for (let index = 0, tried = 0; index < completions && tried < missing; index++) {
      if (busy.has(index) || completed!.has(index) || failedIndexes?.has(index)) continue;
      tried++;
      const before = failedIndexes && last.get(index);
      const ownWaitMs = before === undefined ? 0 : waitAfter(failuresAfter(before), endOf(before));
      if (ownWaitMs > 0) this.lookInFor(ownWaitMs);
      else createPod(cluster, job, template, podExtras(job, index, before));
    }
  }

  /** Milliseconds until the next pod may be created after the last failure. */
  private backOff(): number {
    const { failed } = this.counts;
    const ends = this.pods.filter((pod) => pod.status?.phase === 'Failed').map(endOf);
    return failed === 0 || ends.length === 0 ? 0 : waitAfter(failed, Math.max(...ends));
  }

  /** Deletes a finished Job after ttlSecondsAfterFinished. @returns milliseconds until then, if any */
  private expire(): number | undefined {
    const { spec, metadata } = this.job;
    for (const pod of this.pods.filter(isActive)) this.end(pod, false);
    const last = finalConditionOf(this.job)?.lastTransitionTime;
    if (spec.ttlSecondsAfterFinished === undefined || last === undefined) return undefined;
    const left = Date.parse(last) + spec.ttlSecondsAfterFinished * 1000 - Date.now();
    if (left > 0) return left + 10;
    this.cluster.registry.delete(JOBS, metadata.namespace, metadata.name, { propagationPolicy: 'Foreground' });
    return undefined;
  }

  private lookInFor(ms: number): void {
    this.nextMs = Math.min(this.nextMs ?? ms, ms);
  }
}

/** Milliseconds until a pod may be created after `failures`, the last of them at `endedAtMs`. */
function waitAfter(failures: number, endedAtMs: number): number {
  const wait = Math.min(BACKOFF_MS * 2 ** (Math.min(failures, 7) - 1), MAX_BACKOFF_MS);
  return Math.max(0, endedAtMs + wait - Date.now());
}

function endOf({ status, metadata }: Pod): number {
  const ends = (status?.containerStatuses ?? []).map((c) => Date.parse(c.state?.terminated?.finishedAt ?? '') || 0);
  return Math.max(0, ...ends) || Date.parse(metadata.creationTimestamp);
}
