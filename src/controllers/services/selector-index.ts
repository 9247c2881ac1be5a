/**
 * Which services select a pod, and which pods a service selects, without scanning all of either. Each service is
 * indexed by one pair of its selector, each pod by all its labels.
 */
import { matchesLabels } from '../../api/selectors.ts';
import type { Pod, Service } from '../../api/types/objects.ts';
import { keyOf, splitKey } from '../work-queue.ts';

class Buckets {
  private readonly sets = new Map<string, Set<string>>();

  add(bucket: string, key: string): void {
    const set = this.sets.get(bucket);
    if (set !== undefined) set.add(key);
    else this.sets.set(bucket, new Set([key]));
  }

  delete(bucket: string, key: string): void {
    const set = this.sets.get(bucket);
    set?.delete(key);
    if (set?.size === 0) this.sets.delete(bucket);
  }

  get(bucket: string): ReadonlySet<string> {
    return this.sets.get(bucket) ?? EMPTY;
  }
}

const EMPTY: ReadonlySet<string> = new Set();

const bucketOf = (namespace: string | undefined, label: string, value: string) => `${namespace}/${label}=${value}`;

/** A usable selector: present and not empty. ExternalName services have no endpoints. */
export function selectorOf(service: Service): Record<string, string> | undefined {
  const { selector, type } = service.spec;
  if (type === 'ExternalName' || selector === undefined) return undefined;
  return Object.keys(selector).length > 0 ? selector : undefined;
}

export class ServiceIndex {
  private readonly pods = new Buckets();
  private readonly services = new Buckets();
  private readonly podOf: (namespace: string, name: string) => Pod | undefined;
  private readonly serviceOf: (namespace: string, name: string) => Service | undefined;

  constructor(
    podOf: (namespace: string, name: string) => Pod | undefined,
    serviceOf: (namespace: string, name: string) => Service | undefined,
  ) {
    this.podOf = podOf;
    this.serviceOf = serviceOf;
  }

  addPod(pod: Pod): void {
    for (const bucket of podBuckets(pod)) this.pods.add(bucket, keyOf(pod));
  }

  deletePod(pod: Pod): void {
    for (const bucket of podBuckets(pod)) this.pods.delete(bucket, keyOf(pod));
  }

  addService(service: Service): void {
    const bucket = serviceBucket(service);
    if (bucket !== undefined) this.services.add(bucket, keyOf(service));
  }

  deleteService(service: Service): void {
    const bucket = serviceBucket(service);
    if (bucket !== undefined) this.services.delete(bucket, keyOf(service));
  }

  /** Keys of the services that select a pod with these labels. */
  servicesOf(pod: Pod): string[] {
    const found: string[] = [];
    for (const bucket of podBuckets(pod)) {
      for (const key of this.services.get(bucket)) {
        const selector = selectorOf(this.serviceOf(...splitKey(key))!);
        if (selector !== undefined && matchesLabels(selector, pod.metadata.labels)) found.push(key);
      }
    }
    return found;
  }

  /** The pods a service selects. */
  podsOf(service: Service): Pod[] {
    const selector = selectorOf(service);
    if (selector === undefined) return [];
    let smallest: ReadonlySet<string> | undefined;
    for (const [label, value] of Object.entries(selector)) {
      const set = this.pods.get(bucketOf(service.metadata.namespace, label, value));
      if (smallest === undefined || set.size < smallest.size) smallest = set;
    }
    const found: Pod[] = [];
    for (const key of smallest ?? []) {
      const pod = this.podOf(...splitKey(key));
      if (pod !== undefined && matchesLabels(selector, pod.metadata.labels)) found.push(pod);
    }
    return found;
  }
}

function podBuckets({ metadata: { namespace, labels } }: Pod): string[] {
  return Object.entries(labels ?? {}).map(([label, value]) => bucketOf(namespace, label, value));
}

function serviceBucket(service: Service): string | undefined {
  const first = Object.entries(selectorOf(service) ?? {})[0];
  return first && bucketOf(service.metadata.namespace, first[0], first[1]);
}
