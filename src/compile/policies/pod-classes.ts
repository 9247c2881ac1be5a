/** Pods by what policies see of them: namespace, labels and named ports. Pods of one class are alike to every policy. */
import type { Labels } from '../../api/selectors.ts';
import { append } from './multimap.ts';

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
  /** Equal for classes with the same named ports. */
  readonly portsKey: string;
}

/** The classes that were met. They are only added. */
export class PodClasses {
  private readonly byKey = new Map<string, PodClass>();
  private readonly byNamespace = new Map<string, PodClass[]>();

  of(pod: PolicyPod): PodClass {
    const portsKey = pod.ports.map(({ name, protocol, port }) => `${name}/${protocol}/${port}`).join();
    const labels = Object.entries(pod.labels).sort(([a], [b]) => (a < b ? -1 : 1));
    const key = JSON.stringify([pod.namespace, labels, portsKey]);
    let found = this.byKey.get(key);
    if (found === undefined) {
      const { namespace, ports } = pod;
      found = { namespace, labels: pod.labels, ports, number: this.byKey.size, portsKey };
      this.byKey.set(key, found);
      append(this.byNamespace, namespace, found);
    }
    return found;
  }

  inNamespace(namespace: string): readonly PodClass[] {
    return this.byNamespace.get(namespace) ?? [];
  }
}
