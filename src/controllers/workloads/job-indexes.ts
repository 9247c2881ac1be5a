/**
 * Indexed Jobs: every pod has a completion index of its own (pkg/controller/job/indexed_job_utils.go). With
 * backoffLimitPerIndex each pod also has the number of pods of its index that failed before it, as annotations.
 */
import type { Container, Job, JobSpec, Pod } from '../../api/types/objects.ts';
import { judgeFailure } from './job-failure-policy.ts';
import type { PodExtras } from './pod-control.ts';

const INDEX = 'batch.kubernetes.io/job-completion-index';
const VARIABLE = 'JOB_COMPLETION_INDEX';
const FAILURES = 'batch.kubernetes.io/job-index-failure-count';
const IGNORED_FAILURES = 'batch.kubernetes.io/job-index-ignored-failure-count';

export function indexOfPod({ metadata }: Pod): number | undefined {
  const text = metadata.annotations?.[INDEX];
  return text === undefined ? undefined : Number(text);
}

/** A set of the indexes below `limit`, in text as `0,2-5`. */
export class IndexSet {
  private readonly limit: number;
  private readonly members = new Set<number>();

  constructor(limit: number, text = '') {
    this.limit = limit;
    for (const part of text.split(',').filter(Boolean)) {
      const [first = 0, last = first] = part.split('-').map(Number);
      for (let i = first; i <= last && i < limit; i++) this.members.add(i);
    }
  }

  get size(): number {
    return this.members.size;
  }

  has(index: number): boolean {
    return this.members.has(index);
  }

  /** @returns false if it already is a member, or is out of range */
  add(index: number): boolean {
    if (index >= this.limit || this.members.has(index)) return false;
    this.members.add(index);
    return true;
  }

  /** How many members `other` has, too. */
  common(other: IndexSet): number {
    return [...this.members].filter((index) => other.has(index)).length;
  }

  print(): string {
    const parts: string[] = [];
    const sorted = [...this.members].sort((a, b) => a - b);
    for (let i = 0; i < sorted.length; ) {
      let end = i;
      while (sorted[end + 1] === sorted[end]! + 1) end++;
      parts.push(end === i ? String(sorted[i]) : `${sorted[i]}-${sorted[end]}`);
      i = end + 1;
    }
    return parts.join(',');
  }
}

const numberAt = ({ metadata }: Pod, annotation: string): number =>
  Number(metadata.annotations?.[annotation] ?? 0) || 0;

/** Failures of the pod's index before this pod, those that podFailurePolicy ignores included. */
const failuresBefore = (pod: Pod): number => numberAt(pod, FAILURES) + numberAt(pod, IGNORED_FAILURES);

/** Failures of the pod's index after this pod has failed. */
export const failuresAfter = (pod: Pod): number => failuresBefore(pod) + 1;

/** Is there no further pod for the index of this failed pod? */
export function endsIndex(pod: Pod, spec: JobSpec): boolean {
  const action = judgeFailure(pod, spec)?.action;
  if (action === 'FailIndex') return true;
  return action !== 'Ignore' && numberAt(pod, FAILURES) >= (spec.backoffLimitPerIndex ?? Number.POSITIVE_INFINITY);
}

/** The failed pod of each index that a next pod would replace: the one with the most failures before it. */
export function lastFailures(failed: readonly Pod[]): Map<number, Pod> {
  const last = new Map<number, Pod>();
  for (const pod of failed) {
    const index = indexOfPod(pod);
    if (index === undefined) continue;
    const known = last.get(index);
    if (known === undefined || failuresBefore(pod) > failuresBefore(known)) last.set(index, pod);
  }
  return last;
}

/** The annotations of the pod that replaces `failed` (if any) in a Job with backoffLimitPerIndex. */
function failureCounts({ spec }: Job, failed: Pod | undefined): Record<string, string> {
  if (failed === undefined) return { [FAILURES]: '0' };
  const ignored = judgeFailure(failed, spec)?.action === 'Ignore';
  const ignoredBefore = numberAt(failed, IGNORED_FAILURES) + (ignored ? 1 : 0);
  return {
    [FAILURES]: String(numberAt(failed, FAILURES) + (ignored ? 0 : 1)),
    ...(ignoredBefore > 0 && { [IGNORED_FAILURES]: String(ignoredBefore) }),
  };
}

/** What a Job adds to its template for a pod; for an Indexed Job that includes the index. */
export function podExtras(job: Job, index: number | undefined, replaced?: Pod): PodExtras {
  if (index === undefined) return {};
  const text = String(index);
  const knows = (container: Container): Container => ({
    ...container,
    env: [...(container.env ?? []).filter(({ name }) => name !== VARIABLE), { name: VARIABLE, value: text }],
  });
  const { containers, initContainers } = job.spec.template.spec;
  // A random suffix of five letters, as in Kubernetes: the pod of a retry must have a new name.
  const suffix = Math.random().toString(36).slice(2, 7).padEnd(5, '0');
  return {
    name: `${job.metadata.name}-${index}-${suffix}`,
    labels: { [INDEX]: text },
    annotations: {
      [INDEX]: text,
      ...(job.spec.backoffLimitPerIndex !== undefined && failureCounts(job, replaced)),
    },
    spec: {
      hostname: `${job.metadata.name}-${index}`.slice(0, 63),
      containers: containers.map(knows),
      ...(initContainers && { initContainers: initContainers.map(knows) }),
    },
  };
}
