/** The cluster's objects as the page draws them: a pure function. */
import { internalIpOf } from '../api/node-identity.ts';
import { isEnded } from '../api/pod-phase.ts';
import { isReady } from '../api/ready.ts';
import {
  type EndpointSlice,
  type KubeObject,
  type NodeObject,
  type Pod,
  type Service,
  WellKnown,
} from '../api/types/objects.ts';
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
  // A pod that has ended has no address any more.
  const pods = [...objects.pods]
    .filter((pod) => !isEnded(pod))
    .slice(0, MAX_PODS)
    .map(podView)
    .sort(byName);
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

function nodeView(node: NodeObject): NodeView {
  return {
    name: node.metadata.name,
    ip: internalIpOf(node) ?? '',
    podCIDR: node.spec?.podCIDR ?? '',
    ready: isReady(node),
  };
}

function podView(pod: Pod): PodView {
  const { metadata, spec, status } = pod;
  const declared = spec.containers.flatMap(({ ports = [] }) => ports);
  return {
    id: podId(metadata.namespace, metadata.name),
    namespace: metadata.namespace ?? 'default',
    name: metadata.name,
    node: spec.nodeName ?? '',
    ip: status?.podIP ?? '',
    phase: metadata.deletionTimestamp === undefined ? (status?.phase ?? 'Pending') : 'Terminating',
    ready: isReady(pod),
    labels: metadata.labels ?? {},
    ports: declared.map(({ containerPort, protocol = 'TCP' }) => `${containerPort}/${protocol}`),
  };
}

interface ReadyEndpoints {
  readonly pods: Set<string>;
  ready: number;
}

function endpointsByService(slices: Iterable<EndpointSlice>, known: ReadonlySet<string>): Map<string, ReadyEndpoints> {
  const found = new Map<string, ReadyEndpoints>();
  for (const { metadata, endpoints } of slices) {
    const name = metadata.labels?.[WellKnown.SERVICE_NAME];
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
