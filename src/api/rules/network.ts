/** Validation across the fields of Service, Endpoints and EndpointSlice. */
import { parseCidr, parseIp } from '../../net/address.ts';
import { whyNotEndpoint } from '../../net/reserved.ts';
import type { FieldError } from '../errors.ts';
import { DNS_LABEL } from '../schema/fields.ts';
import type { EndpointSlice, Endpoints, Service, ServiceSpec } from '../types/objects.ts';
import { duplicate, forbidden, invalid, NOT_AN_ADDRESS, required } from './field-errors.ts';

const DNS_NAME = new RegExp(`^${DNS_LABEL}(\\.${DNS_LABEL})*\\.?$`);

const isDnsName = (text: string) => text.length <= 253 && DNS_NAME.test(text);

/** Is the Service reachable from outside, so that it has an externalTrafficPolicy? */
export function isExternallyAccessible(spec: ServiceSpec): boolean {
  return spec.type === 'LoadBalancer' || spec.type === 'NodePort' || (isClusterIpType(spec) && hasExternalIps(spec));
}

const isClusterIpType = (spec: ServiceSpec) => (spec.type ?? 'ClusterIP') === 'ClusterIP';
const hasExternalIps = (spec: ServiceSpec) => (spec.externalIPs ?? []).length > 0;

export function needsHealthCheckNodePort(spec: ServiceSpec): boolean {
  return spec.type === 'LoadBalancer' && spec.externalTrafficPolicy === 'Local';
}

export function checkService({ spec }: Service): FieldError[] {
  const errors: FieldError[] = [];
  checkType(spec, errors);
  checkPorts(spec, errors);
  checkExternal(spec, errors);
  if (spec.sessionAffinity !== 'ClientIP' && spec.sessionAffinityConfig !== undefined) {
    errors.push(forbidden('spec.sessionAffinityConfig', 'must not be set when session affinity is None'));
  }
  return errors;
}

function checkType(spec: ServiceSpec, errors: FieldError[]): void {
  const headless = spec.clusterIP === 'None';
  const ip = spec.clusterIP ?? spec.clusterIPs?.[0] ?? '';
  if (spec.type === 'ExternalName') {
    if (ip !== '') errors.push(forbidden('spec.clusterIPs', 'may not be set for ExternalName services'));
    if (!spec.externalName) errors.push(required('spec.externalName'));
    else if (!isDnsName(spec.externalName)) {
      errors.push(invalid('spec.externalName', spec.externalName, 'must be a DNS name (RFC 1123 subdomain)'));
    }
    return;
  }
  if (headless && !isClusterIpType(spec)) {
    errors.push(invalid('spec.clusterIPs[0]', 'None', `may not be set to 'None' for ${spec.type} services`));
  }
  if (ip !== '' && ip !== 'None' && parseIp(ip) === undefined)
    errors.push(invalid('spec.clusterIPs[0]', ip, NOT_AN_ADDRESS));
  if (spec.clusterIP && spec.clusterIPs?.[0] !== undefined && spec.clusterIP !== spec.clusterIPs[0]) {
    errors.push(invalid('spec.clusterIPs', spec.clusterIPs, 'first value must match `clusterIP`'));
  }
  if (!headless && !spec.ports?.length) errors.push(required('spec.ports'));
}

function checkPorts(spec: ServiceSpec, errors: FieldError[]): void {
  const ports = spec.ports ?? [];
  const seen = { names: new Set<string>(), ports: new Set<string>(), nodePorts: new Set<string>() };
  const once = (set: Set<string>, key: string, path: string, value: unknown) => {
    if (set.has(key)) errors.push(duplicate(path, value));
    set.add(key);
  };
  ports.forEach((port, i) => {
    const at = `spec.ports[${i}]`;
    const protocol = port.protocol ?? 'TCP';
    if (!port.name) {
      if (ports.length > 1) errors.push(required(`${at}.name`));
    } else once(seen.names, port.name, `${at}.name`, port.name);
    once(seen.ports, `${protocol}/${port.port}`, at, { port: port.port, protocol });
    if (!port.nodePort) return;
    if (isClusterIpType(spec) || spec.type === 'ExternalName') {
      errors.push(forbidden(`${at}.nodePort`, `may not be used when \`type\` is '${spec.type ?? 'ClusterIP'}'`));
    }
    once(seen.nodePorts, `${protocol}/${port.nodePort}`, `${at}.nodePort`, port.nodePort);
  });
}

