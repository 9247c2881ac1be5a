/**
 * The API's objects that a snapshot keeps beside the tables: those that tables are compiled from, without what is of no use for
 * that, such as environments and commands of containers.
 */
import type { ApiClient } from '../../api/client/client.ts';
import { type ListedObjects, listClusterObjects } from '../../api/client/cluster-objects.ts';
import { type Container, type KubeObject, type NodeObject, type Pod, WellKnown } from '../../api/types/objects.ts';

export interface SnapshotObjects extends ListedObjects {
  /** Agents answer DNS queries: policies know that port. */
  readonly dnsByAgents: boolean;
}

/** @throws ApiError and others if the API does not respond */
export async function readSnapshotObjects(client: ApiClient, dnsByAgents: boolean): Promise<SnapshotObjects> {
  const { nodes, pods, services, slices, policies, namespaces } = await listClusterObjects(client);
  return {
    nodes: nodes.map(keptOfNode),
    pods: pods.map(keptOfPod),
    services: services.map(withPlainMetadata),
    slices: slices.map(withPlainMetadata),
    policies: policies.map((policy) => withPlainMetadata(policy as KubeObject)) as SnapshotObjects['policies'],
    namespaces: namespaces.map(({ apiVersion, kind, metadata }) => ({
      apiVersion,
      kind,
      metadata: plain(metadata),
    })),
    dnsByAgents,
  };
}

const KEPT_METADATA = ['name', 'namespace', 'uid', 'labels', 'creationTimestamp', 'deletionTimestamp'] as const;

/** Of the annotations those of Kubernetes and our own: anything may be in others. */
const isKept = (key: string): boolean =>
  /(^|\.)(kubernetes\.io|dataplane\.dev)\//.test(key) && key !== WellKnown.LAST_APPLIED;

function plain(metadata: KubeObject['metadata']): KubeObject['metadata'] {
  const kept = Object.fromEntries(
    KEPT_METADATA.flatMap((field) => (metadata[field] ? [[field, metadata[field]]] : [])),
  );
  const annotations = Object.entries(metadata.annotations ?? {}).filter(([key]) => isKept(key));
  return {
    ...kept,
    ...(annotations.length > 0 && { annotations: Object.fromEntries(annotations) }),
  } as KubeObject['metadata'];
}

const withPlainMetadata = <T extends KubeObject>(object: T): T => ({ ...object, metadata: plain(object.metadata) });

function keptOfPod({ apiVersion, kind, metadata, spec, status }: Pod): Pod {
  const { nodeName, hostNetwork, hostname, subdomain } = spec;
  const ports = (containers: readonly Container[]) =>
    containers.map(({ name, image, ports: declared }) => ({ name, image, ...(declared && { ports: declared }) }));
  return {
    apiVersion,
    kind,
    metadata: plain(metadata),
    spec: {
      nodeName,
      hostNetwork,
      hostname,
      subdomain,
      containers: ports(spec.containers),
      ...(spec.initContainers && { initContainers: ports(spec.initContainers) }),
    },
    ...(status && {
      status: { phase: status.phase, podIP: status.podIP, conditions: status.conditions },
    }),
  } as Pod;
}

function keptOfNode({ apiVersion, kind, metadata, spec, status }: NodeObject): NodeObject {
  return {
    apiVersion,
    kind,
    metadata: plain(metadata),
    spec: { podCIDR: spec?.podCIDR },
    status: { addresses: status?.addresses },
  } as NodeObject;
}
