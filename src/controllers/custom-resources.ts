/**
 * Deletion of a CustomResourceDefinition: first its instances, then itself
 * (apiextensions-apiserver/pkg/controller/finalizer).
 */
import { CLEANUP } from '../api/custom/definition.ts';
import type { Resource } from '../api/resources.ts';
import type { KubeObject } from '../api/types/objects.ts';
import type { Cluster } from './cluster.ts';

export function startCustomResourceCleanup(cluster: Cluster): void {
  const { store, registry } = cluster;
  const queue = cluster.queue('custom-resources', (name) => {
    const definition: KubeObject | undefined = store.get('CustomResourceDefinition', undefined, name);
    const finalizers = definition?.metadata.finalizers ?? [];
    if (definition?.metadata.deletionTimestamp === undefined || !finalizers.includes(CLEANUP)) return;
    const resource = registry.kinds.kinds().find(({ plural, group }) => `${plural}.${group}` === name);
    if (resource !== undefined && deleteAll(cluster, resource) > 0) return; // queued again when the last one is gone
    const left = finalizers.filter((finalizer) => finalizer !== CLEANUP);
    const { finalizers: _before, ...metadata } = definition.metadata;
    registry.write(
      { ...definition, metadata: { ...metadata, ...(left.length > 0 && { finalizers: left }) } },
      definition,
    );
  });
  store.onCommit('CustomResourceDefinition', ({ object }) => queue.add(object.metadata.name));
  for (const { metadata } of store.list('CustomResourceDefinition')) queue.add(metadata.name);
  registry.kinds.onKind(({ key, plural, group }) => {
    store.onCommit(key, ({ type }) => {
      if (type === 'DELETED') queue.add(`${plural}.${group}`);
    });
  });
}

/** Deletes the instances; returns how many still exist. */
function deleteAll({ store, registry }: Cluster, resource: Resource): number {
  for (const { metadata } of store.list(resource.key) as KubeObject[]) {
    if (metadata.deletionTimestamp === undefined) registry.delete(resource, metadata.namespace, metadata.name);
  }
  return store.list(resource.key).length;
}
