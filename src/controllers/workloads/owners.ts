/** Controlling owners: the owner reference, an index by owner, and objects that have no controller. */
import { matchesSelector } from '../../api/selectors.ts';
import type { Store } from '../../api/store/store.ts';
import type { Kind, KubeObject, LabelSelector, ObjectByKind } from '../../api/types/objects.ts';
import type { Cluster } from '../cluster.ts';
import { keyOf, splitKey, type WorkQueue } from '../work-queue.ts';

/** The object's controlling owner, if it is of this kind: its uid and name. */
export function controllerOf(object: KubeObject, kind: Kind): { uid: string; name: string } | undefined {
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
  /** Namespace → objects without a controller. There are few: pods are rarely created by hand. */
  private readonly orphans = new Map<string, Set<string>>();

  constructor(store: Store, child: Child, owner: Owner) {
    this.store = store;
    this.child = child;
    this.owner = owner;
  }

  /** What `owner` controls now. */
  of(owner: KubeObject): ObjectByKind[Child][] {
    return this.present(this.keys.get(owner.metadata.uid));
  }

  /**
   * What `owner` controls, after it has adopted matching objects without a controller and released those that its
   * selector no longer matches (pkg/controller/controller_ref_manager.go).
   */
  claim(cluster: Cluster, owner: KubeObject, selector: LabelSelector): ObjectByKind[Child][] {
    const fits = (child: KubeObject) => matchesSelector(selector, child.metadata.labels ?? {});
    const { namespace = '', uid, deletionTimestamp } = owner.metadata;
    if (deletionTimestamp === undefined) {
      for (const child of this.present(this.orphans.get(namespace))) {
        if (!fits(child) || child.metadata.deletionTimestamp !== undefined) continue;
        const ownerReferences = [...(child.metadata.ownerReferences ?? []), ownedBy(owner)];
        cluster.registry.write({ ...child, metadata: { ...child.metadata, ownerReferences } } as KubeObject, child);
      }
    }
    for (const child of this.of(owner)) {
      if (fits(child)) continue;
      const ownerReferences = child.metadata.ownerReferences?.filter((o) => o.uid !== uid);
      cluster.registry.write({ ...child, metadata: { ...child.metadata, ownerReferences } } as KubeObject, child);
    }
    return this.of(owner);
  }

  /**
   * Starts the index: from now on an owner is queued when it or an object it owns is created, changed or deleted.
   * @param selectorOf the selector of an owner; if given, owners that could adopt an object are queued too
   */
  queueOwners(queue: WorkQueue, selectorOf?: (owner: ObjectByKind[Owner]) => LabelSelector | undefined): void {
    const { store, child, owner } = this;
    const file = (object: KubeObject, present: boolean) => {
      const name = this.file(object, present);
      const { namespace } = object.metadata;
      if (name !== undefined) queue.add(`${namespace}/${name}`);
      else if (present && selectorOf !== undefined && this.isOrphan(object)) {
        for (const each of store.list(owner, namespace)) {
          const selector = selectorOf(each);
          if (selector && matchesSelector(selector, object.metadata.labels ?? {})) queue.add(keyOf(each));
        }
      }
    };
    for (const object of store.list(child)) file(object, true);
    for (const object of store.list(owner)) queue.add(keyOf(object));
    store.onCommit(child, ({ type, object, old }) => {
      if (old !== undefined && old.metadata.ownerReferences !== object.metadata.ownerReferences) file(old, false);
      file(object, type !== 'DELETED');
    });
    store.onCommit(owner, ({ type, object }) => {
      if (type !== 'DELETED') queue.add(keyOf(object));
    });
  }

  private present(keys: ReadonlySet<string> | undefined): ObjectByKind[Child][] {
    return [...(keys ?? [])].map((key) => this.store.get(this.child, ...splitKey(key))!).filter(Boolean);
  }

  private isOrphan({ metadata }: KubeObject): boolean {
    return metadata.ownerReferences?.some((o) => o.controller === true) !== true;
  }

  /** @returns the owner's name; undefined if it has no owner of this kind */
  private file(object: KubeObject, present: boolean): string | undefined {
    const { namespace = '' } = object.metadata;
    if (this.isOrphan(object)) {
      setIn(this.orphans, namespace, keyOf(object), present);
      return undefined;
    }
    setIn(this.orphans, namespace, keyOf(object), false);
    const owner = controllerOf(object, this.owner);
    if (owner !== undefined) setIn(this.keys, owner.uid, keyOf(object), present);
    return owner?.name;
  }
}

function setIn(index: Map<string, Set<string>>, at: string, key: string, present: boolean): void {
  const keys = index.get(at) ?? new Set();
  if (present) keys.add(key);
  else keys.delete(key);
  if (keys.size > 0) index.set(at, keys);
  else index.delete(at);
}
