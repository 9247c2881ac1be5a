/** Indexed Jobs: every pod has a completion index of its own (pkg/controller/job/indexed_job_utils.go). */
import type { Container, Job, Pod } from '../../api/types/objects.ts';
import type { PodExtras } from './pod-control.ts';

const INDEX = 'batch.kubernetes.io/job-completion-index';
const VARIABLE = 'JOB_COMPLETION_INDEX';

export function indexOfPod({ metadata }: Pod): number | undefined {
  const text = metadata.annotations?.[INDEX];
  return text === undefined ? undefined : Number(text);
}

/** A set of completed indexes, as `0,2-5`. */
export class Indexes {
  private readonly size: number;
  private readonly done = new Set<number>();

  constructor(size: number, text: string) {
    this.size = size;
    for (const part of text.split(',').filter(Boolean)) {
      const [first = 0, last = first] = part.split('-').map(Number);
      for (let i = first; i <= last && i < size; i++) this.done.add(i);
    }
  }

  get completed(): number {
    return this.done.size;
  }

  /** @returns false if the index was already completed, or is out of range */
  complete(index: number): boolean {
    if (index >= this.size || this.done.has(index)) return false;
    this.done.add(index);
    return true;
  }

  /** The lowest index that is neither completed nor `busy`. */
  next(busy: ReadonlySet<number | undefined>): number | undefined {
    for (let i = 0; i < this.size; i++) if (!this.done.has(i) && !busy.has(i)) return i;
    return undefined;
  }

  print(): string {
    const parts: string[] = [];
    const sorted = [...this.done].sort((a, b) => a - b);
    for (let i = 0; i < sorted.length; ) {
      let end = i;
      while (sorted[end + 1] === sorted[end]! + 1) end++;
      parts.push(end === i ? String(sorted[i]) : `${sorted[i]}-${sorted[end]}`);
      i = end + 1;
    }
    return parts.join(',');
  }
}

/** What a Job adds to its template for a pod; for an Indexed Job that includes the index. */
export function podExtras(job: Job, index: number | undefined): PodExtras {
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
    annotations: { [INDEX]: text },
    spec: {
      hostname: `${job.metadata.name}-${index}`.slice(0, 63),
      containers: containers.map(knows),
      ...(initContainers && { initContainers: initContainers.map(knows) }),
    },
  };
}
