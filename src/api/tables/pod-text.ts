/** Cells of a pod, as in kubectl (k8s.io/kubernetes/pkg/printers/internalversion/printers.go, printPod). */
import { sidecarsOf } from '../containers.ts';
import { isReady } from '../ready.ts';
import type { ContainerState, ContainerStatus, Pod } from '../types/objects.ts';

/** The STATUS column: the phase, or a more specific reason. */
export function podReason(pod: Pod): string {
  const { status, metadata, spec } = pod;
  let reason = status?.reason || status?.phase || 'Unknown';
  const scheduled = status?.conditions?.find(({ type }) => type === 'PodScheduled');
  if (scheduled?.reason === 'SchedulingGated') reason = scheduled.reason;
  const initial = spec.initContainers ?? [];
  const initStatuses = status?.initContainerStatuses ?? [];
  const sidecars = sidecarNames(pod);
  const pending = initStatuses.findIndex(
    ({ name, state, started }) => state?.terminated?.exitCode !== 0 && !(sidecars.has(name) && started),
  );
  const initializing = pending >= 0 && status?.phase === 'Pending';
  if (initializing) {
    const { state } = initStatuses[pending]!;
    const waiting = state?.waiting?.reason;
    if (state?.terminated) reason = `Init:${terminatedReason(state.terminated)}`;
    else if (waiting && waiting !== 'PodInitializing') reason = `Init:${waiting}`;
    else reason = `Init:${pending}/${initial.length}`;
  } else {
    let running = false;
    for (const container of [...(status?.containerStatuses ?? [])].reverse()) {
      const { waiting, terminated, running: runs } = container.state ?? {};
      if (waiting?.reason) reason = waiting.reason;
      else if (terminated) reason = terminatedReason(terminated);
      else if (container.ready && runs) running = true;
    }
    if (reason === 'Completed' && running) {
      reason = isReady(pod) ? 'Running' : 'NotReady';
    }
  }
  if (metadata.deletionTimestamp !== undefined) {
    return status?.reason === 'NodeLost' ? 'Unknown' : 'Terminating';
  }
  return reason;
}

function terminatedReason({ reason, signal, exitCode }: NonNullable<ContainerState['terminated']>): string {
  if (reason) return reason;
  return signal ? `Signal:${signal}` : `ExitCode:${exitCode}`;
}

const sidecarNames = ({ spec }: Pod): Set<string> => new Set(sidecarsOf(spec).map(({ name }) => name));

/** Statuses of the containers and of the sidecars, which count like them. */
function countedStatuses(pod: Pod): ContainerStatus[] {
  const sidecars = sidecarNames(pod);
  const { initContainerStatuses = [], containerStatuses = [] } = pod.status ?? {};
  return [...initContainerStatuses.filter(({ name }) => sidecars.has(name)), ...containerStatuses];
}

/** The READY column: `1/2`. */
export function readyContainers(pod: Pod): string {
  const ready = countedStatuses(pod).filter((c) => c.ready && c.state?.running).length;
  return `${ready}/${pod.spec.containers.length + sidecarNames(pod).size}`;
}

/** Restarts of all containers. */
export function restartCount(pod: Pod): number {
  return countedStatuses(pod).reduce((sum, { restartCount }) => sum + restartCount, 0);
}

/** When a container that has been restarted last terminated. */
export function lastRestart(pod: Pod): string | undefined {
  return countedStatuses(pod)
    .map(({ lastState }) => lastState?.terminated?.finishedAt)
    .filter((time): time is string => time !== undefined)
    .sort()
    .at(-1);
}
