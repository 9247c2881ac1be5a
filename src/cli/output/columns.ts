/** The columns of `dataplane get`, kind by kind, as kubectl's (pkg/printers/internalversion/printers.go). */
import type {
  Condition,
  ConfigMap,
  Deployment,
  Endpoints,
  EventObject,
  Kind,
  KubeObject,
  LabelSelector,
  NamespaceObject,
  NodeObject,
  ObjectByKind,
  Pod,
  ReplicaSet,
  Secret,
  Service,
} from '../../api/types/objects.ts';
import { lastRestart, podReason, readyContainers, restartCount } from '../../cluster/pod-reason.ts';
import { ageOf } from './output.ts';

interface Columns<T> {
  headers: readonly string[];
  /** Further ones of `-o wide`. */
  wide: readonly string[];
  /** All cells, the wide ones last. */
  row: (object: T, nowMs: number) => readonly string[];
}

const NONE = '<none>';
const age = ({ metadata }: KubeObject, nowMs: number) => ageOf(metadata.creationTimestamp, nowMs);
const orNone = (text: string | undefined) => (text ? text : NONE);
const size = (map: object | undefined) => Object.keys(map ?? {}).length;

/** Labels and the like: `app=mc3,tier=web`. */
export function printLabels(labels: Record<string, string> | undefined): string {
  const pairs = Object.entries(labels ?? {}).map(([key, value]) => `${key}=${value}`);
  return pairs.length === 0 ? NONE : pairs.join(',');
}

export function printSelector({ matchLabels, matchExpressions }: LabelSelector): string {
  const pairs = Object.entries(matchLabels ?? {}).map(([key, value]) => `${key}=${value}`);
  const expressions = (matchExpressions ?? []).map(({ key, operator, values }) => {
    if (operator === 'Exists') return key;
    if (operator === 'DoesNotExist') return `!${key}`;
    return `${key} ${operator === 'In' ? 'in' : 'notin'} (${(values ?? []).join(',')})`;
  });
  return [...pairs, ...expressions].join(',') || NONE;
}

const COLUMNS: { readonly [K in Kind]: Columns<ObjectByKind[K]> } = {
  Pod: {
    headers: ['NAME', 'READY', 'STATUS', 'RESTARTS', 'AGE'],
    wide: ['IP', 'NODE', 'NOMINATED NODE', 'READINESS GATES'],
    row: (pod, nowMs) => [
      pod.metadata.name,
      readyContainers(pod),
      podReason(pod),
      restarts(pod, nowMs),
      age(pod, nowMs),
      orNone(pod.status?.podIP),
      orNone(pod.spec.nodeName),
      NONE,
      readinessGates(pod),
    ],
  },
  Service: {
    headers: ['NAME', 'TYPE', 'CLUSTER-IP', 'EXTERNAL-IP', 'PORT(S)', 'AGE'],
    wide: ['SELECTOR'],
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
    headers: ['NAME', 'ENDPOINTS', 'AGE'],
    wide: [],
    row: (endpoints, nowMs) => [endpoints.metadata.name, printEndpoints(endpoints), age(endpoints, nowMs)],
  },
  EndpointSlice: {
    headers: ['NAME', 'ADDRESSTYPE', 'PORTS', 'ENDPOINTS', 'AGE'],
    wide: [],
    row: (slice, nowMs) => [
      slice.metadata.name,
      slice.addressType,
      firstThree(
        (slice.ports ?? []).map(({ port }) => (port === undefined ? '*' : String(port))),
        '<unset>',
      ),
      firstThree(
        (slice.endpoints ?? []).flatMap(({ addresses }) => addresses),
        '<unset>',
      ),
      age(slice, nowMs),
    ],
  },
  ConfigMap: {
    headers: ['NAME', 'DATA', 'AGE'],
    wide: [],
    row: (map: ConfigMap, nowMs) => [map.metadata.name, String(size(map.data) + size(map.binaryData)), age(map, nowMs)],
  },
  Secret: {
    headers: ['NAME', 'TYPE', 'DATA', 'AGE'],
    wide: [],
    row: (secret: Secret, nowMs) => [
      secret.metadata.name,
      secret.type ?? 'Opaque',
      String(size(secret.data)),
      age(secret, nowMs),
    ],
  },
  Node: {
    headers: ['NAME', 'STATUS', 'ROLES', 'AGE', 'VERSION'],
    wide: ['INTERNAL-IP', 'EXTERNAL-IP', 'OS-IMAGE', 'KERNEL-VERSION', 'CONTAINER-RUNTIME'],
    row: nodeRow,
  },
  Namespace: {
    headers: ['NAME', 'STATUS', 'AGE'],
    wide: [],
    row: (namespace: NamespaceObject, nowMs) => [
      namespace.metadata.name,
      namespace.status?.phase ?? 'Active',
      age(namespace, nowMs),
    ],
  },
  Event: {
    headers: ['LAST SEEN', 'TYPE', 'REASON', 'OBJECT', 'MESSAGE'],
    wide: [],
    row: (event: EventObject, nowMs) => [
      ageOf(event.lastTimestamp ?? event.metadata.creationTimestamp, nowMs),
      event.type ?? '',
      event.reason ?? '',
      `${(event.involvedObject.kind ?? '').toLowerCase()}/${event.involvedObject.name ?? ''}`,
      (event.message ?? '').trim(),
    ],
  },
  Deployment: {
    headers: ['NAME', 'READY', 'UP-TO-DATE', 'AVAILABLE', 'AGE'],
    wide: ['CONTAINERS', 'IMAGES', 'SELECTOR'],
    row: (deployment: Deployment, nowMs) => [
      deployment.metadata.name,
      `${deployment.status?.readyReplicas ?? 0}/${deployment.spec.replicas ?? 1}`,
      String(deployment.status?.updatedReplicas ?? 0),
      String(deployment.status?.availableReplicas ?? 0),
      age(deployment, nowMs),
      ...templateCells(deployment),
    ],
  },
  ReplicaSet: {
    headers: ['NAME', 'DESIRED', 'CURRENT', 'READY', 'AGE'],
    wide: ['CONTAINERS', 'IMAGES', 'SELECTOR'],
    row: (set: ReplicaSet, nowMs) => [
      set.metadata.name,
      String(set.spec.replicas ?? 1),
      String(set.status?.replicas ?? 0),
      String(set.status?.readyReplicas ?? 0),
      age(set, nowMs),
      ...templateCells(set),
    ],
  },
};

