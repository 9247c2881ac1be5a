/**
 * Objects that every namespace needs so that its pods can use the API: the service account `default`, and the ConfigMap
 * `kube-root-ca.crt` with the authority's certificate (kube-controller-manager: serviceaccount and
 * root-ca-cert-publisher).
 */
import { resourceOfKind } from '../../api/resources.ts';
import type { Cluster } from '../cluster.ts';

export const DEFAULT_ACCOUNT = 'default';
export const ROOT_CA = 'kube-root-ca.crt';
const CA_KEY = 'ca.crt';
const DESCRIPTION = 'kubernetes.io/description';

/** @param authority PEM; undefined if the API is not served over TLS: then there is no ConfigMap */
export function startServiceAccounts(cluster: Cluster, authority: string | undefined): void {
  const { store, registry } = cluster;
  const queue = cluster.queue('service-accounts', (name) => {
    const namespace = store.get('Namespace', undefined, name);
    if (namespace === undefined || namespace.metadata.deletionTimestamp !== undefined) return;
    if (store.get('ServiceAccount', name, DEFAULT_ACCOUNT) === undefined) {
      registry.create(resourceOfKind('ServiceAccount')!, name, {
        apiVersion: 'v1',
        kind: 'ServiceAccount',
        metadata: { name: DEFAULT_ACCOUNT, namespace: name },
      });
    }
    if (authority === undefined) return;
    const data = { [CA_KEY]: authority };
    const old = store.get('ConfigMap', name, ROOT_CA);
    if (old !== undefined) {
      registry.write({ ...old, data }, old);
      return;
    }
    const annotations = { [DESCRIPTION]: "The certificate of the authority that signs the API server's certificate." };
    registry.create(resourceOfKind('ConfigMap')!, name, {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: ROOT_CA, namespace: name, annotations },
      data,
    });
  });
  for (const { metadata } of store.list('Namespace')) queue.add(metadata.name);
  store.onCommit('Namespace', ({ type, object }) => {
    if (type === 'ADDED') queue.add(object.metadata.name);
  });
  store.onCommit('ServiceAccount', ({ type, object }) => {
    if (type === 'DELETED' && object.metadata.name === DEFAULT_ACCOUNT) queue.add(object.metadata.namespace!);
  });
  store.onCommit('ConfigMap', ({ type, object }) => {
    if (type !== 'ADDED' && object.metadata.name === ROOT_CA) queue.add(object.metadata.namespace!);
  });
}
