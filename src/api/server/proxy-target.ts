/** The target of a `/proxy` path of a pod, service or node: an address, and the node to reach it from. */
import { badRequest, notFound, serviceUnavailable } from '../errors.ts';
import { resourceOfKind } from '../resources.ts';
import { servicePortNamed } from '../service-ports.ts';
import type { Store } from '../store/store.ts';
import type { EndpointSlice, Service } from '../types/objects.ts';
import { WellKnown } from '../types/objects.ts';

export interface ProxyTarget {
  node: string;
  /** `address:port`; undefined: the node's agent itself. */
  address: string | undefined;
  /** The path at the target, with the query. */
  path: string;
  /** For error messages. */
  what: string;
}

/**
 * @param parts segments of the path after /api/v1
 * @param query including `?`
 * @throws ApiError if the object does not exist, or the service has no ready endpoint
 */
export function proxyTarget(store: Store, parts: readonly string[], query: string): ProxyTarget | undefined {
  if (parts[0] === 'nodes' && parts[2] === 'proxy') {
    const name = decodeURIComponent(parts[1]!);
    if (store.get('Node', undefined, name) === undefined) throw notFound(resourceOfKind('Node')!, name);
    return { node: name, address: undefined, path: rest(parts.slice(3), query), what: `the agent of node ${name}` };
  }
  const [scope, namespace, plural, reference, subresource] = parts;
  if (scope !== 'namespaces' || subresource !== 'proxy') return undefined;
  const path = rest(parts.slice(5), query);
  const { name, port } = splitReference(decodeURIComponent(reference!));
  if (plural === 'pods') return podTarget(store, namespace!, name, port, path);
  if (plural === 'services') return serviceTarget(store, namespace!, name, port, path);
  return undefined;
}

const rest = (parts: readonly string[], query: string): string => `/${parts.join('/')}${query}`;

/** `name`, `name:port` or `scheme:name:port`; only the scheme http is supported. */
function splitReference(text: string): { name: string; port: string } {
  const parts = text.split(':');
  if (parts.length === 3) {
    if (parts[0] === 'https') throw badRequest(`${text}: only http is served by this proxy`);
    return { name: parts[1]!, port: parts[2]! };
  }
  return { name: parts[0]!, port: parts[1] ?? '' };
}

function podTarget(store: Store, namespace: string, name: string, port: string, path: string): ProxyTarget {
  const pod = store.get('Pod', namespace, name);
  if (pod === undefined) throw notFound(resourceOfKind('Pod')!, name);
  const ip = pod.status?.podIP;
  const node = pod.spec.nodeName;
  if (!ip || !node) throw serviceUnavailable(`pod ${name} has no address yet`);
  const ports = pod.spec.containers.flatMap((c) => c.ports ?? []);
  const number =
    port === '' ? (ports[0]?.containerPort ?? 80) : (ports.find((p) => p.name === port)?.containerPort ?? Number(port));
  if (!Number.isInteger(number)) throw badRequest(`pod ${name} has no port "${port}"`);
  return { node, address: `${ip}:${number}`, path, what: `pod ${name}` };
}

function serviceTarget(store: Store, namespace: string, name: string, port: string, path: string): ProxyTarget {
  const service = store.get('Service', namespace, name);
  if (service === undefined) throw notFound(resourceOfKind('Service')!, name);
  const wanted = portOf(service, port);
  if (wanted === undefined) throw serviceUnavailable(`no service port "${port}" found for service "${name}"`);
  const slices = store
    .list('EndpointSlice', namespace)
    .filter((s) => s.metadata.labels?.[WellKnown.SERVICE_NAME] === name);
  const ready = slices.flatMap((slice) => readyEndpoints(slice, wanted.name ?? ''));
  if (ready.length === 0) throw serviceUnavailable(`no endpoints available for service "${name}"`);
  const chosen = ready[Math.floor(Math.random() * ready.length)]!;
  // An address outside the cluster can be reached from any node.
  const node = chosen.node ?? store.list('Node')[0]?.metadata.name;
  if (node === undefined) throw serviceUnavailable('there is no node to reach it from');
  return { node, address: chosen.address, path, what: `service ${name}` };
}

function portOf({ spec }: Service, port: string) {
  const ports = spec.ports ?? [];
  if (port === '') return ports.length === 1 ? ports[0] : ports.find((p) => p.port === 80);
  return servicePortNamed(ports, port);
}

function readyEndpoints({ endpoints, ports }: EndpointSlice, name: string): { address: string; node?: string }[] {
  const port = ports?.find((p) => (p.name ?? '') === name)?.port;
  if (port === undefined) return [];
  return endpoints
    .filter(({ conditions }) => conditions?.ready !== false)
    .map(({ addresses, nodeName }) => ({
      address: `${addresses[0]}:${port}`,
      ...(nodeName !== undefined && { node: nodeName }),
    }));
}
