/** Does a Service lead anywhere? From the API's objects alone. */
import { nearestWord } from '../../api/nearest-word.ts';
import { isReady } from '../../api/ready.ts';
import { matchesLabels } from '../../api/selectors.ts';
import { servicePortNamed } from '../../api/service-ports.ts';
import { slicesOfService } from '../../api/service-slices.ts';
import type { EndpointSlice, Pod, Service, ServicePort } from '../../api/types/objects.ts';
import { type Check, fail, pass } from './check.ts';
import { whyNotReady } from './pod-checks.ts';

const namespaceOf = ({ metadata }: Service | Pod): string => metadata.namespace ?? 'default';
const printLabels = (labels: Readonly<Record<string, string>>): string =>
  Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(',');

export function findService(
  services: readonly Service[],
  name: string,
  namespace: string,
): { service: Service | undefined; check: Check } {
  const service = services.find((one) => one.metadata.name === name && namespaceOf(one) === namespace);
  if (service !== undefined) {
    const { clusterIP, type = 'ClusterIP' } = service.spec;
    return { service, check: pass('service', `service ${namespace}/${name} is ${type} ${clusterIP ?? ''}`.trim()) };
  }
  const elsewhere = services.filter(({ metadata }) => metadata.name === name).map(namespaceOf);
  const there = `there is no service ${name} in namespace ${namespace}`;
  if (elsewhere.length > 0)
    return {
      service,
      check: fail('service', `${there}: it is in ${elsewhere.join(', ')}, so use ${name}.${elsewhere[0]}`),
    };
  const names = services.filter((one) => namespaceOf(one) === namespace).map(({ metadata }) => metadata.name);
  const near = nearestWord(name, names);
  return { service, check: fail('service', near === undefined ? there : `${there}: did you mean ${near}?`) };
}

/** @param wanted number or name; undefined: the only port */
export function findPort(
  { metadata, spec }: Service,
  wanted: string | undefined,
  protocol: string,
): { port: ServicePort | undefined; check: Check } {
  const ports = (spec.ports ?? []).filter((port) => (port.protocol ?? 'TCP') === protocol);
  const port = wanted === undefined ? (ports.length === 1 ? ports[0] : undefined) : servicePortNamed(ports, wanted);
  if (port !== undefined) {
    const target = port.targetPort ?? port.port;
    return { port, check: pass('port', `port ${port.port}/${protocol} leads to port ${target} of its pods`) };
  }
  const had = ports.map((one) => (one.name ? `${one.port} (${one.name})` : String(one.port))).join(', ');
  const text =
    wanted === undefined
      ? `service ${metadata.name} has ${ports.length} ${protocol} ports (${had}): name one`
      : `service ${metadata.name} has no port ${wanted}/${protocol}: it has ${had || 'none of that protocol'}`;
  return { port, check: fail('port', text) };
}

/** Has the service port an endpoint that is ready? */
export function checkEndpoints(
  service: Service,
  port: ServicePort,
  slices: readonly EndpointSlice[],
  pods: readonly Pod[],
): Check {
  const ready = slicesOfService(service, slices)
    .filter(({ ports = [] }) => ports.some((one) => (one.name ?? '') === (port.name ?? '')))
    .flatMap(({ endpoints }) => endpoints)
    .filter(({ conditions }) => conditions?.ready !== false);
  if (ready.length > 0) {
    const addresses = ready.slice(0, 3).map((endpoint) => endpoint.addresses[0]);
    return pass('endpoints', `${ready.length} ready: ${addresses.join(', ')}${ready.length > 3 ? ', …' : ''}`);
  }
  return fail('endpoints', whyNoEndpoint(service, port, pods));
}

function whyNoEndpoint(service: Service, port: ServicePort, pods: readonly Pod[]): string {
  const { selector = {} } = service.spec;
  const none = `service ${service.metadata.name} has no ready endpoint`;
  if (Object.keys(selector).length === 0) return `${none}: it has no selector, and nobody wrote endpoints for it`;
  const inNamespace = pods.filter((pod) => namespaceOf(pod) === namespaceOf(service));
  const selected = inNamespace.filter(({ metadata }) => matchesLabels(selector, metadata.labels));
  if (selected.length === 0) {
    const near = inNamespace.find(({ metadata }) =>
      Object.keys(selector).some((key) => metadata.labels?.[key] !== undefined),
    );
    const hint =
      near === undefined ? '' : ` (pod ${near.metadata.name} has ${printLabels(near.metadata.labels ?? {})})`;
    return `${none}: no pod in namespace ${namespaceOf(service)} has the labels ${printLabels(selector)}${hint}`;
  }
  const { targetPort } = port;
  if (typeof targetPort === 'string') {
    const declared = selected.flatMap(({ spec }) => spec.containers.flatMap(({ ports = [] }) => ports));
    if (!declared.some(({ name }) => name === targetPort))
      return `${none}: its targetPort is "${targetPort}", and no container of its pods names a port so`;
  }
  const notReady = selected.filter((pod) => !isReady(pod));
  const first = notReady[0];
  if (first === undefined)
    return `${none}, although pod ${selected[0]!.metadata.name} is Ready: the endpoints are late`;
  const why = whyNotReady(first) ?? `it is ${first.status?.phase ?? 'Pending'}`;
  return `${none}: pod ${first.metadata.name} matches but is not Ready: ${why}`;
}
