/**
 * Environment variables for Services, for programs that do not use DNS: `WEB_SERVICE_HOST`, and the older
 * `WEB_PORT_80_TCP_ADDR` of Docker links. A container gets those of the Services that exist when it starts: of its own
 * namespace, unless `enableServiceLinks` is false, and always of `default/kubernetes`.
 *
 * Read before editing: kubernetes pkg/kubelet/envvars/envvars.go and kubelet_pods.go (getServiceEnvVarMap).
 */
import type { Pod, Service } from '../../api/types/objects.ts';

const API_NAMESPACE = 'default';
const API_SERVICE = 'kubernetes';

export function serviceEnvironment(pod: Pod, services: Iterable<Service>): Map<string, string> {
  const namespace = pod.metadata.namespace ?? 'default';
  const links = pod.spec.enableServiceLinks !== false;
  const env = new Map<string, string>();
  for (const service of services) {
    const { name, namespace: home = 'default' } = service.metadata;
    const api = home === API_NAMESPACE && name === API_SERVICE;
    // A Service of that name in the pod's own namespace takes precedence over the API's (kubelet).
    if (api ? namespace !== API_NAMESPACE && env.has('KUBERNETES_SERVICE_HOST') : !(links && home === namespace))
      continue;
    for (const [key, value] of variablesOf(service)) env.set(key, value);
  }
  return env;
}

function variablesOf({ metadata, spec }: Service): [name: string, value: string][] {
  const { clusterIP, ports = [] } = spec;
  const [first] = ports;
  if (!clusterIP || clusterIP === 'None' || first === undefined) return [];
  const prefix = variableName(metadata.name);
  const host = clusterIP.includes(':') ? `[${clusterIP}]` : clusterIP;
  const named = ports.flatMap(({ name, port }): [string, string][] =>
    name ? [[`${prefix}_SERVICE_PORT_${variableName(name)}`, String(port)]] : [],
  );
  const links = ports.flatMap(({ port, protocol = 'TCP' }, i): [string, string][] => {
    const link = `${prefix}_PORT_${port}_${protocol}`;
    const url = `${protocol.toLowerCase()}://${host}:${port}`;
    return [
      ...(i === 0 ? [[`${prefix}_PORT`, url] as [string, string]] : []),
      [link, url],
      [`${link}_PROTO`, protocol.toLowerCase()],
      [`${link}_PORT`, String(port)],
      [`${link}_ADDR`, clusterIP],
    ];
  });
  return [[`${prefix}_SERVICE_HOST`, clusterIP], [`${prefix}_SERVICE_PORT`, String(first.port)], ...named, ...links];
}

const variableName = (name: string): string => name.toUpperCase().replaceAll('-', '_');
