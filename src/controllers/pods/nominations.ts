/**
 * Pods that wait for the end of the pods that were removed in their favour (status.nominatedNodeName). What they need
 * there is not given to pods of lower priority (kubernetes pkg/scheduler/backend/queue/nominator.go).
 */
import { isActive } from '../../api/pod-phase.ts';
import type { Store } from '../../api/store/store.ts';
import type { Pod } from '../../api/types/objects.ts';
import { keyOf, splitKey } from '../work-queue.ts';

export const priorityOf = ({ spec }: Pod): number => spec.priority ?? 0;

export class Nominations {
  private readonly store: Store;
  /** Node → keys of the pods that are nominated for it. */
  private readonly byNode = new Map<string, Set<string>>();

  constructor(store: Store) {
    this.store = store;
    for (const pod of store.list('Pod')) this.add(pod);
    store.onCommit('Pod', ({ type, object, old }) => {
      if (old !== undefined) this.remove(old);
      if (type !== 'DELETED') this.add(object);
    });
  }

  /** The pods that are nominated for a node and do not come after `pod`. */
  ahead(node: string, pod: Pod): Pod[] {
    return this.of(node).filter((other) => priorityOf(other) >= priorityOf(pod) && keyOf(other) !== keyOf(pod));
  }

  /** The pods that are nominated for a node and come after `pod`. */
  behind(node: string, pod: Pod): Pod[] {
    return this.of(node).filter((other) => priorityOf(other) < priorityOf(pod));
  }

  private of(node: string): Pod[] {
    const keys = this.byNode.get(node);
    return keys === undefined ? [] : [...keys].flatMap((key) => this.store.get('Pod', ...splitKey(key)) ?? []);
  }

  private add(pod: Pod): void {
    const node = nominatedNode(pod);
    if (node === undefined) return;
    const keys = this.byNode.get(node) ?? new Set();
    keys.add(keyOf(pod));
    this.byNode.set(node, keys);
  }

  private remove(pod: Pod): void {
    const node = nominatedNode(pod);
    const keys = node === undefined ? undefined : this.byNode.get(node);
    keys?.delete(keyOf(pod));
    if (keys?.size === 0) this.byNode.delete(node!);
  }
}

/** Undefined if the pod is not nominated, or no longer waits. */
function nominatedNode(pod: Pod): string | undefined {
  const waits = !pod.spec.nodeName && isActive(pod);
  return waits ? pod.status?.nominatedNodeName || undefined : undefined;
}
