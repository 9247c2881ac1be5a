/**
 * An IPAddress for each ClusterIP, made and removed with its Service (registry/core/service/ipallocator). One that a user
 * removes comes back, as the repair loop of kube-apiserver does; one that a user makes reserves its address.
 */
import { resourceOfKind } from '../../api/resources.ts';
import type { IPAddress, Service } from '../../api/types/objects.ts';
import type { Cluster } from '../cluster.ts';
import { keyOf, splitKey } from '../work-queue.ts';

export const MANAGED_BY = 'ipaddress.kubernetes.io/managed-by';
export const MANAGER = 'ipallocator.k8s.io';
const FAMILY = 'ipaddress.kubernetes.io/ip-family';
const RESOURCE = resourceOfKind('IPAddress')!;

/** `namespace/name` of the Service that the object is about; undefined if it is about something else. */
export function serviceOf({ spec }: IPAddress): string | undefined {
  const { group = '', resource, namespace = '', name } = spec.parentRef ?? {};
  return group === '' && resource === 'services' ? `${namespace}/${name}` : undefined;
}

export function clusterIpsOf({ spec }: Service): string[] {
  return (spec.clusterIPs ?? []).filter((ip) => ip !== '' && ip !== 'None');
}

export function startIpAddresses(cluster: Cluster): void {
  const { store } = cluster;
  const queue = cluster.queue('ip-addresses', (key) => {
    const service = store.get('Service', ...splitKey(key));
    if (service !== undefined) for (const ip of clusterIpsOf(service)) ensure(cluster, service, ip);
  });
  // In the same turn as the Service's change: whoever has its response finds the IPAddress.
  store.onCommit('Service', ({ type, object, old }) => {
    const now = type === 'DELETED' ? [] : clusterIpsOf(object);
    for (const ip of now) ensure(cluster, object, ip);
    for (const ip of old === undefined ? [] : clusterIpsOf(old))
      if (!now.includes(ip)) release(cluster, ip, keyOf(object));
  });
  store.onCommit('IPAddress', ({ type, object }) => {
    const key = type === 'DELETED' ? serviceOf(object) : undefined;
    if (key !== undefined) queue.add(key);
  });
  for (const service of store.list('Service')) for (const ip of clusterIpsOf(service)) ensure(cluster, service, ip);
  for (const address of store.list('IPAddress')) {
    const key = serviceOf(address);
    if (address.metadata.labels?.[MANAGED_BY] !== MANAGER || key === undefined) continue;
    const service = store.get('Service', ...splitKey(key));
    const ip = address.metadata.name;
    if (service === undefined || !clusterIpsOf(service).includes(ip)) release(cluster, ip, key);
  }
}

function ensure({ store, registry }: Cluster, { metadata }: Service, ip: string): void {
  if (store.get('IPAddress', undefined, ip) !== undefined) return;
  const { namespace, name } = metadata;
  registry.create(RESOURCE, undefined, {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'IPAddress',
    metadata: { name: ip, labels: { [FAMILY]: ip.includes(':') ? 'IPv6' : 'IPv4', [MANAGED_BY]: MANAGER } },
    spec: { parentRef: { namespace, name, resource: 'services' } },
  });
}

function release({ store }: Cluster, ip: string, service: string): void {
  const address = store.get('IPAddress', undefined, ip);
  if (address !== undefined && serviceOf(address) === service) store.remove(address);
}
