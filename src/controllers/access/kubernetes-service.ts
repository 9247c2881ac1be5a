/**
 * The Service `default/kubernetes`, through which pods find the API, with its Endpoints and EndpointSlice. They exist
 * while the API has an address that pods can reach; if one is deleted or changed, it is restored (kube-apiserver,
 * pkg/controlplane/controller/kubernetesservice).
 */
import { resourceOfKind } from '../../api/resources.ts';
import { type EndpointSlice, type Endpoints, type Service, WellKnown } from '../../api/types/objects.ts';
import { type Cidr, printIp } from '../../net/address.ts';
import type { Cluster } from '../cluster.ts';

const NAMESPACE = 'default';
const NAME = 'kubernetes';
const PORT_NAME = 'https';
const SERVICE_PORT = 443;

/** The service network's first address, reserved for this Service. */
export function kubernetesServiceAddress(serviceRange: Cidr): string {
  return printIp({ family: serviceRange.family, value: serviceRange.first + 1n });
}

/** Maintains the three objects. `endpoint`: where the API listens for pods. */
export function startKubernetesService(
  cluster: Cluster,
  serviceRange: Cidr,
  endpoint: { address: string; port: number },
): void {
  const { store } = cluster;
  const objects = wanted(kubernetesServiceAddress(serviceRange), endpoint);
  const queue = cluster.queue('kubernetes-service', () => {
    for (const object of objects) ensure(cluster, object);
  });
  for (const { kind } of objects) {
    store.onCommit(kind, ({ object }) => {
      if (object.metadata.namespace === NAMESPACE && object.metadata.name === NAME) queue.add(NAME);
    });
  }
  // Before any other Service can claim the address.
  for (const object of objects) ensure(cluster, object);
}

type Kept = Service | Endpoints | EndpointSlice;

function ensure({ store, registry }: Cluster, object: Kept): void {
  const old = store.get(object.kind, NAMESPACE, NAME) as Kept | undefined;
  if (old === undefined) {
    registry.create(resourceOfKind(object.kind)!, NAMESPACE, object);
    return;
  }
  const labels = { ...old.metadata.labels, ...object.metadata.labels };
  const metadata = { ...old.metadata, labels };
  // User additions to the Service are kept, but its address and port stay.
  if (object.kind === 'Service')
    registry.write({ ...old, metadata, spec: { ...(old as Service).spec, ...object.spec } } as Service, old as Service);
  else registry.write({ ...old, ...object, metadata } as Endpoints, old as Endpoints);
}

function wanted(clusterIP: string, { address, port }: { address: string; port: number }): Kept[] {
  const metadata = (labels: Record<string, string>) =>
    ({ name: NAME, namespace: NAMESPACE, labels }) as Service['metadata'];
  const service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: metadata({ component: 'apiserver', provider: 'kubernetes' }),
    spec: {
      type: 'ClusterIP',
      clusterIP,
      clusterIPs: [clusterIP],
      ports: [{ name: PORT_NAME, port: SERVICE_PORT, protocol: 'TCP', targetPort: port }],
    },
  } as Service;
  const endpoints = {
    apiVersion: 'v1',
    kind: 'Endpoints',
    // We create its slice ourselves, with a name of its own.
    metadata: metadata({ [WellKnown.SKIP_MIRROR]: 'true' }),
    subsets: [{ addresses: [{ ip: address }], ports: [{ name: PORT_NAME, port, protocol: 'TCP' }] }],
  } as Endpoints;
  const slice = {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: metadata({ [WellKnown.SERVICE_NAME]: NAME }),
    addressType: 'IPv4',
    endpoints: [{ addresses: [address], conditions: { ready: true } }],
    ports: [{ name: PORT_NAME, port, protocol: 'TCP' }],
  } as EndpointSlice;
  return [service, endpoints, slice];
}