function checkExternal(spec: ServiceSpec, errors: FieldError[]): void {
  spec.externalIPs?.forEach((text, i) => {
    checkAddress(text, `spec.externalIPs[${i}]`, errors);
  });
  if (spec.externalTrafficPolicy !== undefined && !isExternallyAccessible(spec)) {
    const message = 'may only be set for externally-accessible services';
    errors.push(invalid('spec.externalTrafficPolicy', spec.externalTrafficPolicy, message));
  }
  if (spec.healthCheckNodePort && !needsHealthCheckNodePort(spec)) {
    const message = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
    errors.push(invalid('spec.healthCheckNodePort', spec.healthCheckNodePort, message));
  }
  if (spec.type === 'LoadBalancer') {
    spec.loadBalancerSourceRanges?.forEach((range, i) => {
      const path = `spec.loadBalancerSourceRanges[${i}]`;
      if (parseCidr(range.trim()) === undefined) errors.push(invalid(path, range, 'must be a valid CIDR value'));
    });
    return;
  }
  const only = "may only be used when `type` is 'LoadBalancer'";
  if (spec.loadBalancerSourceRanges?.length) errors.push(forbidden('spec.loadBalancerSourceRanges', only));
  if (spec.loadBalancerClass !== undefined) errors.push(forbidden('spec.loadBalancerClass', only));
  if (spec.allocateLoadBalancerNodePorts !== undefined) {
    errors.push(forbidden('spec.allocateLoadBalancerNodePorts', only));
  }
}

function checkAddress(text: string, path: string, errors: FieldError[]): void {
  const ip = parseIp(text);
  const why = ip === undefined ? NOT_AN_ADDRESS : whyNotEndpoint(ip);
  if (why !== undefined) errors.push(invalid(path, text, why));
}

export function checkEndpoints({ subsets }: Endpoints): FieldError[] {
  const errors: FieldError[] = [];
  subsets?.forEach((subset, i) => {
    const at = `subsets[${i}]`;
    if (!subset.addresses?.length && !subset.notReadyAddresses?.length) {
      errors.push(required(at, 'must specify `addresses` or `notReadyAddresses`'));
    }
    subset.addresses?.forEach((address, j) => {
      checkAddress(address.ip, `${at}.addresses[${j}].ip`, errors);
    });
    subset.notReadyAddresses?.forEach((address, j) => {
      checkAddress(address.ip, `${at}.notReadyAddresses[${j}].ip`, errors);
    });
    subset.ports?.forEach((port, j) => {
      if (!port.name && subset.ports!.length > 1) errors.push(required(`${at}.ports[${j}].name`));
    });
  });
  return errors;
}

export function checkEndpointSlice(slice: EndpointSlice): FieldError[] {
  const errors: FieldError[] = [];
  slice.endpoints.forEach((endpoint, i) => {
    endpoint.addresses.forEach((text, j) => {
      const path = `endpoints[${i}].addresses[${j}]`;
      if (slice.addressType === 'FQDN') {
        if (!isDnsName(text)) errors.push(invalid(path, text, 'must be a DNS name'));
        return;
      }
      checkAddress(text, path, errors);
      const ip = parseIp(text);
      if (ip !== undefined && `IPv${ip.family}` !== slice.addressType) {
        errors.push(invalid(path, text, `must be an ${slice.addressType} address`));
      }
    });
  });
  const names = new Set<string>();
  slice.ports?.forEach((port, i) => {
    const name = port.name ?? '';
    if (names.has(name)) errors.push(duplicate(`ports[${i}].name`, name));
    names.add(name);
  });
  return errors;
}
