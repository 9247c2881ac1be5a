/** Creating, deleting and ranking pods for the controllers of workloads (pkg/controller/controller_utils.go). */
import { ApiError } from '../../api/errors.ts';
import { isReady } from '../../api/ready.ts';
import { resourceOfKind } from '../../api/resources.ts';
import type { KubeObject, Pod, PodSpec, PodTemplate } from '../../api/types/objects.ts';
import { type Cluster, conditionOf } from '../cluster.ts';
import { ownedBy } from './owners.ts';

const PODS = resourceOfKind('Pod')!;
/** Pods with a lower deletion cost are deleted first. */
const DELETION_COST = 'controller.kubernetes.io/pod-deletion-cost';

export interface PodExtras {
  /** Default: generated from the owner's name. */
  name?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  finalizers?: string[];
  /** Overrides fields of the template's spec. */
  spec?: Partial<PodSpec>;
}

/** Creates a pod from the template, controlled by `owner`. @throws ApiError after recording an Event with the reason */
export function createPod(cluster: Cluster, owner: KubeObject, template: PodTemplate, extras: PodExtras = {}): Pod {
  const { namespace, name } = owner.metadata;
  const labels = { ...template.metadata?.labels, ...extras.labels };
  const annotations = { ...template.metadata?.annotations, ...extras.annotations };
  const finalizers = [...(template.metadata?.finalizers ?? []), ...(extras.finalizers ?? [])];
  const metadata = {
    ...(extras.name === undefined ? { generateName: `${name}-` } : { name: extras.name }),
    namespace,
    ...(Object.keys(labels).length > 0 && { labels }),
    ...(Object.keys(annotations).length > 0 && { annotations }),
    ...(finalizers.length > 0 && { finalizers }),
    ownerReferences: [ownedBy(owner)],
  };
  const pod = { apiVersion: 'v1', kind: 'Pod', metadata, spec: { ...template.spec, ...extras.spec } };
  try {
    const { object } = cluster.registry.create(PODS, namespace, pod, { fieldValidation: 'Ignore' });
    cluster.event(owner, 'Normal', 'SuccessfulCreate', `Created pod: ${object.metadata.name}`);
    return object as Pod;
  } catch (error) {
    if (error instanceof ApiError) {
      cluster.event(owner, 'Warning', 'FailedCreate', `Error creating: ${error.message}`);
    }
    throw error;
  }
}

export function deletePod(cluster: Cluster, owner: KubeObject, pod: Pod): void {
  cluster.registry.delete(PODS, pod.metadata.namespace, pod.metadata.name);
  cluster.event(owner, 'Normal', 'SuccessfulDelete', `Deleted pod: ${pod.metadata.name}`);
}

/** Milliseconds until the pod has been ready for minReadySeconds; 0: it has; undefined: it is not ready. */
export function availableIn(pod: Pod, minReadySeconds = 0): number | undefined {
  if (!isReady(pod)) return undefined;
  if (minReadySeconds === 0) return 0;
  const since = Date.parse(conditionOf(pod.status?.conditions, 'Ready')?.lastTransitionTime ?? '') || 0;
  return Math.max(0, since + minReadySeconds * 1000 - Date.now());
}

export interface Progress {
  ready: number;
  available: number;
  /** When the next ready pod becomes available, which causes no change in the store. */
  nextMs: number | undefined;
}

export function progressOf(pods: readonly Pod[], minReadySeconds = 0): Progress {
  const waits = pods.map((pod) => availableIn(pod, minReadySeconds)).filter((ms) => ms !== undefined);
  const still = waits.filter((ms) => ms > 0);
  return {
    ready: waits.length,
    available: waits.length - still.length,
    nextMs: still.length > 0 ? Math.min(...still) + 10 : undefined,
  };
}

/**
 * The order in which surplus pods are deleted (ActivePodsWithRanks): unassigned before assigned, unready before ready,
 * lower before higher deletion cost, on nodes with more pods of the owner before fewer, younger before older.
 */
export function leastMissedFirst(pods: readonly Pod[]): Pod[] {
  const onNode = new Map<string, number>();
  for (const { spec } of pods) onNode.set(spec.nodeName ?? '', (onNode.get(spec.nodeName ?? '') ?? 0) + 1);
  const rank = (pod: Pod) => (pod.spec.nodeName ? 1 : 0) + (isReady(pod) ? 2 : 0);
  const cost = ({ metadata }: Pod) => Number(metadata.annotations?.[DELETION_COST] ?? 0) || 0;
  const neighbours = ({ spec }: Pod) => onNode.get(spec.nodeName ?? '') ?? 0;
  const born = ({ metadata }: Pod) => Date.parse(metadata.creationTimestamp);
  return [...pods].sort(
    (a, b) =>
      rank(a) - rank(b) ||
      cost(a) - cost(b) ||
      neighbours(b) - neighbours(a) ||
      born(b) - born(a) ||
      Number(b.metadata.resourceVersion) - Number(a.metadata.resourceVersion),
  );
}

/** `25%` of a number, or the number itself. */
export function share(value: number | string, of: number, round: (n: number) => number): number {
  return typeof value === 'number' ? value : round((Number.parseInt(value, 10) * of) / 100);
}

/** The object without members that are 0 or undefined, like Go's omitempty. */
export function withoutZeros<T extends object>(status: T): Partial<T> {
  return Object.fromEntries(
    Object.entries(status).filter(([, value]) => value !== 0 && value !== undefined),
  ) as Partial<T>;
}
