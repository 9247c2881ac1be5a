/**
 * One Service and its EndpointSlices → the table contents for this node: a pure function, and the boundary at which
 * Kubernetes ends.
 */
import { SERVICE_PROTOCOLS } from '../../native-free-dataplane/protocols.ts';
import type { ServicePortContents } from '../../native-free-dataplane/services/contents.ts';
import { type EndpointSlice, type Service, type ServicePort, WellKnown } from '../api/types/objects.ts';
import { networkWords, parseCidr } from '../net/address.ts';
import { endpointSets, type Place } from './endpoint-sets.ts';
import { type AddressRules, frontendsOf } from './frontends.ts';

/** Annotation that chooses the balancing: `maglev`, or anything else for random. */
export const BALANCING_ANNOTATION = 'dataplane.dev/load-balancing';

/** Kubernetes' default, in seconds (k8s.io/api/core/v1 DefaultClientIPServiceAffinitySeconds). */
const DEFAULT_AFFINITY_SECONDS = 10800;

export interface CompiledPort extends ServicePortContents {
  /** Keys (address:port) of the endpoints whose connections may continue, whether chosen for new ones or not. */
  readonly serving: readonly string[];
}

export interface CompiledService {
  readonly ports: CompiledPort[];
  /** Rejected addresses with the reason, for the log. */
  readonly refused: string[];
}

/** Does this data plane serve the Service? */
function isServed({ spec, metadata }: Service): boolean {
  if (spec.type === 'ExternalName' || !spec.clusterIP || spec.clusterIP === 'None') return false;
  const labels = metadata.labels ?? {};
  return !(WellKnown.SERVICE_PROXY_NAME in labels) && !(WellKnown.HEADLESS in labels);
}

/** Name of a service port in the tables. */
function servicePortName({ metadata }: Service, port: ServicePort): string {
  return `${metadata.namespace ?? 'default'}/${metadata.name}:${port.name ?? ''}/${port.protocol ?? 'TCP'}`;
}

/**
 * Everything that a Service requires on a node; nothing if it is not served.
 * @param rules the operator's lists of addresses; undefined: the API server has checked them
 */
export function compileService(
  service: Service,
  slices: readonly EndpointSlice[],
  place: Place,
  rules?: AddressRules,
): CompiledService {
  const ports: CompiledPort[] = [];
  const refused = new Set<string>();
  const refuse = (what: string): void => {
    refused.add(what);
  };
  for (const port of isServed(service) ? (service.spec.ports ?? []) : []) {
    const protocol = SERVICE_PROTOCOLS[port.protocol ?? 'TCP'];
    if (protocol === undefined) continue;
    const { spec, metadata } = service;
    const clientIp = spec.sessionAffinity === 'ClientIP';
    ports.push({
      name: servicePortName(service, port),
      protocol,
      frontends: frontendsOf(service, port, rules, refuse),
      ...endpointSets(port, slices, place, refuse),
      affinitySeconds: clientIp
        ? (spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? DEFAULT_AFFINITY_SECONDS)
        : 0,
      internalLocal: spec.internalTrafficPolicy === 'Local',
      externalLocal: spec.externalTrafficPolicy === 'Local',
      maglev: metadata.annotations?.[BALANCING_ANNOTATION] === 'maglev',
      ...sourceRanges(service, refuse),
    });
  }
  return { ports, refused: [...refused] };
}

/**
 * Networks of loadBalancerSourceRanges. A list without an IPv4 network admits no client; kube-proxy would admit all
 * (serviceport.go first drops the ranges of the other family), which contradicts the list's purpose.
 */
function sourceRanges(
  { spec }: Service,
  refuse: (what: string) => void,
): Pick<ServicePortContents, 'sourceRanges' | 'restricted'> {
  if (spec.type !== 'LoadBalancer' || !spec.loadBalancerSourceRanges?.length) return { sourceRanges: [] };
  const ranges = [];
  for (const text of spec.loadBalancerSourceRanges) {
    const cidr = parseCidr(text.trim());
    if (cidr === undefined) refuse(`source range ${text}: no network`);
    else if (cidr.family === 4) ranges.push(networkWords(cidr));
  }
  return { sourceRanges: ranges, restricted: true };
}
