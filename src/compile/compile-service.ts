/**
 * One Service and its EndpointSlices → what the packets of this node need: a pure function, and the border where
 * Kubernetes ends.
 *
 * Sets of endpoints are chosen here, per node, so that a packet only picks from one: kubernetes pkg/proxy/topology.go
 * CategorizeEndpoints (ready ones; hints by node, then by zone, only when every ready endpoint carries them; serving
 * while terminating when none is ready, decided for the cluster and for this node apart).
 */
import { addressWords, parseCidr } from '../../native-free-dataplane/frame/address.ts';
import type {
  EndpointContents,
  FrontendContents,
  ServicePortContents,
} from '../../native-free-dataplane/tables/service-writer.ts';
import { FrontendKind } from '../../native-free-dataplane/tables/services.ts';
import { type EndpointSlice, type Service, type ServicePort, type SliceEndpoint, WellKnown } from '../api/types.ts';

/** Annotation that chooses how a connection picks its endpoint. */
export const BALANCING_ANNOTATION = 'dataplane.dev/load-balancing';

const PROTOCOLS: Record<string, number> = { TCP: 6, UDP: 17, SCTP: 132 };
const DEFAULT_AFFINITY_SECONDS = 10800;
const NO_ADDRESS = new Int32Array(4);

/** Where the compiled node stands. */
export interface Place {
  readonly nodeName: string;
  readonly zone?: string | undefined;
}

interface Candidate {
  readonly contents: EndpointContents;
  readonly source: SliceEndpoint;
}

/** Does this data plane serve the Service at all? */
export function isServed(service: Service): boolean {
  const { spec, metadata } = service;
  if (spec.type === 'ExternalName' || !spec.clusterIP || spec.clusterIP === 'None') return false;
  const labels = metadata.labels ?? {};
  return !(WellKnown.SERVICE_PROXY_NAME in labels) && !(WellKnown.HEADLESS in labels);
}

/** Name of a service port in the tables. */
export function servicePortName(service: Service, port: ServicePort): string {
  const { namespace = 'default', name } = service.metadata;
  return `${namespace}/${name}:${port.name ?? ''}/${port.protocol ?? 'TCP'}`;
}

/** Everything a Service puts in force on a node; empty when it is not served. */
export function compileService(service: Service, slices: readonly EndpointSlice[], place: Place): ServicePortContents[] {
  if (!isServed(service)) return [];
  return (service.spec.ports ?? []).flatMap((port) => {
    const protocol = PROTOCOLS[port.protocol ?? 'TCP'];
    return protocol === undefined ? [] : [compilePort(service, port, protocol, slices, place)];
  });
}

function compilePort(
  service: Service,
  port: ServicePort,
  protocol: number,
  slices: readonly EndpointSlice[],
  place: Place,
): ServicePortContents {
  const { spec, metadata } = service;
  const all = candidatesOf(port, slices);
  const isLocal = ({ source }: Candidate): boolean => source.nodeName === place.nodeName;
  const ready = all.filter(({ source }) => source.conditions?.ready !== false);
  const draining = all.filter(({ source }) => isServing(source) && source.conditions?.terminating === true && source.conditions?.ready === false);
  const cluster = ready.length > 0 ? nearest(ready, service, place) : draining;
  const readyHere = ready.filter(isLocal);
  const local = readyHere.length > 0 ? readyHere : draining.filter(isLocal);
  const contents = (candidates: Candidate[]): EndpointContents[] => candidates.map((candidate) => candidate.contents);
  return {
    name: servicePortName(service, port),
    protocol,
    frontends: frontendsOf(service, port),
    cluster: contents(cluster),
    local: contents(local),
    affinitySeconds:
      spec.sessionAffinity === 'ClientIP' ? (spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? DEFAULT_AFFINITY_SECONDS) : 0,
    internalLocal: spec.internalTrafficPolicy === 'Local',
    externalLocal: spec.externalTrafficPolicy === 'Local',
    hasEndpoints: ready.length + draining.length > 0,
    maglev: metadata.annotations?.[BALANCING_ANNOTATION] === 'maglev',
    sourceRanges: (spec.loadBalancerSourceRanges ?? []).map((text) => parseCidr(text.trim())),
  };
}

