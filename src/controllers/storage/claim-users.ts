/** Index over the store of pods by the claims that they use. */
import type { Store } from '../../api/store/store.ts';
import type { Pod } from '../../api/types/objects.ts';
import { keyOf, splitKey } from '../work-queue.ts';

const NOBODY: ReadonlySet<string> = new Set();

/** Names of the claims that a pod mounts. */
export const claimsOf = ({ spec }: Pod): string[] =>
  (spec.volumes ?? []).flatMap(({ persistentVolumeClaim }) => persistentVolumeClaim?.claimName ?? []);

export class ClaimUsers {
  private readonly store: Store;
  private readonly pods = new Map<string, Set<string>>();

  constructor(store: Store) {
    this.store = store;
    for (const pod of store.list('Pod')) this.file(pod, true);
    store.onCommit('Pod', ({ type, object }) => {
      if (type !== 'MODIFIED') this.file(object, type === 'ADDED');
    });
  }

  /** Pods that mount the claim, in any state. @param key of the claim */
  of(key: string): Pod[] {
    return [...(this.pods.get(key) ?? NOBODY)].map((pod) => this.store.get('Pod', ...splitKey(pod))!).filter(Boolean);
  }

  private file(pod: Pod, present: boolean): void {
    for (const name of claimsOf(pod)) {
      const claim = `${pod.metadata.namespace}/${name}`;
      const pods = this.pods.get(claim) ?? new Set();
      if (present) pods.add(keyOf(pod));
      else pods.delete(keyOf(pod));
      if (pods.size > 0) this.pods.set(claim, pods);
      else this.pods.delete(claim);
    }
  }
}
