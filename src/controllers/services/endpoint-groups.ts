/**
 * The endpoints of a service, from its pods or from an Endpoints object: pure functions. A group is a set of endpoints
 * with the same address family and ports; pods whose named target port resolves to different numbers are in different
 * groups (k8s.io/endpointslice/reconciler.go).
 */
import { isEnded } from '../../api/pod-phase.ts';
import { isReady } from '../../api/ready.ts';
import type {
  EndpointAddress,
  EndpointPort,
  EndpointSubset,
  Endpoints,
  NodeObject,
  Pod,
  Service,
  ServicePort,
  SliceEndpoint,
  SlicePort,
} from '../../api/types/objects.ts';
import { parseIp } from '../../net/address.ts';
import { whyNotEndpoint } from '../../net/reserved.ts';

export interface EndpointGroup {
  addressType: 'IPv4' | 'IPv6';
  ports: SlicePort[];
  endpoints: SliceEndpoint[];
}

/** Endpoints beyond this are omitted from the Endpoints object, which is marked accordingly (KEP-752). */
const MAX_ENDPOINTS = 1000;

/** Zone of a node, by name. */
export type ZoneOf = (nodeName: string) => string | undefined;

interface Candidate {
  pod: Pod;
  ip: string;
  family: 4 | 6;
  ports: SlicePort[];
  ready: boolean;
}

/** Running pods with a usable address; terminated pods are not endpoints (k/k #109414). */
function candidates(service: Service, pods: readonly Pod[]): Candidate[] {
  const found: Candidate[] = [];
  for (const pod of pods) {
    const podIP = pod.status?.podIP;
    if (isEnded(pod) || !podIP) continue;
    const ip = parseIp(podIP);
    if (ip === undefined || whyNotEndpoint(ip) !== undefined) continue;
    const ports: SlicePort[] = [];
    for (const port of service.spec.ports ?? []) {
      const number = targetPortOf(pod, port);
      if (number === undefined) continue;
      const { name = '', protocol = 'TCP', appProtocol } = port;
      ports.push({ name, protocol, port: number, ...(appProtocol && { appProtocol }) });
    }
    found.push({ pod, ip: podIP, family: ip.family, ports, ready: isReady(pod) });
  }
  return found.sort((a, b) => (a.pod.metadata.name < b.pod.metadata.name ? -1 : 1));
}

/** The number of a target port on this pod; undefined if no container has a port of that name and protocol. */
function targetPortOf(pod: Pod, { port, targetPort = port, protocol = 'TCP' }: ServicePort): number | undefined {
  if (typeof targetPort === 'number') return targetPort;
  for (const container of pod.spec.containers) {
    for (const p of container.ports ?? []) {
      if (p.name === targetPort && (p.protocol ?? 'TCP') === protocol) return p.containerPort;
    }
  }
  return undefined;
}

const podRef = ({ metadata: { namespace, name, uid } }: Pod) => ({
  kind: 'Pod',
  ...(namespace && { namespace }),
  name,
  uid,
});

/** A pod has a DNS name under the service only if its subdomain is the service (dns-pod-service). */
const hostnameOf = ({ spec }: Pod, service: Service) =>
  spec.hostname && spec.subdomain === service.metadata.name ? { hostname: spec.hostname } : {};

/** Desired content of the service's slices. Never empty: a service without endpoints has one empty group. */
export function groupsFromPods(service: Service, pods: readonly Pod[], zoneOf: ZoneOf): EndpointGroup[] {
  const groups = new Map<string, EndpointGroup>();
  for (const { pod, ip, family, ports, ready: serving } of candidates(service, pods)) {
    const terminating = pod.metadata.deletionTimestamp !== undefined;
    const ready = service.spec.publishNotReadyAddresses === true || (serving && !terminating);
    const { nodeName } = pod.spec;
    const zone = nodeName ? zoneOf(nodeName) : undefined;
    const endpoint: SliceEndpoint = {
      addresses: [ip],
      conditions: { ready, serving, terminating },
      ...hostnameOf(pod, service),
      ...(nodeName && { nodeName }),
      ...(zone && { zone }),
      ...hintsOf(service, ready, zone, nodeName),
      targetRef: podRef(pod),
    };
    addTo(groups, family === 4 ? 'IPv4' : 'IPv6', ports, endpoint);
  }
  if (groups.size === 0) return [{ addressType: 'IPv4', ports: [], endpoints: [] }];
  return [...groups.values()];
}

