/** Creates Jobs by the schedules of CronJobs (pkg/controller/cronjob). Schedules are parsed by croner. */
import { Cron } from 'croner';
import { ApiError } from '../../api/errors.ts';
import { resourceOfKind } from '../../api/resources.ts';
import { nowText } from '../../api/store/store.ts';
import type { CronJob, Job } from '../../api/types/objects.ts';
import { type Cluster, conditionOf } from '../cluster.ts';
import { splitKey } from '../work-queue.ts';
import { isFinished } from './jobs.ts';
import { Owned, ownedBy } from './owners.ts';

const JOBS = resourceOfKind('Job')!;
const SCHEDULED_AT = 'batch.kubernetes.io/cronjob-scheduled-timestamp';
/** More missed runs than this suggest a wrong clock; only the latest one is started then. */
const MAX_MISSED = 100;

export function startCronJobController(cluster: Cluster): void {
  const { store } = cluster;
  const owned = new Owned(store, 'Job', 'CronJob');
  const queue = cluster.queue('cron-jobs', (key) => {
    const cron = store.get('CronJob', ...splitKey(key));
    if (cron === undefined || cron.metadata.deletionTimestamp !== undefined) return;
    const nextMs = new Schedule(cluster, cron, owned.of(cron)).reconcile(Date.now());
    if (nextMs !== undefined) queue.addAfter(key, nextMs);
  });
  owned.queueOwners(queue);
}

class Schedule {
  private readonly cluster: Cluster;
  private readonly cron: CronJob;
  private readonly jobs: readonly Job[];

  constructor(cluster: Cluster, cron: CronJob, jobs: readonly Job[]) {
    this.cluster = cluster;
    this.cron = cron;
    this.jobs = jobs;
  }

  /** @returns when the next run is due */
  reconcile(nowMs: number): number | undefined {
    const { cron, cluster } = this;
    this.forget();
    let times: Cron;
    try {
      times = new Cron(cron.spec.schedule, {
        paused: true,
        legacyMode: true,
        timezone: cron.spec.timeZone ?? 'Etc/UTC',
      });
    } catch (error) {
      cluster.event(
        cron,
        'Warning',
        'UnparseableSchedule',
        `unparseable schedule: ${cron.spec.schedule}: ${(error as Error).message}`,
      );
      this.writeStatus(undefined);
      return undefined;
    }
    if (cron.spec.suspend) {
      this.writeStatus(undefined);
      return undefined;
    }
    const due = this.lastDue(times, nowMs);
    const ran = due !== undefined && this.run(due, nowMs);
    this.writeStatus(ran ? due : undefined);
    const next = times.nextRun(new Date(nowMs));
    return next === null ? undefined : next.getTime() - nowMs + 5;
  }

  /** The latest scheduled time since the last run that may still be started. */
  private lastDue(times: Cron, nowMs: number): Date | undefined {
    const { spec, status, metadata } = this.cron;
    let from = Date.parse(status?.lastScheduleTime ?? metadata.creationTimestamp);
    const deadline = spec.startingDeadlineSeconds;
    if (deadline !== undefined) from = Math.max(from, nowMs - deadline * 1000);
    let due: Date | undefined;
    for (let i = 0; ; i++) {
      const next = times.nextRun(due ?? new Date(from));
      if (next === null || next.getTime() > nowMs) return due;
      due = next;
      if (i >= MAX_MISSED) {
        const message =
          'too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew';
        this.cluster.event(this.cron, 'Warning', 'TooManyMissedTimes', message);
        // Search for the latest one backwards from now.
        return times.previousRuns(1, new Date(nowMs))[0] ?? due;
      }
    }
  }

  /** @returns false if the run is not started */
  private run(due: Date, nowMs: number): boolean {
    const { cron, cluster } = this;
    const running = this.jobs.filter((job) => !isFinished(job));
    if (running.length > 0 && cron.spec.concurrencyPolicy === 'Forbid') {
      const message = 'Not starting job because prior execution is running and concurrency policy is Forbid';
      cluster.event(cron, 'Normal', 'JobAlreadyActive', message);
      return false;
    }
    if (cron.spec.concurrencyPolicy === 'Replace') for (const job of running) this.remove(job);
    const { namespace, name } = cron.metadata;
    const { metadata, spec } = cron.spec.jobTemplate;
    // Named by the scheduled time, so that each time creates one Job, however often it is processed.
    const jobName = `${name}-${Math.floor(due.getTime() / 60_000)}`;
    if (cluster.store.get('Job', namespace, jobName) !== undefined) return true;
    try {
      cluster.registry.create(
        JOBS,
        namespace,
        {
          apiVersion: 'batch/v1',
          kind: 'Job',
          metadata: {
            name: jobName,
            namespace,
            ...(metadata?.labels && { labels: metadata.labels }),
            annotations: { ...metadata?.annotations, [SCHEDULED_AT]: nowText(due.getTime()) },
            ownerReferences: [ownedBy(cron)],
          },
          spec,
        },
        { fieldValidation: 'Ignore' },
      );
    } catch (error) {
      if (error instanceof ApiError)
        cluster.event(cron, 'Warning', 'FailedCreate', `Error creating job: ${error.message}`);
      throw error;
    }
    const late = nowMs - due.getTime() > 60_000 ? ' (late)' : '';
    cluster.event(cron, 'Normal', 'SuccessfulCreate', `Created job ${jobName}${late}`);
    return true;
  }

  /** Deletes finished jobs beyond the history limits, the oldest first. */
  private forget(): void {
    const { successfulJobsHistoryLimit = 3, failedJobsHistoryLimit = 1 } = this.cron.spec;
    const of = (type: string) =>
      this.jobs
        .filter(({ status }) => conditionOf(status?.conditions, type)?.status === 'True')
        .sort((a, b) => Date.parse(b.metadata.creationTimestamp) - Date.parse(a.metadata.creationTimestamp));
    for (const job of of('Complete').slice(successfulJobsHistoryLimit)) this.remove(job);
    for (const job of of('Failed').slice(failedJobsHistoryLimit)) this.remove(job);
  }

  private remove({ metadata }: Job): void {
    const { store, registry } = this.cluster;
    if (store.get('Job', metadata.namespace, metadata.name) === undefined) return;
    registry.delete(JOBS, metadata.namespace, metadata.name, { propagationPolicy: 'Background' });
  }

  private writeStatus(ranAt: Date | undefined): void {
    const { store, registry } = this.cluster;
    const { namespace, name, uid } = this.cron.metadata;
    const now = store.get('CronJob', namespace, name);
    if (now === undefined) return;
    const own = store
      .list('Job', namespace)
      .filter(({ metadata }) => metadata.ownerReferences?.some((o) => o.uid === uid));
    const active = own
      .filter((job) => !isFinished(job))
      .map(({ metadata }) => ({
        apiVersion: 'batch/v1',
        kind: 'Job',
        namespace,
        name: metadata.name,
        uid: metadata.uid,
      }));
    const ends = own.map(({ status }) => status?.completionTime).filter((time) => time !== undefined);
    const lastSuccess = [...ends, now.status?.lastSuccessfulTime]
      .filter((time) => time !== undefined)
      .sort()
      .at(-1);
    const scheduled = ranAt === undefined ? now.status?.lastScheduleTime : nowText(ranAt.getTime());
    const status = {
      ...(active.length > 0 && { active }),
      ...(scheduled !== undefined && { lastScheduleTime: scheduled }),
      ...(lastSuccess !== undefined && { lastSuccessfulTime: lastSuccess }),
    };
    registry.write({ ...now, status }, now);
  }
}
