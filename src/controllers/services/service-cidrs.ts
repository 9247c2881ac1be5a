/**
 * ServiceCIDRs: `kubernetes`, the cluster's service network, exists always; each further one that is Ready extends the
 * addresses of Services. One that is deleted goes when no address is left that lies in no other
 * (pkg/controller/servicecidrs, pkg/controlplane/controller/defaultservicecidr).
 */
import { forbidden } from '../../api/errors.ts';
import { resourceOfKind } from '../../api/resources.ts';
import type { Admission } from '../../api/store/registry.ts';
import type { Condition, IPAddress, ServiceCIDR } from '../../api/types/objects.ts';
import { type Cidr, contains, overlap, parseCidr, parseIp, printCidr } from '../../net/address.ts';
import { type Cluster, withCondition } from '../cluster.ts';
import { MANAGED_BY, MANAGER } from './ip-addresses.ts';

const NAME = 'kubernetes';
const FINALIZER = 'networking.k8s.io/service-cidr-finalizer';
const RESOURCE = resourceOfKind('ServiceCIDR')!;

const BLOCKED: Condition = {
  type: 'Ready',
  status: 'False',
  reason: 'Terminating',
  message: 'There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR',
};
const ready = (what: string): Condition => ({
  type: 'Ready',
  status: 'True',
  reason: '',
  message: `Kubernetes ${what} is ready`,
});

/** @param others networks of the cluster in which no Service may be */
export function serviceCidrAdmission(others: readonly Cidr[]): Admission<ServiceCIDR> {
  return {
    admit(object, old) {
      if (old !== undefined) return object;
      for (const text of object.spec.cidrs ?? []) {
        const taken = others.find((other) => overlap(other, parseCidr(text)!));
        if (taken === undefined) continue;
        throw forbidden(
          RESOURCE,
          object.metadata.name,
          `${text} overlaps with the cluster's network ${printCidr(taken)}`,
        );
      }
      return object;
    },
  };
}

export function startServiceCidrs(cluster: Cluster, serviceRange: Cidr): void {
  const { store, registry } = cluster;
  const queue = cluster.queue('service-cidrs', (name) => {
    const object = store.get('ServiceCIDR', undefined, name);
    if (object !== undefined) settle(cluster, object);
    else if (name === NAME) makeDefault();
  });
  const makeDefault = () => {
    const spec = { cidrs: [printCidr(serviceRange)] };
    const object = { apiVersion: 'networking.k8s.io/v1', kind: 'ServiceCIDR', metadata: { name: NAME }, spec };
    registry.create(RESOURCE, undefined, object);
  };
  store.onCommit('ServiceCIDR', ({ object }) => queue.add(object.metadata.name));
  store.onCommit('IPAddress', ({ type }) => {
    if (type !== 'DELETED') return;
    for (const { metadata } of store.list('ServiceCIDR')) if (metadata.deletionTimestamp) queue.add(metadata.name);
  });
  if (store.get('ServiceCIDR', undefined, NAME) === undefined) makeDefault();
  for (const object of store.list('ServiceCIDR')) settle(cluster, object);
}

function settle({ store, registry }: Cluster, object: ServiceCIDR): void {
  const { name, finalizers = [], deletionTimestamp } = object.metadata;
  const conditions = object.status?.conditions;
  if (deletionTimestamp === undefined) {
    const condition = ready(name === NAME ? 'default Service CIDR' : 'Service CIDR');
    const metadata = finalizers.includes(FINALIZER)
      ? object.metadata
      : { ...object.metadata, finalizers: [...finalizers, FINALIZER] };
    registry.write({ ...object, metadata, status: { conditions: withCondition(conditions, condition) } }, object);
  } else if (holdsLastAddress(store.list('IPAddress'), store.list('ServiceCIDR'), object)) {
    registry.write({ ...object, status: { conditions: withCondition(conditions, BLOCKED) } }, object);
  } else {
    const rest = finalizers.filter((finalizer) => finalizer !== FINALIZER);
    registry.write({ ...object, metadata: { ...object.metadata, finalizers: rest } }, object);
  }
}

/** Would an address lie in no ServiceCIDR any more? Those that are being deleted too do not count. */
function holdsLastAddress(addresses: readonly IPAddress[], all: readonly ServiceCIDR[], object: ServiceCIDR): boolean {
  const rangesOf = ({ spec }: ServiceCIDR) => (spec.cidrs ?? []).flatMap((text) => parseCidr(text) ?? []);
  const own = rangesOf(object);
  const others = all.filter((one) => one !== object && !one.metadata.deletionTimestamp).flatMap(rangesOf);
  return addresses.some(({ metadata: { name, labels } }) => {
    const ip = labels?.[MANAGED_BY] === MANAGER ? parseIp(name) : undefined;
    const within = (range: Cidr) => ip !== undefined && contains(range, ip);
    return own.some(within) && !others.some(within);
  });
}
