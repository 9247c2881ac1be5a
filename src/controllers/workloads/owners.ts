/** Controlling owners: the owner reference, and an index by owner. */
import type { Store } from '../../api/store/store.ts';
import type { Kind, KubeObject, ObjectByKind } from '../../api/types/objects.ts';
import { keyOf, splitKey, type WorkQueue } from '../work-queue.ts';

/** The object's controlling owner, if it is of this kind: its uid and name. */
function controllerOf(object: KubeObject, kind: Kind): { uid: string; name: string } | undefined {
  return object.metadata.ownerReferences?.find((o) => o.controller === true && o.kind === kind);
}

/** The reference in an object that `object` controls. */
export function ownedBy(object: KubeObject): object {
  const { apiVersion, kind, metadata } = object;
  return { apiVersion, kind, name: metadata.name, uid: metadata.uid, controller: true, blockOwnerDeletion: true };
}

/** The objects of one kind that those of another control, by their owner's uid. */
export class Owned<Child extends Kind, Owner extends Kind> {
  private readonly store: Store;
  private readonly child: Child;
  private readonly owner: Owner;
  private readonly keys = new Map<string, Set<string>>();

  constructor(store: Store, child: Child, owner: Owner) {
    this.store = store;
    this.child = child;
    this.owner = owner;
  }

  /** What `owner` controls now. */
  of(owner: ObjectByKind[Owner]): ObjectByKind[Child][] {
    const keys = this.keys.get(owner.metadata.uid) ?? [];
    return [...keys].map((key) => this.store.get(this.child, ...splitKey(key))!);
  }

  /** Starts the index: from now on an owner is queued when it or an object it owns is created, changed or deleted. */
  queueOwners(queue: WorkQueue): void {
    const { store, child, owner } = this;
    const file = (object: KubeObject, present: boolean) => {
      const name = this.file(object, present);
      if (name !== undefined) queue.add(`${object.metadata.namespace}/${name}`);
    };
    for (const object of store.list(child)) file(object, true);
    for (const object of store.list(owner)) queue.add(keyOf(object));
    store.onCommit(child, ({ type, object }) => file(object, type !== 'DELETED'));
    store.onCommit(owner, ({ type, object }) => {
      if (type !== 'DELETED') queue.add(keyOf(object));
    });
  }

  /** @returns the owner's name, undefined when it has none of our kind */
  private file(object: KubeObject, present: boolean): string | undefined {
    const owner = controllerOf(object, this.owner);
    if (owner === undefined) return undefined;
    const keys = this.keys.get(owner.uid) ?? new Set();
    if (present) keys.add(keyOf(object));
    else keys.delete(keyOf(object));
    if (keys.size > 0) this.keys.set(owner.uid, keys);
    else this.keys.delete(owner.uid);
    return owner.name;
  }
}