export interface TableOptions {
  wide: boolean;
  /** With a NAMESPACE column in front. */
  namespaces: boolean;
  showLabels: boolean;
  /** With the header row. */
  headers: boolean;
}

/** The rows of a table of one kind. */
export function tableRows(
  kind: Kind,
  objects: readonly KubeObject[],
  options: TableOptions,
  nowMs: number,
): string[][] {
  const { headers, wide, row } = COLUMNS[kind] as unknown as Columns<KubeObject>;
  const shown = options.wide ? [...headers, ...wide] : headers;
  const line = (cells: readonly string[], namespace: string, labels: string) => [
    ...(options.namespaces ? [namespace] : []),
    ...cells.slice(0, shown.length),
    ...(options.showLabels ? [labels] : []),
  ];
  const rows = objects.map((object) =>
    line(row(object, nowMs), object.metadata.namespace ?? '', printLabels(object.metadata.labels)),
  );
  return options.headers ? [line(shown, 'NAMESPACE', 'LABELS'), ...rows] : rows;
}

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

export function servicePorts({ spec }: Service): string {
  const ports = (spec.ports ?? []).map(({ port, nodePort, protocol = 'TCP' }) =>
    nodePort ? `${port}:${nodePort}/${protocol}` : `${port}/${protocol}`,
  );
  return ports.join(',') || NONE;
}

/** `10.244.1.2:80,10.244.2.3:80 + 4 more...` */
export function printEndpoints({ subsets }: Endpoints): string {
  const all = (subsets ?? []).flatMap(({ addresses = [], ports = [] }) =>
    ports.length === 0
      ? addresses.map(({ ip }) => ip)
      : ports.flatMap(({ port }) =>
          addresses.map(({ ip }) => (ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`)),
        ),
  );
  return firstThree(all, NONE);
}

export function firstThree(all: readonly string[], otherwise: string): string {
  if (all.length === 0) return otherwise;
  const shown = all.slice(0, 3).join(',');
  return all.length > 3 ? `${shown} + ${all.length - 3} more...` : shown;
}

export function nodeStatus({ spec, status }: NodeObject): string {
  const ready = status?.conditions?.find(({ type }) => type === 'Ready');
  const word = ready === undefined ? 'Unknown' : ready.status === 'True' ? 'Ready' : 'NotReady';
  return spec?.unschedulable ? `${word},SchedulingDisabled` : word;
}

function nodeRow(node: NodeObject, nowMs: number): string[] {
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

function templateCells({ spec }: Deployment | ReplicaSet): string[] {
  const { containers } = spec.template.spec;
  return [
    containers.map(({ name }) => name).join(','),
    containers.map(({ image }) => image).join(','),
    printSelector(spec.selector),
  ];
}
