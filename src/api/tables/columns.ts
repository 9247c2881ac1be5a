/**
 * Columns of the kinds that have types here, as in kubectl
 * (k8s.io/kubernetes/pkg/printers/internalversion/printers.go).
 */
import type {
  Condition,
  Deployment,
  Endpoints,
  EventObject,
  Kind,
  NodeObject,
  ObjectByKind,
  Pod,
  ReplicaSet,
  Service,
} from '../types/objects.ts';
import { ageOf } from './age.ts';
import {
  age,
  type Cell,
  type Columns,
  containerCells,
  firstThree,
  NONE,
  orNone,
  printLabels,
  printSelector,
  size,
  UNSET,
} from './cells.ts';
import { lastRestart, podReason, readyContainers, restartCount } from './pod-text.ts';

export const COLUMNS: { readonly [K in Kind]?: Columns<ObjectByKind[K]> } = {
  Pod: {
    names: ['Name', 'Ready', 'Status', 'Restarts', 'Age', '+IP', '+Node', '+Nominated Node', '+Readiness Gates'],
    row: (pod, nowMs) => [
      pod.metadata.name,
      readyContainers(pod),
      podReason(pod),
      restarts(pod, nowMs),
      age(pod, nowMs),
      orNone(pod.status?.podIP),
      orNone(pod.spec.nodeName),
      orNone(pod.status?.nominatedNodeName),
      readinessGates(pod),
    ],
  },
  Service: {
    names: ['Name', 'Type', 'Cluster-IP', 'External-IP', 'Port(s)', 'Age', '+Selector'],
    row: (service, nowMs) => [
      service.metadata.name,
      service.spec.type ?? 'ClusterIP',
      orNone(service.spec.clusterIP),
      externalIps(service),
      servicePorts(service),
      age(service, nowMs),
      printLabels(service.spec.selector),
    ],
  },
  Endpoints: {
    names: ['Name', 'Endpoints', 'Age'],
    row: (endpoints, nowMs) => [endpoints.metadata.name, printEndpoints(endpoints), age(endpoints, nowMs)],
  },
  EndpointSlice: {
    names: ['Name', 'AddressType', 'Ports', 'Endpoints', 'Age'],
    row: ({ metadata, addressType, ports, endpoints }, nowMs) => [
      metadata.name,
      addressType,
      firstThree(
        (ports ?? []).map(({ port }) => (port === undefined ? '*' : String(port))),
        UNSET,
      ),
      firstThree(
        (endpoints ?? []).flatMap(({ addresses }) => addresses),
        UNSET,
      ),
      ageOf(metadata.creationTimestamp, nowMs),
    ],
  },
  ConfigMap: {
    names: ['Name', 'Data', 'Age'],
    row: (map, nowMs) => [map.metadata.name, size(map.data) + size(map.binaryData), age(map, nowMs)],
  },
  Secret: {
    names: ['Name', 'Type', 'Data', 'Age'],
    row: (secret, nowMs) => [secret.metadata.name, secret.type ?? 'Opaque', size(secret.data), age(secret, nowMs)],
  },
  Node: {
    names: ['Name', 'Status', 'Roles', 'Age', 'Version'].concat([
      '+Internal-IP',
      '+External-IP',
      '+OS-Image',
      '+Kernel-Version',
      '+Container-Runtime',
    ]),
    row: nodeRow,
  },
  Namespace: {
    names: ['Name', 'Status', 'Age'],
    row: (namespace, nowMs) => [namespace.metadata.name, namespace.status?.phase ?? 'Active', age(namespace, nowMs)],
  },
  Event: {
    names: ['Last Seen', 'Type', 'Reason', 'Object', '+Subobject', '+Source', 'Message'].concat([
      '+First Seen',
      '+Count',
      '+Name',
    ]),
    row: eventRow,
  },
  Deployment: {
    names: ['Name', 'Ready', 'Up-to-date', 'Available', 'Age', '+Containers', '+Images', '+Selector'],
    row: (deployment, nowMs) => [
      deployment.metadata.name,
      `${deployment.status?.readyReplicas ?? 0}/${deployment.spec.replicas ?? 1}`,
      deployment.status?.updatedReplicas ?? 0,
      deployment.status?.availableReplicas ?? 0,
      age(deployment, nowMs),
      ...templateCells(deployment),
    ],
  },
  ReplicaSet: {
    names: ['Name', 'Desired', 'Current', 'Ready', 'Age', '+Containers', '+Images', '+Selector'],
    row: (set, nowMs) => [
      set.metadata.name,
      set.spec.replicas ?? 1,
      set.status?.replicas ?? 0,
      set.status?.readyReplicas ?? 0,
      age(set, nowMs),
      ...templateCells(set),
    ],
  },
};

