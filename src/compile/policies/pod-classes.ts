/** Pods by what policies see of them: namespace, labels and named ports. Pods of one class are alike to every policy. */
import { type Labels, matchesSelector } from '../../api/selectors.ts';
import type { LabelSelector } from '../../api/types/objects.ts';

export interface PolicyPod {
  readonly namespace: string;
  readonly labels: Labels;
  readonly ports: readonly NamedPort[];
}

export interface NamedPort {
  readonly name: string;
  readonly protocol: number;
  readonly port: number;
}

export interface PodClass extends PolicyPod {
  readonly number: number;
}

/** The classes that were met, and which of them selectors match. */
export interface PodClasses {
  /** The class of a pod. All have to be entered before the first question. */
  of(pod: PolicyPod): PodClass;
  /** Numbers of the classes in these namespaces with these labels. @param own the policy's namespace */
  select(own: string, namespaces: LabelSelector | undefined, pods: LabelSelector): ReadonlySet<number>;
}

/** @param labelsOf labels of namespaces, by name */
export function podClasses(labelsOf: ReadonlyMap<string, Labels>): PodClasses {
  const all: PodClass[] = [];
  const byKey = new Map<string, PodClass>();
  const selected = new Map<string, ReadonlySet<number>>();

  const select: PodClasses['select'] = (own, namespaces, pods) => {
    const key = JSON.stringify([namespaces ?? own, pods]);
    const known = selected.get(key);
    if (known !== undefined) return known;
    const names =
      namespaces === undefined
        ? new Set([own])
        : new Set([...labelsOf].filter(([, labels]) => matchesSelector(namespaces, labels)).map(([name]) => name));
    const matching = all.filter(({ namespace, labels }) => names.has(namespace) && matchesSelector(pods, labels));
    const numbers = new Set(matching.map(({ number }) => number));
    selected.set(key, numbers);
    return numbers;
  };
  return {
    of: (pod) => {
      const key = classKey(pod);
      let found = byKey.get(key);
      if (found === undefined) {
        found = { ...pod, number: all.length };
        all.push(found);
        byKey.set(key, found);
      }
      return found;
    },
    select,
  };
}

function classKey({ namespace, labels, ports }: PolicyPod): string {
  const sorted = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([namespace, sorted, ports.map(({ name, protocol, port }) => [name, protocol, port])]);
}