/** KEP-4444, KEP-3015: the requested traffic distribution, as hints for every ready endpoint. */
function hintsOf({ spec }: Service, ready: boolean, zone: string | undefined, node: string | undefined) {
  if (spec.trafficDistribution === undefined || !ready) return {};
  const forZones = zone ? { forZones: [{ name: zone }] } : {};
  const forNodes = spec.trafficDistribution === 'PreferSameNode' && node ? { forNodes: [{ name: node }] } : {};
  const hints = { ...forZones, ...forNodes };
  return Object.keys(hints).length > 0 ? { hints } : {};
}

function addTo(
  groups: Map<string, EndpointGroup>,
  addressType: 'IPv4' | 'IPv6',
  ports: SlicePort[],
  endpoint: SliceEndpoint,
): void {
  const key = groupKey(addressType, ports);
  const group = groups.get(key);
  if (group !== undefined) group.endpoints.push(endpoint);
  else groups.set(key, { addressType, ports, endpoints: [endpoint] });
}

/** Equal for groups and slices that belong together. */
export function groupKey(addressType: string, ports: readonly SlicePort[] | undefined): string {
  const sorted = (ports ?? []).map((p) => JSON.stringify([p.name ?? '', p.protocol ?? 'TCP', p.port, p.appProtocol]));
  return `${addressType} ${sorted.sort().join()}`;
}

/** Desired content of the slices mirrored from a hand-written Endpoints object. */
export function groupsFromEndpoints(endpoints: Endpoints, zoneOf: ZoneOf): EndpointGroup[] {
  const groups = new Map<string, EndpointGroup>();
  const add = (subset: EndpointSubset, addresses: readonly EndpointAddress[] | undefined, ready: boolean) => {
    const ports = (subset.ports ?? []).map((p) => ({
      ...p,
      name: p.name ?? '',
      protocol: p.protocol ?? ('TCP' as const),
    }));
    for (const { ip: text, hostname, nodeName, targetRef } of addresses ?? []) {
      const ip = parseIp(text);
      if (ip === undefined || whyNotEndpoint(ip) !== undefined) continue;
      const zone = nodeName ? zoneOf(nodeName) : undefined;
      addTo(groups, ip.family === 4 ? 'IPv4' : 'IPv6', ports, {
        addresses: [text],
        conditions: { ready },
        ...(hostname && { hostname }),
        ...(nodeName && { nodeName }),
        ...(zone && { zone }),
        ...(targetRef && { targetRef }),
      });
    }
  };
  for (const subset of endpoints.subsets ?? []) {
    add(subset, subset.addresses, true);
    add(subset, subset.notReadyAddresses, false);
  }
  return [...groups.values()];
}

/**
 * The Endpoints object of a service: subsets by ports, ready and not; terminating pods only if unready ones are
 * published.
 */
export function subsetsFromPods(service: Service, pods: readonly Pod[]): { subsets: EndpointSubset[]; cut: boolean } {
  const everything = service.spec.publishNotReadyAddresses === true;
  const subsets = new Map<string, EndpointSubset>();
  const found = candidates(service, pods)
    .filter(({ pod, family }) => family === 4 && (everything || pod.metadata.deletionTimestamp === undefined))
    .sort((a, b) => Number(b.ready) - Number(a.ready));
  for (const { pod, ip, ports, ready } of found.slice(0, MAX_ENDPOINTS)) {
    const key = groupKey('', ports);
    let subset = subsets.get(key);
    if (subset === undefined) {
      subset = { ...(ports.length > 0 && { ports: ports.map(endpointPort) }) };
      subsets.set(key, subset);
    }
    const { nodeName } = pod.spec;
    const list = everything || ready ? 'addresses' : 'notReadyAddresses';
    subset[list] ??= [];
    subset[list].push({ ip, ...hostnameOf(pod, service), ...(nodeName && { nodeName }), targetRef: podRef(pod) });
  }
  return { subsets: [...subsets.values()], cut: found.length > MAX_ENDPOINTS };
}

function endpointPort({ name, port, protocol, appProtocol }: SlicePort): EndpointPort {
  return { ...(name && { name }), port: port!, protocol, ...(appProtocol && { appProtocol }) };
}

/** Zone label of a node object. */
export function zoneLabel(node: NodeObject | undefined): string | undefined {
  return node?.metadata.labels?.['topology.kubernetes.io/zone'];
}
