/**
 * Garbage collection (pkg/controller/garbagecollector). An object whose owners are all gone is deleted, even if its
 * owner never existed or was deleted while no controller ran. An object with foreground deletion waits for its
 * dependents; one deleted with the policy Orphan is first removed from their owner references.
 *
 * Every object with owners, and every pending deletion, is processed once at the start and whenever it changes.
 */
import { isDeepStrictEqual } from 'node:util';
import { RESOURCES, type Resource } from '../api/resources.ts';
import { FOREGROUND, ORPHAN } from '../api/store/deletion.ts';
import type { Kind, KubeObject, OwnerReference } from '../api/types/objects.ts';
import type { Cluster } from './cluster.ts';

/** `Kind namespace name` */
type Id = string;

const idOf = (key: string, { metadata }: KubeObject): Id => `${key} ${metadata.namespace ?? ''} ${metadata.name}`;

export function startGarbageCollector(cluster: Cluster): void {
  const collector = new GarbageCollector(cluster);
  for (const resource of RESOURCES) collector.follow(resource);
  cluster.registry.kinds.onKind((resource) => collector.follow(resource));
}

function sameOwners({ metadata: a }: KubeObject, { metadata: b }: KubeObject): boolean {
  return isDeepStrictEqual(a.ownerReferences, b.ownerReferences);
}

class GarbageCollector {
  private readonly cluster: Cluster;
  /** Owner's uid → the objects with a reference to it. */
  private readonly dependents = new Map<string, Set<Id>>();
  private readonly queue: { add(id: Id): void };

  constructor(cluster: Cluster) {
    this.cluster = cluster;
    this.queue = cluster.queue('garbage-collector', (id) => this.look(id));
  }

  follow({ key }: Resource): void {
    const { store } = this.cluster;
    for (const object of store.list(key)) this.file(key, object, true);
    store.onCommit(key, ({ type, object, old }) => {
      // Most changes do not concern owners.
      if (type === 'MODIFIED' && sameOwners(object, old!) && object.metadata.deletionTimestamp === undefined) return;
      if (old !== undefined) this.file(key, old, false);
      if (type === 'DELETED') this.ended(object);
      else this.file(key, object, true);
    });
  }

  /** Updates the index and queues new objects. */
  private file(key: string, object: KubeObject, present: boolean): void {
    const id = idOf(key, object);
    const { ownerReferences = [], deletionTimestamp, finalizers } = object.metadata;
    for (const { uid } of ownerReferences) {
      const set = this.dependents.get(uid) ?? new Set();
      if (present) set.add(id);
      else set.delete(id);
      if (set.size > 0) this.dependents.set(uid, set);
      else this.dependents.delete(uid);
    }
    if (!present) return;
    const waits = deletionTimestamp !== undefined && finalizers?.length;
    if (ownerReferences.length > 0 || waits) this.queue.add(id);
  }

  /** An object was deleted: queues its dependents, and its owners, which may have waited for it. */
  private ended({ metadata }: KubeObject): void {
    for (const id of this.dependents.get(metadata.uid) ?? []) this.queue.add(id);
    for (const owner of metadata.ownerReferences ?? []) {
      const resource = this.cluster.registry.kinds.ofKind(owner.apiVersion, owner.kind);
      if (resource === undefined) continue;
      this.queue.add(`${resource.key} ${resource.namespaced ? (metadata.namespace ?? '') : ''} ${owner.name}`);
    }
  }

  private look(id: Id): void {
    const { resource, object } = this.find(id);
    if (resource === undefined || object === undefined) return;
    const { deletionTimestamp, finalizers = [] } = object.metadata;
    if (deletionTimestamp !== undefined) {
      if (finalizers.includes(ORPHAN)) this.orphan(object);
      else if (finalizers.includes(FOREGROUND)) this.deleteDependents(object);
      return;
    }
    this.lookAtOwners(resource, object);
  }

  private find(id: Id): { resource: Resource | undefined; object: KubeObject | undefined } {
    const [key = '', namespace = '', name = ''] = id.split(' ');
    const { registry, store } = this.cluster;
    return { resource: registry.kinds.ofKey(key), object: store.get(key as Kind, namespace || undefined, name) };
  }

  private lookAtOwners(resource: Resource, object: KubeObject): void {
    const { registry } = this.cluster;
    const owners = object.metadata.ownerReferences ?? [];
    if (owners.length === 0) return;
    const states = owners.map((owner) => this.stateOf(owner, object));
    if (states.includes('there')) {
      const left = owners.filter((_, i) => states[i] === 'there');
      if (left.length < owners.length) {
        registry.write({ ...object, metadata: { ...object.metadata, ownerReferences: left } }, object);
      }
      return;
    }
    const { namespace, name, uid, resourceVersion } = object.metadata;
    const waited = states.includes('waiting') && this.blockers(uid).length > 0;
    registry.delete(resource, namespace, name, {
      preconditions: { uid, resourceVersion },
      propagationPolicy: waited ? 'Foreground' : 'Background',
    });
  }

  /** An owner of a kind that is not served may exist, so it is never treated as missing. */
  private stateOf(owner: OwnerReference, dependent: KubeObject): 'there' | 'waiting' | 'gone' {
    const resource = this.cluster.registry.kinds.ofKind(owner.apiVersion, owner.kind);
    if (resource === undefined) return 'there';
    const namespace = resource.namespaced ? dependent.metadata.namespace : undefined;
    const found = this.cluster.store.get(resource.key, namespace, owner.name);
    if (found?.metadata.uid !== owner.uid) return 'gone';
    const { deletionTimestamp, finalizers } = found.metadata;
    return deletionTimestamp !== undefined && finalizers?.includes(FOREGROUND) ? 'waiting' : 'there';
  }

  /** Dependents that block the owner's deletion. */
  private blockers(uid: string): KubeObject[] {
    return this.dependentsOf(uid).filter((object) =>
      object.metadata.ownerReferences!.some((owner) => owner.uid === uid && owner.blockOwnerDeletion === true),
    );
  }

  private dependentsOf(uid: string): KubeObject[] {
    return [...(this.dependents.get(uid) ?? [])].flatMap((id) => this.find(id).object ?? []);
  }

  private orphan(owner: KubeObject): void {
    const { registry } = this.cluster;
    for (const object of this.dependentsOf(owner.metadata.uid)) {
      const { ownerReferences = [], ...metadata } = object.metadata;
      const left = ownerReferences.filter(({ uid }) => uid !== owner.metadata.uid);
      registry.write(
        { ...object, metadata: { ...metadata, ...(left.length > 0 && { ownerReferences: left }) } },
        object,
      );
    }
    this.finish(owner, ORPHAN);
  }

  private deleteDependents(owner: KubeObject): void {
    const { uid } = owner.metadata;
    for (const id of this.dependents.get(uid) ?? []) this.queue.add(id);
    if (this.blockers(uid).length === 0) this.finish(owner, FOREGROUND);
  }

  private finish(object: KubeObject, finalizer: string): void {
    const finalizers = (object.metadata.finalizers ?? []).filter((name) => name !== finalizer);
    const { finalizers: _before, ...metadata } = object.metadata;
    this.cluster.registry.write(
      { ...object, metadata: { ...metadata, ...(finalizers.length > 0 && { finalizers }) } },
      object,
    );
  }
}
