/**
 * The Service `kube-system/kube-dns`, through which pods find their name server: the one in the agent of their own
 * node. Its EndpointSlice has one endpoint per node, and its internal traffic policy keeps every query on its own node.
 * If either is deleted or changed, it is restored.
 */
import { clusterDnsAddress, DNS_PORT } from '../../api/cluster-options.ts';
import { internalIpOf } from '../../api/node-identity.ts';
import { isReady } from '../../api/ready.ts';
import { resourceOfKind } from '../../api/resources.ts';
import { type EndpointSlice, type NodeObject, type Service, WellKnown } from '../../api/types/objects.ts';
import type { Cidr } from '../../net/address.ts';
import type { Cluster } from '../cluster.ts';

const NAMESPACE = 'kube-system';
const NAME = 'kube-dns';
const PORTS = [
  { name: 'dns', protocol: 'UDP' },
  { name: 'dns-tcp', protocol: 'TCP' },
] as const;

/** Maintains the Service and its slice. */
export function startClusterDns(cluster: Cluster, serviceRange: Cidr): void {
  const { store } = cluster;
  const service = serviceOf(clusterDnsAddress(serviceRange));
  const queue = cluster.queue('cluster-dns', () => {
    ensure(cluster, service);
    ensure(cluster, sliceOf(store.list('Node')));
  });
  for (const kind of ['Service', 'EndpointSlice'] as const) {
    store.onCommit(kind, ({ object }) => {
      if (object.metadata.namespace === NAMESPACE && object.metadata.name === NAME) queue.add(NAME);
    });
  }
  store.onCommit('Node', ({ type, object, old }) => {
    if (
      type !== 'MODIFIED' ||
      old === undefined ||
      isReady(old) !== isReady(object) ||
      internalIpOf(old) !== internalIpOf(object)
    )
      queue.add(NAME);
  });
  try {
    // Before any other Service can claim the address.
    ensure(cluster, service);
    ensure(cluster, sliceOf(store.list('Node')));
  } catch (error) {
    // A cluster of an earlier version, without DNS, may have allocated the address to another Service. It still starts.
    cluster.log(`cluster-dns: ${(error as Error).message}: pods have no DNS until the address is free`);
  }
}

function ensure({ store, registry }: Cluster, object: Service | EndpointSlice): void {
  const old = store.get(object.kind, NAMESPACE, NAME);
  if (old === undefined) registry.create(resourceOfKind(object.kind)!, NAMESPACE, object);
  else {
    const metadata = { ...old.metadata, labels: { ...old.metadata.labels, ...object.metadata.labels } };
    if (object.kind === 'Service') {
      // User additions to the Service are kept, except where it leads.
      const before = old as Service;
      registry.write({ ...before, metadata, spec: { ...before.spec, ...object.spec } }, before);
    } else registry.write({ ...object, metadata } as EndpointSlice, old as EndpointSlice);
  }
}

function serviceOf(clusterIP: string): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name: NAME,
      namespace: NAMESPACE,
      labels: { 'k8s-app': NAME, 'kubernetes.io/name': 'DNS' },
    } as unknown as Service['metadata'],
    spec: {
      type: 'ClusterIP',
      clusterIP,
      clusterIPs: [clusterIP],
      internalTrafficPolicy: 'Local',
      ports: PORTS.map(({ name, protocol }) => ({ name, protocol, port: 53, targetPort: DNS_PORT })),
    },
  };
}

function sliceOf(nodes: readonly NodeObject[]): EndpointSlice {
  const endpoints = nodes.flatMap((node) => {
    const address = internalIpOf(node);
    if (address === undefined) return [];
    return [{ addresses: [address], conditions: { ready: isReady(node) }, nodeName: node.metadata.name }];
  });
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: NAME,
      namespace: NAMESPACE,
      labels: { [WellKnown.SERVICE_NAME]: NAME, 'endpointslice.kubernetes.io/managed-by': 'cluster-dns.dataplane.dev' },
    } as unknown as EndpointSlice['metadata'],
    addressType: 'IPv4',
    endpoints,
    ports: PORTS.map(({ name, protocol }) => ({ name, protocol, port: DNS_PORT })),
  };
}
