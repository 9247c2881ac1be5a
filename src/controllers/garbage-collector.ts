/** When an object is gone, so are those that name it as an owner and have no other (background deletion). */
import { RESOURCES, resourceOfKind } from '../api/resources.ts';
import type { Kind, KubeObject } from '../api/types/objects.ts';
import type { Cluster } from './cluster.ts';

export function startGarbageCollector(cluster: Cluster): void {
  const { store, registry } = cluster;
  /** Owner's uid → its dependents, as `Kind namespace name`. */
  const dependents = new Map<string, Set<string>>();
  const file = (object: KubeObject, present: boolean) => {
    const id = `${object.kind} ${object.metadata.namespace ?? ''} ${object.metadata.name}`;
    for (const { uid } of object.metadata.ownerReferences ?? []) {
      const set = dependents.get(uid) ?? new Set();
      if (present) set.add(id);
      else set.delete(id);
      if (set.size > 0) dependents.set(uid, set);
      else dependents.delete(uid);
    }
  };
  const queue = cluster.queue('garbage-collector', (uid) => {
    for (const id of [...(dependents.get(uid) ?? [])]) {
      const [kind = '', namespace = '', name = ''] = id.split(' ');
      const object = store.get(kind as Kind, namespace, name);
      const owners = object?.metadata.ownerReferences ?? [];
      if (object === undefined || object.metadata.deletionTimestamp !== undefined) continue;
      if (owners.some((o) => o.uid !== uid && store.get(o.kind as Kind, namespace, o.name)?.metadata.uid === o.uid))
        continue;
      registry.delete(resourceOfKind(kind)!, namespace || undefined, name);
    }
  });
  for (const { kind } of RESOURCES) {
    for (const object of store.list(kind)) file(object, true);
    store.onCommit(kind, ({ type, object, old }) => {
      if (
        old !== undefined &&
        (type === 'DELETED' || old.metadata.ownerReferences !== object.metadata.ownerReferences)
      ) {
        file(old, false);
        if (type !== 'DELETED') file(object, true);
      }
      if (type === 'ADDED') file(object, true);
      if (type === 'DELETED' && dependents.has(object.metadata.uid)) queue.add(object.metadata.uid);
    });
  }
}
