/** The API server's defaults for workloads (pkg/apis/{apps,batch}/v1/defaults.go). */
import type {
  CronJob,
  DaemonSet,
  Deployment,
  Job,
  JobSpec,
  KubeObject,
  PodTemplate,
  ReplicaSet,
  ReplicationController,
  StatefulSet,
} from '../types/objects.ts';
import { podSpec } from './pod-defaults.ts';

/** The object with defaults; the object itself if its kind has none here. */
export function workloadDefaults(object: KubeObject): KubeObject {
  switch (object.kind) {
    case 'ReplicaSet': {
      const { spec, ...set } = object as ReplicaSet;
      return {
        ...set,
        spec: { ...spec, replicas: spec.replicas ?? 1, template: template(spec.template) },
      } as ReplicaSet;
    }
    case 'ReplicationController':
      return replicationController(object as ReplicationController);
    case 'Deployment':
      return deployment(object as Deployment);
    case 'StatefulSet':
      return statefulSet(object as StatefulSet);
    case 'DaemonSet':
      return daemonSet(object as DaemonSet);
    case 'Job': {
      const job = object as Job;
      return { ...job, spec: jobSpec(job.spec) } as Job;
    }
    case 'CronJob':
      return cronJob(object as CronJob);
    default:
      return object;
  }
}

const template = (t: PodTemplate): PodTemplate => ({ ...t, spec: podSpec(t.spec) });

/** Selector and labels default to the template's labels. */
function replicationController(object: ReplicationController): ReplicationController {
  const { spec, metadata } = object;
  const labels = spec.template.metadata?.labels;
  return {
    ...object,
    metadata: { ...metadata, ...(metadata.labels === undefined && labels && { labels }) },
    spec: {
      ...spec,
      replicas: spec.replicas ?? 1,
      ...(spec.selector === undefined && labels && { selector: labels }),
      template: template(spec.template),
    },
  };
}

function deployment(object: Deployment): Deployment {
  const { spec } = object;
  const type = spec.strategy?.type ?? 'RollingUpdate';
  const rolling = { maxSurge: '25%', maxUnavailable: '25%', ...spec.strategy?.rollingUpdate };
  return {
    ...object,
    spec: {
      ...spec,
      replicas: spec.replicas ?? 1,
      revisionHistoryLimit: spec.revisionHistoryLimit ?? 10,
      progressDeadlineSeconds: spec.progressDeadlineSeconds ?? 600,
      strategy: type === 'RollingUpdate' ? { type, rollingUpdate: rolling } : { ...spec.strategy, type },
      template: template(spec.template),
    },
  };
}

function statefulSet(object: StatefulSet): StatefulSet {
  const { spec } = object;
  const type = spec.updateStrategy?.type ?? 'RollingUpdate';
  const rollingUpdate = { partition: 0, ...spec.updateStrategy?.rollingUpdate };
  return {
    ...object,
    spec: {
      ...spec,
      replicas: spec.replicas ?? 1,
      podManagementPolicy: spec.podManagementPolicy ?? 'OrderedReady',
      updateStrategy: type === 'RollingUpdate' ? { type, rollingUpdate } : { ...spec.updateStrategy, type },
      revisionHistoryLimit: spec.revisionHistoryLimit ?? 10,
      persistentVolumeClaimRetentionPolicy: {
        whenDeleted: 'Retain',
        whenScaled: 'Retain',
        ...spec.persistentVolumeClaimRetentionPolicy,
      },
      template: template(spec.template),
    },
  };
}

function daemonSet(object: DaemonSet): DaemonSet {
  const { spec } = object;
  const type = spec.updateStrategy?.type ?? 'RollingUpdate';
  const rollingUpdate = { maxUnavailable: 1, maxSurge: 0, ...spec.updateStrategy?.rollingUpdate };
  return {
    ...object,
    spec: {
      ...spec,
      updateStrategy: type === 'RollingUpdate' ? { type, rollingUpdate } : { type },
      revisionHistoryLimit: spec.revisionHistoryLimit ?? 10,
      template: template(spec.template),
    },
  };
}

/** `completions` defaults to 1, unless `parallelism` is set (a work queue). */
function jobSpec(spec: JobSpec): JobSpec {
  const { completions, parallelism } = spec;
  const alone = completions === undefined && parallelism === undefined;
  return {
    ...spec,
    ...(alone && { completions: 1 }),
    parallelism: parallelism ?? 1,
    // With a limit for each index, the Job as a whole has none.
    backoffLimit: spec.backoffLimit ?? (spec.backoffLimitPerIndex === undefined ? 6 : 2 ** 31 - 1),
    podReplacementPolicy: spec.podReplacementPolicy ?? (spec.podFailurePolicy ? 'Failed' : 'TerminatingOrFailed'),
    completionMode: spec.completionMode ?? 'NonIndexed',
    suspend: spec.suspend ?? false,
    manualSelector: spec.manualSelector ?? false,
    template: template(spec.template),
  };
}

function cronJob(object: CronJob): CronJob {
  const { spec } = object;
  const { template: pods, ...job } = spec.jobTemplate.spec;
  return {
    ...object,
    spec: {
      ...spec,
      concurrencyPolicy: spec.concurrencyPolicy ?? 'Allow',
      suspend: spec.suspend ?? false,
      successfulJobsHistoryLimit: spec.successfulJobsHistoryLimit ?? 3,
      failedJobsHistoryLimit: spec.failedJobsHistoryLimit ?? 1,
      jobTemplate: { ...spec.jobTemplate, spec: { ...job, template: template(pods) } },
    },
  };
}
