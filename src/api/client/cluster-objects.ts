/** What the nodes' tables follow from, as the API has it now. */
import type { ClusterNetworkPolicy } from '../types/cluster-network-policy.ts';
import type { NetworkPolicy } from '../types/network-policy.ts';
import type { EndpointSlice, KubeObject, NodeObject, Pod, Service } from '../types/objects.ts';
import type { ApiClient } from './client.ts';

export interface ListedObjects {
  readonly nodes: readonly NodeObject[];
  readonly pods: readonly Pod[];
  readonly services: readonly Service[];
  readonly slices: readonly EndpointSlice[];
  readonly policies: readonly (NetworkPolicy | ClusterNetworkPolicy)[];
  readonly namespaces: readonly KubeObject[];
}

/** @throws ApiError and others if the API does not respond */
export async function listClusterObjects(client: ApiClient): Promise<ListedObjects> {
  const [nodes, pods, services, slices, policies, clusterPolicies, namespaces] = await Promise.all([
    client.list('Node'),
    client.list('Pod'),
    client.list('Service'),
    client.list('EndpointSlice'),
    client.list('NetworkPolicy'),
    client.list('ClusterNetworkPolicy'),
    client.list('Namespace'),
  ]);
  return {
    nodes: nodes.items,
    pods: pods.items,
    services: services.items,
    slices: slices.items,
    policies: [...policies.items, ...clusterPolicies.items] as unknown as ListedObjects['policies'],
    namespaces: namespaces.items,
  };
}
