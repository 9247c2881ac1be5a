/** The Kubernetes status of a pod, from the records of its containers (kubelet_pods.go, status/generate.go). Pure. */
import { isSidecar, sidecarsOf } from '../../api/containers.ts';
import { qosClass } from '../../api/pod-resources.ts';
import type {
  Condition,
  Container,
  ContainerState,
  ContainerStatus,
  Pod,
  PodPhase,
  PodStatus,
} from '../../api/types/objects.ts';
import type { ContainerRecord, ContainerRole, PodState, Termination } from '../state.ts';

export interface StatusFacts {
  hostIP: string | undefined;
  nowMs: number;
  /** The conditions of the last status, for their transition times. */
  conditions: readonly Condition[];
}

/** RFC 3339, whole seconds. */
const timestamp = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`;

export function podStatus(pod: Pod, state: PodState, facts: StatusFacts): PodStatus {
  const statusOf = (container: Container, role: ContainerRole) =>
    containerStatus(container, state.containers[container.name], role);
  const initStatuses = (pod.spec.initContainers ?? []).map((c) => statusOf(c, isSidecar(c) ? 'sidecar' : 'init'));
  const statuses = pod.spec.containers.map((c) => statusOf(c, 'regular'));
  const sidecars = new Set(sidecarsOf(pod.spec).map(({ name }) => name));
  const ephemeralStatuses = (pod.spec.ephemeralContainers ?? []).map((c) => statusOf(c, 'ephemeral'));
  const phase = state.failure === undefined ? phaseOf(pod, state) : 'Failed';
  const done = phase === 'Succeeded' || phase === 'Failed';
  const unready = [...initStatuses.filter(({ name }) => sidecars.has(name)), ...statuses]
    .filter(({ ready }) => !ready)
    .map(({ name }) => name);
  const uninitialized = initStatuses
    .filter(({ name, ready, started }) => (sidecars.has(name) ? !started : !ready))
    .map(({ name }) => name);
  const notReady =
    phase === 'Succeeded'
      ? { reason: 'PodCompleted' }
      : phase === 'Failed'
        ? { reason: 'PodFailed' }
        : { reason: 'ContainersNotReady', message: `containers with unready status: [${unready.join(' ')}]` };
  const containersReady = unready.length === 0 && !done;
  const gates = (pod.spec.readinessGates ?? []).filter(
    (gate) => pod.status?.conditions?.find(({ type }) => type === gate.conditionType)?.status !== 'True',
  );
  const own: Condition[] = [
    condition('PodReadyToStartContainers', state.pause !== undefined),
    condition('Initialized', state.initialized, {
      reason: 'ContainersNotInitialized',
      message: `containers with incomplete status: [${uninitialized.join(' ')}]`,
    }),
    condition(
      'Ready',
      containersReady && gates.length === 0,
      containersReady
        ? { reason: 'ReadinessGatesNotReady', message: `waiting for ${gates.map((g) => g.conditionType).join(', ')}` }
        : notReady,
    ),
    condition('ContainersReady', containersReady, notReady),
    condition('PodScheduled', true),
    // kubelet marks pods that it ends itself (eviction_manager.go).
    ...(state.failure?.reason === 'Evicted'
      ? [{ ...condition('DisruptionTarget', true), reason: 'TerminationByKubelet', message: state.failure.message }]
      : []),
  ];
  const foreign = (pod.status?.conditions ?? []).filter(({ type }) => !own.some((c) => c.type === type));
  return {
    phase,
    ...state.failure,
    conditions: [...own.map((c) => withTime(c, facts)), ...foreign],
    ...(facts.hostIP !== undefined && { hostIP: facts.hostIP, hostIPs: [{ ip: facts.hostIP }] }),
    podIP: state.podIP,
    podIPs: [{ ip: state.podIP }],
    startTime: timestamp(state.startedAtMs),
    ...(initStatuses.length > 0 && { initContainerStatuses: initStatuses }),
    containerStatuses: statuses,
    ...(ephemeralStatuses.length > 0 && { ephemeralContainerStatuses: ephemeralStatuses }),
    qosClass: qosClass(pod.spec),
  };
}

function condition(type: string, holds: boolean, otherwise: { reason?: string; message?: string } = {}): Condition {
  return { type, status: holds ? 'True' : 'False', ...(holds ? {} : otherwise) };
}

function withTime(c: Condition, { conditions, nowMs }: StatusFacts): Condition {
  const old = conditions.find(({ type }) => type === c.type);
  const since = old?.status === c.status ? old.lastTransitionTime : undefined;
  return { ...c, lastTransitionTime: since ?? timestamp(nowMs) };
}

/** Will this container be started again? */
export function restarts(pod: Pod, record: ContainerRecord | undefined, role: ContainerRole): boolean {
  if (role === 'sidecar') return true;
  const code = record?.ended?.exitCode;
  if (code === undefined) return true;
  const policy = pod.spec.restartPolicy ?? 'Always';
  if (role === 'ephemeral') return false;
  if (role === 'init') return code !== 0 && policy !== 'Never';
  return policy === 'Always' || (policy === 'OnFailure' && code !== 0);
}

/** From the containers alone. */
function phaseOf(pod: Pod, state: PodState): PodPhase {
  if (initHasFailed(pod, state)) return 'Failed';
  if (!state.initialized) return 'Pending';
  const records = pod.spec.containers.map((c) => state.containers[c.name]);
  // Waiting for the first start, not for a restart.
  if (
    records.some((r) => r === undefined || (r.phase !== 'running' && r.ended === undefined && r.last === undefined))
  ) {
    return 'Pending';
  }
  // Its sidecars are being ended then (kubelet, getPhase).
  const beside = sidecarsOf(pod.spec).some(({ name }) => state.containers[name]?.phase === 'running');
  if (!isOver(pod, state) || beside) return 'Running';
  return records.every((r) => r?.ended?.exitCode === 0) ? 'Succeeded' : 'Failed';
}

/** Has an init container failed that is not started again? */
function initHasFailed(pod: Pod, state: PodState): boolean {
  return (pod.spec.initContainers ?? []).some((container) => {
    const record = state.containers[container.name];
    const failed = record?.phase === 'terminated' && record.ended?.exitCode !== 0;
    return failed && !isSidecar(container) && !restarts(pod, record, 'init');
  });
}

/** Have the regular containers ended for good, so that only sidecars may still be running? */
export function isOver(pod: Pod, state: PodState): boolean {
  if (initHasFailed(pod, state)) return true;
  return pod.spec.containers.every(({ name }) => {
    const record = state.containers[name];
    return record?.phase === 'terminated' && !restarts(pod, record, 'regular');
  });
}

function containerStatus(
  { name, image }: Container,
  record: ContainerRecord | undefined,
  role: ContainerRole,
): ContainerStatus {
  const running = record?.phase === 'running';
  const completed = record?.phase === 'terminated' && record.ended?.exitCode === 0;
  return {
    name,
    image,
    imageID: record?.imageID ?? '',
    ...(record?.containerID && { containerID: record.containerID }),
    // kubelet's prober sets both, and does not look at ephemeral containers.
    ready: role === 'init' ? completed : role !== 'ephemeral' && running && record.ready,
    ...(role !== 'ephemeral' && { started: role === 'init' ? running : running && record.started }),
    restartCount: record?.restartCount ?? 0,
    state: stateOf(record),
    lastState: lastStateOf(record),
  };
}

function stateOf(record: ContainerRecord | undefined): ContainerState {
  if (record?.phase === 'running') return { running: { startedAt: timestamp(record.startedAtMs ?? 0) } };
  if (record?.phase === 'terminated' && record.ended !== undefined) return { terminated: terminated(record.ended) };
  const { reason = 'ContainerCreating', message } = record ?? {};
  return { waiting: { reason, ...(message && { message }) } };
}

function lastStateOf(record: ContainerRecord | undefined): ContainerState {
  const last =
    record?.phase === 'waiting' || record?.phase === 'starting' ? (record.ended ?? record.last) : record?.last;
  return last === undefined ? {} : { terminated: terminated(last) };
}

function terminated(t: Termination): NonNullable<ContainerState['terminated']> {
  return {
    exitCode: t.exitCode,
    ...(t.signal !== undefined && { signal: t.signal }),
    reason: t.reason,
    ...(t.message && { message: t.message }),
    startedAt: timestamp(t.startedAtMs),
    finishedAt: timestamp(t.finishedAtMs),
    ...(t.containerID && { containerID: t.containerID }),
  };
}
