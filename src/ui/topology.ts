/** The cluster's objects as the page draws them: a pure function. */
import type { EndpointSlice, KubeObject, NodeObject, Pod, Service } from '../api/types/objects.ts';
import type { NodeView, PodView, ServiceView, Topology } from './protocol.ts';

export interface TopologyObjects {
  readonly nodes: Iterable<NodeObject>;
  readonly pods: Iterable<Pod>;
  readonly services: Iterable<Service>;
  readonly slices: Iterable<EndpointSlice>;
  readonly policies: Iterable<KubeObject>;
}

const podId = (namespace: string | undefined, name: string): string => `pod:${namespace ?? 'default'}/${name}`;
export const serviceId = (namespace: string | undefined, name: string): string =>
  `svc:${namespace ?? 'default'}/${name}`;
export const nodeId = (name: string): string => `node:${name}`;

const byName = (a: { readonly id: string }, b: { readonly id: string }): number => (a.id < b.id ? -1 : 1);

/** Limits on what is drawn; a cluster of this data plane is smaller. */
const MAX_PODS = 5000;
const MAX_SERVICES = 2000;

export function topologyOf(objects: TopologyObjects): Topology {
  const nodes = [...objects.nodes].map(nodeView);
  const pods = [...objects.pods].filter(isShown).slice(0, MAX_PODS).map(podView).sort(byName);
  const known = new Set(pods.map(({ id }) => id));
  const endpoints = endpointsByService(objects.slices, known);
  const services = [...objects.services].slice(0, MAX_SERVICES).map((service) => serviceView(service, endpoints));
  return {
    nodes: nodes.sort((a, b) => (a.name < b.name ? -1 : 1)),
    pods,
    services: services.sort(byName),
    policies: [...objects.policies].map(({ metadata }) => `${metadata.namespace ?? 'default'}/${metadata.name}`).sort(),
  };
}

/** A pod that has ended has no address any more. */
const isShown = ({ status }: Pod): boolean => status?.phase !== 'Succeeded' && status?.phase !== 'Failed';

function nodeView({ metadata, spec, status }: NodeObject): NodeView {
  return {
    name: metadata.name,
    ip: status?.addresses?.find(({ type }) => type === 'InternalIP')?.address ?? '',
    podCIDR: spec?.podCIDR ?? '',
    ready: isTrue(status?.conditions, 'Ready'),
  };
}

function podView({ metadata, spec, status }: Pod): PodView {
  const declared = spec.containers.flatMap(({ ports = [] }) => ports);
  return {
    id: podId(metadata.namespace, metadata.name),
    namespace: metadata.namespace ?? 'default',
    name: metadata.name,
    node: spec.nodeName ?? '',
    ip: status?.podIP ?? '',
    phase: metadata.deletionTimestamp === undefined ? (status?.phase ?? 'Pending') : 'Terminating',
    ready: isTrue(status?.conditions, 'Ready'),
    labels: metadata.labels ?? {},
    ports: declared.map(({ containerPort, protocol = 'TCP' }) => `${containerPort}/${protocol}`),
  };
}

const isTrue = (conditions: readonly { type: string; status: string }[] | undefined, type: string): boolean =>
  conditions?.some((condition) => condition.type === type && condition.status === 'True') ?? false;

interface ReadyEndpoints {
  readonly pods: Set<string>;
  ready: number;
}

function endpointsByService(slices: Iterable<EndpointSlice>, known: ReadonlySet<string>): Map<string, ReadyEndpoints> {
  const found = new Map<string, ReadyEndpoints>();
  for (const { metadata, endpoints } of slices) {
    const name = metadata.labels?.['kubernetes.io/service-name'];
    if (name === undefined) continue;
    const id = serviceId(metadata.namespace, name);
    const own = found.get(id) ?? { pods: new Set(), ready: 0 };
    found.set(id, own);
    for (const { targetRef, conditions } of endpoints) {
      if (conditions?.ready === false) continue;
      own.ready++;
      if (targetRef?.kind !== 'Pod' || targetRef.name === undefined) continue;
      const pod = podId(targetRef.namespace ?? metadata.namespace, targetRef.name);
      if (known.has(pod)) own.pods.add(pod);
    }
  }
  return found;
}

function serviceView({ metadata, spec }: Service, endpoints: ReadonlyMap<string, ReadyEndpoints>): ServiceView {
  const id = serviceId(metadata.namespace, metadata.name);
  return {
    id,
    namespace: metadata.namespace ?? 'default',
    name: metadata.name,
    type: spec.type ?? 'ClusterIP',
    ip: spec.clusterIP === undefined || spec.clusterIP === 'None' ? '' : spec.clusterIP,
    ports: (spec.ports ?? []).map(({ name = '', port, protocol = 'TCP', targetPort = port, nodePort = 0 }) => ({
      name,
      port,
      protocol,
      target: String(targetPort),
      nodePort,
    })),
    endpoints: [...(endpoints.get(id)?.pods ?? [])].sort(),
    ready: endpoints.get(id)?.ready ?? 0,
  };
}
