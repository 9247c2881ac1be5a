/** What `port-forward` connects to: a pod, named or chosen for a Service or workload, and the port in it. */
import type { ApiClient } from '../../api/client/client.ts';
import { isReady } from '../../api/ready.ts';
import { servicePortNamed } from '../../api/service-ports.ts';
import type { Pod, Service } from '../../api/types/objects.ts';

export interface PortTarget {
  readonly namespace: string;
  readonly pod: string;
  /** The port inside the pod for one that was named, by number or name. @throws Error if there is none */
  readonly portOf: (wanted: string) => number;
}

/** Kinds whose spec selects pods, by the words of the command line. */
const KINDS = {
  pod: 'Pod',
  pods: 'Pod',
  po: 'Pod',
  svc: 'Service',
  service: 'Service',
  services: 'Service',
  deploy: 'Deployment',
  deployment: 'Deployment',
  deployments: 'Deployment',
  rs: 'ReplicaSet',
  replicaset: 'ReplicaSet',
  replicasets: 'ReplicaSet',
  sts: 'StatefulSet',
  statefulset: 'StatefulSet',
  statefulsets: 'StatefulSet',
  ds: 'DaemonSet',
  daemonset: 'DaemonSet',
  daemonsets: 'DaemonSet',
} as const;

export type ForwardKind = (typeof KINDS)[keyof typeof KINDS];

/** `NAME`, `pod/NAME`, `svc/NAME`, `deployment/NAME`, …; undefined for text of another form. */
export function parseForwardTarget(text: string): { kind: ForwardKind; name: string } | undefined {
  const [first = '', second, more] = text.split('/');
  if (more !== undefined || first === '' || second === '') return undefined;
  if (second === undefined) return { kind: 'Pod', name: first };
  const word = first.toLowerCase();
  return Object.hasOwn(KINDS, word) ? { kind: KINDS[word as keyof typeof KINDS], name: second } : undefined;
}

/** @throws ApiError if there is no such object; Error if it has no running pod */
export async function findTarget(
  client: ApiClient,
  { kind, name }: { kind: ForwardKind; name: string },
  namespace: string,
): Promise<PortTarget> {
  if (kind === 'Pod') {
    const pod = await client.get('Pod', name, namespace);
    if (pod.status?.phase !== 'Running')
      throw new Error(`pod ${name} is ${pod.status?.phase ?? 'Pending'}, not Running`);
    return { namespace, pod: name, portOf: (wanted) => containerPort(pod, wanted) };
  }
  const what = `${kind.toLowerCase()}/${name}`;
  const { pod, service } = await select(client, kind, name, namespace, what);
  const portOf = (wanted: string) =>
    service === undefined ? containerPort(pod, wanted) : targetPort(service, pod, wanted);
  return { namespace, pod: pod.metadata.name, portOf };
}

async function select(
  client: ApiClient,
  kind: Exclude<ForwardKind, 'Pod'>,
  name: string,
  namespace: string,
  what: string,
): Promise<{ pod: Pod; service?: Service }> {
  const object = await client.get(kind, name, namespace);
  const service = kind === 'Service' ? (object as Service) : undefined;
  const selector = service === undefined ? labelsOf(object) : service.spec.selector;
  if (!selector || Object.keys(selector).length === 0) throw new Error(`${what} selects no pods`);
  const labelSelector = Object.entries(selector)
    .map(([key, value]) => `${key}=${value}`)
    .join(',');
  const { items } = await client.list('Pod', { namespace, labelSelector });
  const running = items.filter(({ status, metadata }) => status?.phase === 'Running' && !metadata.deletionTimestamp);
  const pod = running.find(isReady) ?? running[0];
  if (pod === undefined) throw new Error(`${what} has no running pod`);
  return { pod, ...(service && { service }) };
}

const labelsOf = (object: unknown): Record<string, string> | undefined =>
  (object as { spec?: { selector?: { matchLabels?: Record<string, string> } } }).spec?.selector?.matchLabels;

const isNumber = (text: string): boolean => /^\d{1,5}$/.test(text) && Number(text) >= 1 && Number(text) <= 65535;

/** A number stands for itself: the port need not be declared. */
function containerPort(pod: Pod, wanted: string): number {
  if (isNumber(wanted)) return Number(wanted);
  const ports = pod.spec.containers.flatMap(({ ports = [] }) => ports);
  const found = ports.find(({ name }) => name === wanted);
  if (found === undefined) throw new Error(`pod ${pod.metadata.name} has no port named "${wanted}"`);
  return found.containerPort;
}

/** The pod's port behind a port of the Service (kubectl, pkg/cmd/portforward translateServicePortToTargetPort). */
function targetPort({ metadata, spec }: Service, pod: Pod, wanted: string): number {
  const port = servicePortNamed(spec.ports ?? [], wanted);
  if (port === undefined) throw new Error(`Service ${metadata.name} does not have a service port ${wanted}`);
  // A headless Service has no ports of its own in front of the pod's.
  if (spec.clusterIP === 'None') return port.port;
  const { targetPort: target = port.port } = port;
  return containerPort(pod, String(target));
}
