/** Why a node, pod or deployment is not Ready, in one line. */

import { podReason } from '../api/tables/pod-text.ts';
import type { Condition, Deployment, KubeObject, NodeObject, Pod } from '../api/types/objects.ts';

const isTrue = (conditions: readonly Condition[] | undefined, type: string): boolean =>
  conditions?.find((condition) => condition.type === type)?.status === 'True';

/** The last line of a container's output, if its log is on this machine. */
export type LastLine = (pod: Pod, container: string) => string | undefined;

/** Undefined if the object is Ready, or if its kind has no readiness. */
export function whyNotReady(object: KubeObject, lastLine: LastLine = () => undefined): string | undefined {
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
    case 'Deployment': {
      const { spec, status, metadata } = object as Deployment;
      const wanted = spec.replicas ?? 1;
      const current =
        status?.observedGeneration === undefined || status.observedGeneration >= (metadata.generation ?? 0);
      const ready = Math.min(status?.readyReplicas ?? 0, status?.updatedReplicas ?? 0);
      return current && ready >= wanted ? undefined : `${ready} of ${wanted} pods are ready`;
    }
    default:
      return undefined;
  }
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
