/** Names of addresses: those of the API's objects, or else the addresses themselves. */
import { protocolName } from '../../../native-free-dataplane/protocols.ts';
import { isEnded } from '../../api/pod-phase.ts';
import { matchesLabels } from '../../api/selectors.ts';
import type { NodeObject, Pod, Service, ServicePort } from '../../api/types/objects.ts';

/** The names that descriptions of steps contain. */
export interface StepNames {
  /** `pod default/web`, `node n1`, or the address. */
  address(ip: string): string;
  /** `default/web:http`, or address and port. */
  service(ip: string, protocol: number, port: number): string;
}

export interface NamedObjects {
  readonly pods: readonly Pod[];
  readonly services: readonly Service[];
  readonly nodes: readonly NodeObject[];
}

export interface ServicePortName {
  readonly service: Service;
  readonly port: ServicePort;
}

export const NO_OBJECTS: NamedObjects = { pods: [], services: [], nodes: [] };

const keyOf = ({ metadata }: Pod | Service): string => `${metadata.namespace ?? 'default'}/${metadata.name}`;

export class Names implements StepNames {
  readonly objects: NamedObjects;
  /** Ports of Services by `ADDRESS:PORT/PROTOCOL`, and NodePorts by `:PORT/PROTOCOL`; made when first asked for. */
  private ports: Map<string, ServicePortName> | undefined;

  constructor(objects: NamedObjects = NO_OBJECTS) {
    this.objects = objects;
  }

  /** The pod with an address. Pods with hostNetwork are not found: they share the node's address. */
  podAt(ip: string): Pod | undefined {
    return this.objects.pods.find((pod) => pod.status?.podIP === ip && !pod.spec.hostNetwork && !isEnded(pod));
  }

  /** `pod default/web`, `node n1`, or the address. */
  address(ip: string): string {
    const pod = this.podAt(ip);
    if (pod !== undefined) return `pod ${keyOf(pod)}`;
    const node = this.nodeAt(ip);
    if (node !== undefined) return `node ${node}`;
    const service = this.objects.services.find(({ spec }) => spec.clusterIP === ip);
    return service === undefined ? ip : `Service ${keyOf(service)}`;
  }

  service(ip: string, protocol: number, port: number): string {
    const named = this.servicePort(ip, protocol, port);
    return named === undefined ? `${ip}:${port}` : printServicePort(named);
  }

  nodeAt(ip: string): string | undefined {
    const has = ({ status }: NodeObject): boolean => status?.addresses?.some(({ address }) => address === ip) ?? false;
    return this.objects.nodes.find(has)?.metadata.name;
  }

  /** The Service port of an address and port; a NodePort matches any address. */
  servicePort(ip: string, protocol: number, number: number): ServicePortName | undefined {
    this.ports ??= portsOf(this.objects.services);
    const named = `${number}/${protocolName(protocol).toUpperCase()}`;
    return this.ports.get(`${ip}:${named}`) ?? this.ports.get(`:${named}`);
  }

  /** Pods that a Service selects, ready or not. */
  selected({ metadata, spec }: Service): readonly Pod[] {
    const { selector = {} } = spec;
    if (Object.keys(selector).length === 0) return [];
    return this.objects.pods.filter(
      (pod) =>
        (pod.metadata.namespace ?? 'default') === (metadata.namespace ?? 'default') &&
        matchesLabels(selector, pod.metadata.labels),
    );
  }
}

function portsOf(services: readonly Service[]): Map<string, ServicePortName> {
  const found = new Map<string, ServicePortName>();
  const add = (key: string, named: ServicePortName): void => {
    if (!found.has(key)) found.set(key, named);
  };
  for (const service of services) {
    for (const port of service.spec.ports ?? []) {
      const { protocol = 'TCP', nodePort } = port;
      for (const ip of addressesOf(service)) add(`${ip}:${port.port}/${protocol}`, { service, port });
      if (nodePort) add(`:${nodePort}/${protocol}`, { service, port });
    }
  }
  return found;
}

function addressesOf({ spec, status }: Service): string[] {
  const ingress = status?.loadBalancer?.ingress ?? [];
  const all = [spec.clusterIP, ...(spec.externalIPs ?? []), ...ingress.map(({ ip }) => ip)];
  return all.filter((ip): ip is string => ip !== undefined);
}

/** `default/web`, or with a named port `default/web:http`. */
export function printServicePort({ service, port }: ServicePortName): string {
  return `${keyOf(service)}${port.name ? `:${port.name}` : ''}`;
}

/** `app=web,tier=front`. */
export function printSelector(selector: Readonly<Record<string, string>>): string {
  return Object.entries(selector)
    .map((pair) => pair.join('='))
    .join(',');
}
