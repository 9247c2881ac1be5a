/**
 * How many replicas a metric asks for (pkg/controller/podautoscaler/replica_calculator.go): the ratio of what pods use to
 * what they should use, times the pods. Pods without metrics, and pods that are not ready, count so that they can only
 * weaken a change. Pure: metrics and time are passed in.
 */
import { Quantity } from '../../api/quantity.ts';
import type { Pod, PodMetrics } from '../../api/types/objects.ts';
import { conditionOf } from '../cluster.ts';

/** No change as long as the ratio is within a tenth of 1 (kube-controller-manager's defaults, as below). */
export const TOLERANCE = 0.1;
/** A pod that is younger may use CPU only because it starts. */
const CPU_INITIALIZATION_MS = 5 * 60_000;
/** A pod that was never ready for longer than this since its start is still starting. */
const INITIAL_READINESS_MS = 30_000;

export interface Question {
  resource: string;
  /** Only this container; undefined: the whole pod. */
  container?: string | undefined;
  /** Percent of requests, or thousandths of the resource's unit for each pod. */
  target: { utilization: number } | { averageMillis: number };
  current: number;
  pods: readonly Pod[];
  metrics: ReadonlyMap<string, PodMetrics>;
  nowMs: number;
  tolerance?: { up: number; down: number };
}

export interface Proposal {
  replicas: number;
  averageMillis: number;
  utilization?: number;
  /** When the oldest of the metrics was taken. */
  timestamp: string;
}

/** What is wrong with the metrics, in the words of Kubernetes. */
export class MetricsError extends Error {}

interface Groups {
  /** Used thousandths by the pod's name, of pods that are ready. */
  used: Map<string, number>;
  unready: Set<string>;
  missing: Set<string>;
}

/** @throws MetricsError */
export function proposeReplicas(question: Question): Proposal {
  const { pods, resource } = question;
  const measured = measure(question);
  if (measured.size === 0) {
    throw new MetricsError(
      `unable to get metrics for resource ${resource}: no metrics returned from resource metrics API`,
    );
  }
  if (pods.length === 0) throw new MetricsError('no pods returned by selector while calculating replica count');
  const groups = group(question, measured);
  const requests = 'utilization' in question.target ? requestsOf(question) : new Map<string, number>();
  if (groups.used.size === 0) {
    throw new MetricsError('did not receive metrics for targeted pods (pods might be unready)');
  }
  const timestamp = [...question.metrics.values()].map((metrics) => metrics.timestamp).sort()[0] ?? '';
  const before = ratioOf(question, groups.used, requests);
  const proposal = {
    averageMillis: before.averageMillis,
    ...(before.utilization !== undefined && { utilization: before.utilization }),
    timestamp,
  };
  return { ...proposal, replicas: replicasFor(question, groups, requests, before.ratio) };
}

function replicasFor(question: Question, groups: Groups, requests: Map<string, number>, ratio: number): number {
  const { current, target } = question;
  const { used, unready, missing } = groups;
  const upWithUnready = unready.size > 0 && ratio > 1;
  if (!upWithUnready && missing.size === 0) {
    return isClose(question, ratio) ? current : Math.ceil(ratio * used.size);
  }
  const all = new Map(used);
  if (ratio < 1) {
    // As if they used what they request, or should use: at most then is it safe to have fewer.
    for (const name of missing) {
      const full =
        'utilization' in target
          ? ((requests.get(name) ?? 0) * Math.max(100, target.utilization)) / 100
          : target.averageMillis;
      all.set(name, full);
    }
  } else if (ratio > 1) for (const name of missing) all.set(name, 0);
  if (upWithUnready) for (const name of unready) all.set(name, 0);
  const { ratio: next } = ratioOf(question, all, requests);
  if (isClose(question, next) || (ratio < 1 && next > 1) || (ratio > 1 && next < 1)) return current;
  const replicas = Math.ceil(next * all.size);
  return (next < 1 && replicas > current) || (next > 1 && replicas < current) ? current : replicas;
}

function isClose({ tolerance = { up: TOLERANCE, down: TOLERANCE } }: Question, ratio: number): boolean {
  return ratio >= 1 - tolerance.down && ratio <= 1 + tolerance.up;
}

function ratioOf({ target }: Question, used: ReadonlyMap<string, number>, requests: ReadonlyMap<string, number>) {
  let total = 0;
  let requested = 0;
  for (const [name, millis] of used) {
    total += millis;
    requested += requests.get(name) ?? 0;
  }
  const averageMillis = Math.floor(total / used.size);
  if (!('utilization' in target)) return { ratio: total / used.size / target.averageMillis, averageMillis };
  if (requested === 0) throw new MetricsError('no metrics returned matched known pods');
  const utilization = Math.floor((total * 100) / requested);
  return { ratio: utilization / target.utilization, averageMillis, utilization };
}

/** Used thousandths of each pod that has metrics of the resource. */
function measure({ metrics, resource, container, pods }: Question): Map<string, number> {
  const measured = new Map<string, number>();
  for (const { metadata } of pods) {
    const found = metrics.get(metadata.name)?.containers ?? [];
    const parts = found.filter(({ name }) => container === undefined || name === container);
    const amounts = parts.map(({ usage }) => Quantity.parse((usage as unknown as Record<string, string>)[resource]));
    if (amounts.length === 0 || amounts.includes(undefined)) continue;
    measured.set(
      metadata.name,
      amounts.reduce((sum, amount) => sum + amount!.millis, 0),
    );
  }
  return measured;
}

function group(question: Question, measured: ReadonlyMap<string, number>): Groups {
  const groups: Groups = { used: new Map(), unready: new Set(), missing: new Set() };
  for (const pod of question.pods) {
    const { name, deletionTimestamp } = pod.metadata;
    if (deletionTimestamp !== undefined || pod.status?.phase === 'Failed') continue;
    const used = measured.get(name);
    if (pod.status?.phase === 'Pending') groups.unready.add(name);
    else if (used === undefined) groups.missing.add(name);
    else if (question.resource === 'cpu' && isStarting(pod, question)) groups.unready.add(name);
    else groups.used.set(name, used);
  }
  return groups;
}

function isStarting(pod: Pod, { metrics, nowMs }: Question): boolean {
  const ready = conditionOf(pod.status?.conditions, 'Ready');
  const startedMs = Date.parse(pod.status?.startTime ?? '');
  if (ready === undefined || Number.isNaN(startedMs)) return true;
  const changedMs = Date.parse(ready.lastTransitionTime ?? '') || 0;
  if (startedMs + CPU_INITIALIZATION_MS > nowMs) {
    const { timestamp = '', window = '0s' } = metrics.get(pod.metadata.name) ?? {};
    return ready.status === 'False' || Date.parse(timestamp) < changedMs + Number.parseFloat(window) * 1000;
  }
  return ready.status === 'False' && startedMs + INITIAL_READINESS_MS > changedMs;
}

function requestsOf({ pods, resource, container }: Question): Map<string, number> {
  const requests = new Map<string, number>();
  for (const { metadata, spec } of pods) {
    let sum = 0;
    for (const each of spec.containers) {
      if (container !== undefined && each.name !== container) continue;
      const request = Quantity.parse(each.resources?.requests?.[resource]);
      if (request === undefined) {
        throw new MetricsError(`missing request for ${resource} in container ${each.name} of Pod ${metadata.name}`);
      }
      sum += request.millis;
    }
    requests.set(metadata.name, sum);
  }
  return requests;
}
