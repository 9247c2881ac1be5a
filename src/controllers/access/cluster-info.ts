/**
 * How machines find this cluster and its authority before they are known to it: a kubeconfig without a user, in a
 * ConfigMap that everybody may read, as kubeadm publishes it (KEP 130; cmd/kubeadm/app/phases/bootstraptoken/clusterinfo).
 */
import { CLUSTER_INFO } from '../../api/access/authorization.ts';
import { resourceOfKind } from '../../api/resources.ts';
import type { Cluster } from '../cluster.ts';

/** @param server URL by which machines reach the API. @param authority PEM */
export function publishClusterInfo({ store, registry }: Cluster, server: string, authority: string): void {
  const { namespace, name, key } = CLUSTER_INFO;
  const data = { [key]: clusterKubeconfig(server, authority) };
  const old = store.get('ConfigMap', namespace, name);
  if (old !== undefined) registry.write({ ...old, data }, old);
  else {
    const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace }, data };
    registry.create(resourceOfKind('ConfigMap')!, namespace, object);
  }
}

const clusterKubeconfig = (server: string, authority: string): string => `apiVersion: v1
kind: Config
clusters:
- name: ""
  cluster:
    server: ${server}
    certificate-authority-data: ${Buffer.from(authority).toString('base64')}
contexts: []
users: []
preferences: {}
current-context: ""
`;