function restarts(pod: Pod, nowMs: number): string {
  const count = restartCount(pod);
  const last = lastRestart(pod);
  return count > 0 && last !== undefined ? `${count} (${ageOf(last, nowMs)} ago)` : String(count);
}

function readinessGates(pod: Pod): string {
  const gates = pod.spec.readinessGates ?? [];
  if (gates.length === 0) return NONE;
  const isTrue = (type: string) =>
    pod.status?.conditions?.some((c: Condition) => c.type === type && c.status === 'True');
  return `${gates.filter(({ conditionType }) => isTrue(conditionType)).length}/${gates.length}`;
}

function externalIps({ spec, status }: Service): string {
  const given = spec.externalIPs ?? [];
  if (spec.type === 'ExternalName') return orNone(spec.externalName);
  if (spec.type === 'LoadBalancer') {
    const ingress = (status?.loadBalancer?.ingress ?? []).map(({ ip, hostname }) => ip ?? hostname ?? '');
    return [...ingress, ...given].join(',') || '<pending>';
  }
  return given.join(',') || NONE;
}

function servicePorts({ spec }: Service): string {
  const ports = (spec.ports ?? []).map(({ port, nodePort, protocol = 'TCP' }) =>
    nodePort ? `${port}:${nodePort}/${protocol}` : `${port}/${protocol}`,
  );
  return ports.join(',') || NONE;
}

/** `10.244.1.2:80,10.244.2.3:80 + 4 more...` */
function printEndpoints({ subsets }: Endpoints): string {
  const all = (subsets ?? []).flatMap(({ addresses = [], ports = [] }) =>
    ports.length === 0
      ? addresses.map(({ ip }) => ip)
      : ports.flatMap(({ port }) =>
          addresses.map(({ ip }) => (ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`)),
        ),
  );
  return firstThree(all, NONE);
}

function nodeStatus({ spec, status }: NodeObject): string {
  const ready = status?.conditions?.find(({ type }) => type === 'Ready');
  const word = ready === undefined ? 'Unknown' : ready.status === 'True' ? 'Ready' : 'NotReady';
  return spec?.unschedulable ? `${word},SchedulingDisabled` : word;
}

function nodeRow(node: NodeObject, nowMs: number): Cell[] {
  const info = node.status?.nodeInfo ?? {};
  const address = (kind: string) => node.status?.addresses?.find(({ type }) => type === kind)?.address;
  const roles = Object.keys(node.metadata.labels ?? {})
    .filter((label) => label.startsWith('node-role.kubernetes.io/'))
    .map((label) => label.slice(label.indexOf('/') + 1));
  return [
    node.metadata.name,
    nodeStatus(node),
    roles.join(',') || NONE,
    age(node, nowMs),
    info.kubeletVersion ?? '',
    orNone(address('InternalIP')),
    orNone(address('ExternalIP')),
    info.osImage ?? '<unknown>',
    info.kernelVersion ?? '<unknown>',
    info.containerRuntimeVersion ?? '<unknown>',
  ];
}

function templateCells({ spec }: Deployment | ReplicaSet): Cell[] {
  return [...containerCells(spec.template), printSelector(spec.selector)];
}

/** Events of both groups: `series` and `eventTime` are those of events.k8s.io (printers.go, printEvent). */
function eventRow(event: EventObject, nowMs: number): Cell[] {
  const { metadata, involvedObject, source, count, firstTimestamp, lastTimestamp } = event;
  const { eventTime, series } = event;
  const first = firstTimestamp ?? eventTime ?? metadata.creationTimestamp;
  const last = series?.lastObservedTime ?? lastTimestamp ?? first;
  return [
    ageOf(last, nowMs),
    event.type ?? '',
    event.reason ?? '',
    `${(involvedObject.kind ?? '').toLowerCase()}/${involvedObject.name ?? ''}`,
    involvedObject.fieldPath ?? '',
    // With a blank, unlike the other lists (formatEventSourceComponentInstance).
    [source?.component || event.reportingComponent, source?.host || event.reportingInstance].filter(Boolean).join(', '),
    (event.message ?? '').trim(),
    ageOf(first, nowMs),
    series?.count ?? count ?? 1,
    metadata.name,
  ];
}
