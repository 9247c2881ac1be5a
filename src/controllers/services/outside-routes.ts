/**
 * Routes from outside the cluster: for every external and load-balancer address of a Service the nodes that would
 * accept its traffic, as a cloud's load balancer (or BGP) would learn from the health checks.
 *
 * Policy Cluster: every Ready node. Policy Local: nodes with a ready endpoint; if there is none anywhere, nodes whose
 * endpoints still serve while terminating; else every node, so that clients are refused at once. With session affinity
 * only one of them, because each node has its own affinity table.
 */
import { nameHash } from '../../../native-free-dataplane/services/maglev.ts';
import { internalIpOf } from '../../api/node-identity.ts';
import { isReady } from '../../api/ready.ts';
import type { EndpointSlice, NodeObject, Service, SliceEndpoint } from '../../api/types/objects.ts';
import { WellKnown } from '../../api/types/objects.ts';
import type { Cluster } from '../cluster.ts';
import { keyOf } from '../work-queue.ts';

/** Address → underlay addresses of the nodes, sorted. Addresses without any node are omitted. */
export type OutsideRoutes = ReadonlyMap<string, readonly string[]>;

/** Addresses of a Service for use from outside. IPv4 only. */
export function outsideAddresses({ spec, status }: Service): string[] {
  if (spec.type === 'ExternalName' || !spec.clusterIP || spec.clusterIP === 'None') return [];
  const ingress = spec.type === 'LoadBalancer' ? (status?.loadBalancer?.ingress ?? []) : [];
  const balanced = ingress.filter(({ ipMode }) => ipMode !== 'Proxy').map(({ ip }) => ip);
  return [...(spec.externalIPs ?? []), ...balanced].filter((ip): ip is string => ip?.includes('.') === true);
}

/** Underlay addresses of the nodes that should receive the traffic of a Service from outside. */
export function nodesFor(service: Service, slices: readonly EndpointSlice[], nodes: readonly NodeObject[]): string[] {
  const ready = nodes.filter(isReady);
  const able = ready.length > 0 ? ready : nodes;
  const having = (wanted: (endpoint: SliceEndpoint) => boolean): NodeObject[] => {
    const names = new Set(slices.flatMap(({ endpoints }) => endpoints.filter(wanted).map(({ nodeName }) => nodeName)));
    return able.filter(({ metadata }) => names.has(metadata.name));
  };
  let chosen = able;
  if (service.spec.externalTrafficPolicy === 'Local') {
    chosen = having(({ conditions }) => conditions?.ready ?? true);
    if (chosen.length === 0) chosen = having(({ conditions }) => conditions?.serving ?? false);
    if (chosen.length === 0) chosen = able;
  }
  const addresses = chosen
    .map(internalIpOf)
    .filter((ip): ip is string => ip !== undefined)
    .sort();
  return service.spec.sessionAffinity === 'ClientIP' ? favourite(keyOf(service), addresses) : addresses;
}

/** One of several, the same while it exists (rendezvous hashing, Thaler and Ravishankar 1998). */
function favourite(key: string, addresses: readonly string[]): string[] {
  const weight = (ip: string): number => nameHash(`${key} ${ip}`, 0) >>> 0;
  return [...addresses].sort((one, other) => weight(other) - weight(one)).slice(0, 1);
}

/** Calls `apply` with all routes, at the start and after every change. */
export function startOutsideRoutes(cluster: Cluster, apply: (routes: OutsideRoutes) => void): void {
  const { store } = cluster;
  /** Keys of the Services with such addresses: changes of others are ignored. */
  const external = new Set<string>();
  let last: string | undefined;

  const queue = cluster.queue('outside routes', () => {
    const routes = new Map<string, string[]>();
    const nodes = external.size > 0 ? store.list('Node') : [];
    const slices = new Map<string, EndpointSlice[]>();
    for (const slice of external.size > 0 ? store.list('EndpointSlice') : []) {
      const key = serviceKey(slice);
      if (external.has(key)) slices.set(key, [...(slices.get(key) ?? []), slice]);
    }
    for (const service of external.size > 0 ? store.list('Service') : []) {
      if (!external.has(keyOf(service))) continue;
      const hops = nodesFor(service, slices.get(keyOf(service)) ?? [], nodes);
      for (const ip of outsideAddresses(service)) {
        // Two Services may share an address with different ports: use all nodes of both.
        const all = [...new Set([...(routes.get(ip) ?? []), ...hops])].sort();
        if (all.length > 0) routes.set(ip, all);
      }
    }
    const text = JSON.stringify([...routes].sort());
    if (text === last) return;
    last = text;
    apply(routes);
  });

  const file = (service: Service): boolean => {
    const has = outsideAddresses(service).length > 0;
    const had = has ? external.has(keyOf(service)) : external.delete(keyOf(service));
    if (has) external.add(keyOf(service));
    return has || had;
  };
  for (const service of store.list('Service')) file(service);
  queue.add('all');
  store.onCommit('Service', ({ type, object }) => {
    if (type === 'DELETED' ? external.delete(keyOf(object)) : file(object)) queue.add('all');
  });
  store.onCommit('EndpointSlice', ({ object }) => {
    if (external.has(serviceKey(object))) queue.add('all');
  });
  store.onCommit('Node', () => {
    if (external.size > 0) queue.add('all');
  });
}

const serviceKey = ({ metadata }: EndpointSlice): string =>
  `${metadata.namespace ?? ''}/${metadata.labels?.[WellKnown.SERVICE_NAME] ?? ''}`;
