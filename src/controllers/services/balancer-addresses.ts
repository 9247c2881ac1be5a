/**
 * Services of type LoadBalancer without an address, because there is no pool, it is exhausted, or the requested address
 * is in use: an event states the reason, and the service gets an address as soon as one is free. If one is free from
 * the start, it gets it at admission (admission.ts).
 */
import { resourceOfKind } from '../../api/resources.ts';
import type { Service } from '../../api/types/objects.ts';
import type { Cluster } from '../cluster.ts';
import { keyOf, splitKey } from '../work-queue.ts';
import type { ServiceAddresses } from './addresses.ts';

const SERVICES = resourceOfKind('Service')!;

const addressesOf = ({ status }: Service): number => status?.loadBalancer?.ingress?.length ?? 0;
const isWaiting = (service: Service): boolean =>
  service.spec.type === 'LoadBalancer' && service.spec.loadBalancerClass === undefined && addressesOf(service) === 0;

const NO_POOL =
  'no load-balancer address: the cluster has no pool of addresses; bring it up with `dataplane up --load-balancer-pool CIDR`';

export function startBalancerAddresses(cluster: Cluster, addresses: ServiceAddresses): void {
  const { store, registry } = cluster;
  /** Keys of services without an address, served in this order. */
  const waiting = new Set<string>();

  const queue = cluster.queue('load-balancer addresses', (key) => {
    const [namespace, name] = splitKey(key);
    const service = store.get('Service', namespace, name);
    if (service === undefined || !isWaiting(service)) return;
    if (!addresses.hasBalancerPool()) return cluster.event(service, 'Warning', 'NoAddressPool', NO_POOL);
    const { object } = registry.update(SERVICES, namespace, name, service);
    if (addressesOf(object as Service) > 0) return;
    const { loadBalancerIP } = service.spec;
    const why =
      loadBalancerIP === undefined
        ? 'no address is left in the pool (cluster option loadBalancerPool)'
        : `${loadBalancerIP} is taken, or not in the pool (cluster option loadBalancerPool)`;
    cluster.event(service, 'Warning', 'AllocationFailed', `no load-balancer address: ${why}`);
  });

  const look = (service: Service): void => {
    if (!isWaiting(service)) waiting.delete(keyOf(service));
    else if (!waiting.has(keyOf(service))) {
      waiting.add(keyOf(service));
      queue.add(keyOf(service));
    }
  };
  for (const service of store.list('Service')) look(service);
  store.onCommit('Service', ({ type, object, old }) => {
    if (type === 'DELETED') waiting.delete(keyOf(object));
    else look(object);
    const left = type === 'DELETED' ? 0 : addressesOf(object);
    if (old !== undefined && addressesOf(old) > left) for (const key of waiting) queue.add(key);
  });
}
