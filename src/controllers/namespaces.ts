/** The namespaces that every cluster has, and the deletion of a namespace: first its contents, then itself. */
import { ApiError, forbidden } from '../api/errors.ts';
import { RESOURCES, type Resource, resourceOfKind } from '../api/resources.ts';
import type { Admission } from '../api/store/registry.ts';
import { type NamespaceObject, NODE_LEASES } from '../api/types/objects.ts';
import type { Cluster } from './cluster.ts';

const NAMESPACES = resourceOfKind('Namespace')!;
const ALWAYS_THERE: readonly string[] = ['default', 'kube-system', 'kube-public', NODE_LEASES];

export const namespaceAdmission: Admission<NamespaceObject> = {
  checkDelete({ metadata: { name } }) {
    if (ALWAYS_THERE.includes(name)) throw forbidden(NAMESPACES, name, 'this namespace may not be deleted');
  },
};

export function startNamespaceController(cluster: Cluster): void {
  const { store, registry } = cluster;
  for (const name of ALWAYS_THERE) {
    if (store.get('Namespace', undefined, name)) continue;
    registry.create(NAMESPACES, undefined, { apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
  }
  const content: Resource[] = [];
  const ending = new Set<string>();
  const queue = cluster.queue('namespaces', (name) => {
    const namespace = store.get('Namespace', undefined, name);
    if (namespace?.metadata.deletionTimestamp === undefined) {
      ending.delete(name);
      return;
    }
    for (const resource of content) {
      for (const { metadata } of store.list(resource.key, name)) {
        if (metadata.deletionTimestamp === undefined) deleteQuietly(cluster, resource, name, metadata.name);
      }
    }
    // Pods terminate later; the removal of the last one queues the namespace again.
    if (content.every(({ key }) => store.count(key, name) === 0)) {
      ending.delete(name);
      store.remove(namespace);
    }
  });
  const begin = (namespace: NamespaceObject) => {
    if (namespace.metadata.deletionTimestamp === undefined) return;
    ending.add(namespace.metadata.name);
    queue.add(namespace.metadata.name);
  };
  store.onCommit('Namespace', ({ type, object }) => {
    if (type !== 'DELETED') begin(object);
  });
  for (const namespace of store.list('Namespace')) begin(namespace);
  const follow = (resource: Resource) => {
    if (!resource.namespaced) return;
    content.push(resource);
    store.onCommit(resource.key, ({ type, object }) => {
      const { namespace = '' } = object.metadata;
      if (type !== 'MODIFIED' && ending.has(namespace)) queue.add(namespace);
    });
  };
  for (const resource of RESOURCES) follow(resource);
  registry.kinds.onKind(follow);
}

function deleteQuietly(cluster: Cluster, resource: Resource, namespace: string, name: string): void {
  try {
    cluster.registry.delete(resource, namespace, name);
  } catch (error) {
    if (!(error instanceof ApiError && error.code === 404)) throw error;
  }
}
