/** Why a node, pod or workload is not Ready, in one line. */
import { podReason } from '../api/tables/pod-text.ts';
import type { Condition, Job, KubeObject, NodeObject, Pod } from '../api/types/objects.ts';

const isTrue = (conditions: readonly Condition[] | undefined, type: string): boolean =>
  conditions?.find((condition) => condition.type === type)?.status === 'True';

/** The last line of a container's output, if its log is on this machine. */
export type LastLine = (pod: Pod, container: string) => string | undefined;

/** When a Job counts as Ready: while its pods run, too, or only once it is complete. */
export type JobReadiness = 'running' | 'complete';

/** Undefined if the object is Ready, or if its kind has no readiness. */
export function whyNotReady(
  object: KubeObject,
  lastLine: LastLine = () => undefined,
  jobs: JobReadiness = 'running',
): string | undefined {
  switch (object.kind) {
    case 'Node': {
      const { status } = object as NodeObject;
      const ready = status?.conditions?.find(({ type }) => type === 'Ready');
      if (ready?.status === 'True') return undefined;
      return ready?.message ?? ready?.reason ?? 'its agent has not reported yet';
    }
    case 'Pod': {
      const pod = object as Pod;
      if (pod.status?.phase === 'Succeeded' || isTrue(pod.status?.conditions, 'Ready')) return undefined;
      return whyPodNotReady(pod, lastLine);
    }
    case 'Deployment':
    case 'StatefulSet':
    case 'ReplicaSet':
    case 'ReplicationController':
    case 'DaemonSet':
      return whyReplicasNotReady(object as unknown as Replicated);
    case 'Job':
      return whyJobNotReady(object as unknown as Job, jobs);
    default:
      return undefined;
  }
}

/** The fields of workloads that run a number of pods. */
interface Replicated {
  kind: string;
  metadata: { generation?: number };
  spec: { replicas?: number; updateStrategy?: { type?: string; rollingUpdate?: { partition?: number } } };
  status?: {
    observedGeneration?: number;
    readyReplicas?: number;
    updatedReplicas?: number;
    desiredNumberScheduled?: number;
    updatedNumberScheduled?: number;
    numberReady?: number;
  };
}

function whyReplicasNotReady({ kind, metadata, spec, status = {} }: Replicated): string | undefined {
  const current = (status.observedGeneration ?? metadata.generation ?? 0) >= (metadata.generation ?? 0);
  const perNode = kind === 'DaemonSet';
  const wanted = perNode ? status.desiredNumberScheduled : (spec.replicas ?? 1);
  const updated = perNode ? status.updatedNumberScheduled : status.updatedReplicas;
  // Pods of an older template stay where the strategy is OnDelete or has a partition; ReplicaSets replace none.
  const { type, rollingUpdate } = spec.updateStrategy ?? {};
  const mixed = kind.startsWith('Replica') || type === 'OnDelete' || (rollingUpdate?.partition ?? 0) > 0;
  const ready = Math.min((perNode ? status.numberReady : status.readyReplicas) ?? 0, mixed ? Infinity : (updated ?? 0));
  if (wanted === undefined || !current) return 'its controller has not seen it yet';
  return ready >= wanted ? undefined : `${ready} of ${wanted} pods are ready`;
}

function whyJobNotReady({ spec, status = {} }: Job, jobs: JobReadiness): string | undefined {
  const failed = status.conditions?.find(({ type, status }) => type === 'Failed' && status === 'True');
  if (failed !== undefined) return `it failed: ${failed.message ?? failed.reason ?? 'no reason is known'}`;
  if (spec.suspend || isTrue(status.conditions, 'Complete')) return undefined;
  const running = status.ready ?? 0;
  if (running > 0)
    return jobs === 'running' ? undefined : `${status.succeeded ?? 0} pods have succeeded, ${running} run`;
  return `${status.succeeded ?? 0} pods have succeeded, and none is running`;
}

/** The pod's STATUS and, if a container is the cause, its termination message or its last line of output. */
function whyPodNotReady(pod: Pod, lastLine: LastLine): string {
  const reason = podReason(pod);
  const { containerStatuses = [], initContainerStatuses = [], conditions } = pod.status ?? {};
  for (const { name, ready, state, lastState } of [...initContainerStatuses, ...containerStatuses]) {
    if (ready) continue;
    const ended = state?.terminated ?? lastState?.terminated;
    if (ended !== undefined && ended.reason !== 'Completed') {
      const lastText = ended.message?.trim().split('\n').at(-1) || lastLine(pod, name);
      return `${reason}: container ${name} ended with status ${ended.exitCode}${lastText ? `: ${lastText}` : ''}`;
    }
    const { message } = state?.waiting ?? {};
    if (message) return `${reason}: container ${name}: ${message}`;
  }
  const scheduled = conditions?.find(({ type, status }) => type === 'PodScheduled' && status === 'False');
  if (scheduled?.message) return `${reason}: ${scheduled.message}`;
  const unready = conditions?.find(({ type, status }) => type === 'Ready' && status === 'False');
  return reason === 'Running' && unready?.message ? `${reason}: ${unready.message}` : reason;
}
