/** Services and EndpointSlices for tests and benchmarks, specified as briefly as possible. */
import { clusterOptionsOf } from '../../../src/api/cluster-options.ts';
import type {
  EndpointSlice,
  ObjectMeta,
  Service,
  ServicePort,
  ServiceSpec,
  SliceEndpoint,
} from '../../../src/api/types/objects.ts';

let version = 1;

function metadata(name: string, more: Partial<ObjectMeta> = {}): ObjectMeta {
  return {
    name,
    namespace: 'default',
    uid: `uid-${name}`,
    resourceVersion: String(version++),
    creationTimestamp: '2026-01-01T00:00:00Z',
    ...more,
  };
}

/** A Service with one port 80/TCP named http unless `spec` says otherwise. */
export function service(
  name: string,
  clusterIP: string,
  spec: Partial<ServiceSpec> = {},
  more: Partial<ObjectMeta> & { ingress?: { ip: string; ipMode?: 'VIP' | 'Proxy' }[] } = {},
): Service {
  const { ingress, ...meta } = more;
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: metadata(name, meta),
    spec: { type: 'ClusterIP', clusterIP, clusterIPs: [clusterIP], ports: [{ name: 'http', port: 80 }], ...spec },
    ...(ingress && { status: { loadBalancer: { ingress } } }),
  };
}

/**
 * `10.244.1.2@n1` is an endpoint on n1; it may be followed by any of not-ready, serving, terminating, zone=z, hint=z,
 * hint-node=n.
 */
function endpoint(text: string): SliceEndpoint {
  const [place = '', ...words] = text.split(' ');
  const [ip = '', nodeName] = place.split('@');
  const value = (name: string): string | undefined => words.find((word) => word.startsWith(`${name}=`))?.split('=')[1];
  const ready = !words.includes('not-ready') && !words.includes('terminating');
  const zone = value('zone');
  const forZone = value('hint');
  const forNode = value('hint-node');
  return {
    addresses: [ip],
    conditions: { ready, serving: ready || words.includes('serving'), terminating: words.includes('terminating') },
    ...(nodeName && { nodeName }),
    ...(zone && { zone }),
    ...((forZone || forNode) && {
      hints: {
        ...(forZone && { forZones: [{ name: forZone }] }),
        ...(forNode && { forNodes: [{ name: forNode }] }),
      },
    }),
  };
}

/** A slice of a service; its port is http/TCP 8080 unless specified. */
export function slice(
  serviceName: string,
  endpoints: readonly (string | SliceEndpoint)[],
  options: { name?: string; ports?: EndpointSlice['ports'] } = {},
): EndpointSlice {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    addressType: 'IPv4',
    metadata: metadata(options.name ?? `${serviceName}-1`, { labels: { 'kubernetes.io/service-name': serviceName } }),
    endpoints: endpoints.map((one) => (typeof one === 'string' ? endpoint(one) : one)),
    ports: options.ports ?? [{ name: 'http', protocol: 'TCP', port: 8080 }],
  };
}

/** UDP port 53 for both objects. */
export const DNS: { service: ServicePort[]; slice: NonNullable<EndpointSlice['ports']> } = {
  service: [{ name: 'dns', protocol: 'UDP', port: 53 }],
  slice: [{ name: 'dns', protocol: 'UDP', port: 5353 }],
};

/** A number of services with a number of endpoints each, as the API would list them. */
export function manyServices(count: number, endpoints: number): { services: Service[]; slices: EndpointSlice[] } {
  const address = (base: number, offset: number): string => {
    const word = base + offset;
    return `${word >>> 24}.${(word >>> 16) & 255}.${(word >>> 8) & 255}.${word & 255}`;
  };
  const services: Service[] = [];
  const slices: EndpointSlice[] = [];
  for (let i = 0; i < count; i++) {
    services.push(service(`s${i}`, address(0x0a600000, i + 1)));
    const ready = Array.from(
      { length: endpoints },
      (_, n) => `${address(0x0af40000, i * endpoints + n + 1)}@n${n & 3}`,
    );
    slices.push(slice(`s${i}`, ready));
  }
  return { services, slices };
}

export const RULES = clusterOptionsOf(undefined);