function isServing(endpoint: SliceEndpoint): boolean {
  return endpoint.conditions?.serving ?? endpoint.conditions?.ready ?? true;
}

/** All endpoints of a service port over its slices; an address in two slices counts once. */
function candidatesOf(port: ServicePort, slices: readonly EndpointSlice[]): Candidate[] {
  const found = new Map<string, Candidate>();
  for (const slice of slices) {
    if (slice.addressType !== 'IPv4') continue;
    const slicePort = slice.ports?.find(
      (candidate) => (candidate.name ?? '') === (port.name ?? '') && (candidate.protocol ?? 'TCP') === (port.protocol ?? 'TCP'),
    );
    if (slicePort?.port === undefined) continue;
    for (const source of slice.endpoints ?? []) {
      const address = source.addresses[0];
      if (address === undefined) continue;
      const key = `${address}:${slicePort.port}/${port.protocol ?? 'TCP'}`;
      const known = found.get(key);
      if (known && known.source.conditions?.ready !== false) continue;
      found.set(key, { contents: { address: addressWords(address), port: slicePort.port, key }, source });
    }
  }
  return [...found.values()].sort((a, b) => (a.contents.key < b.contents.key ? -1 : 1));
}

/** Topology hints: this node's, else this zone's, when every ready endpoint carries them and one is for us. */
function nearest(ready: Candidate[], service: Service, place: Place): Candidate[] {
  const byNode = ({ source }: Candidate): string[] => (source.hints?.forNodes ?? []).map(({ name }) => name);
  const byZone = ({ source }: Candidate): string[] => (source.hints?.forZones ?? []).map(({ name }) => name);
  const matching = (hints: (candidate: Candidate) => string[], own: string | undefined): Candidate[] =>
    own !== undefined && ready.every((candidate) => hints(candidate).length > 0)
      ? ready.filter((candidate) => hints(candidate).includes(own))
      : [];
  const here = matching(byNode, place.nodeName);
  if (here.length > 0) return here;
  const zone = matching(byZone, place.zone);
  if (zone.length > 0) return zone;
  return distributed(ready, service, place);
}

/** trafficDistribution without hints in the slices: the same rule, from where the endpoints are. */
function distributed(ready: Candidate[], service: Service, place: Place): Candidate[] {
  const wish = service.spec.trafficDistribution;
  if (wish === 'PreferSameNode') {
    const here = ready.filter(({ source }) => source.nodeName === place.nodeName);
    if (here.length > 0) return here;
  }
  if (wish !== undefined && place.zone !== undefined) {
    const zone = ready.filter(({ source }) => source.zone === place.zone);
    if (zone.length > 0) return zone;
  }
  return ready;
}

/** Addresses at which the port can be asked for. */
function frontendsOf(service: Service, port: ServicePort): FrontendContents[] {
  const { spec, status } = service;
  const frontends: FrontendContents[] = [];
  const add = (kind: FrontendKind, text: string | undefined): void => {
    if (text?.includes('.')) frontends.push({ kind, address: addressWords(text), port: port.port });
  };
  for (const ip of spec.clusterIPs?.length ? spec.clusterIPs : [spec.clusterIP]) add(FrontendKind.CLUSTER_IP, ip);
  for (const ip of spec.externalIPs ?? []) add(FrontendKind.EXTERNAL_IP, ip);
  for (const { ip, ipMode } of status?.loadBalancer?.ingress ?? []) if (ipMode !== 'Proxy') add(FrontendKind.LOAD_BALANCER, ip);
  if (port.nodePort) frontends.push({ kind: FrontendKind.NODE_PORT, address: NO_ADDRESS, port: port.nodePort });
  return frontends;
}
