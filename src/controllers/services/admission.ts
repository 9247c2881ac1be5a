/**
 * Admission of Services: fields that a change of type drops or keeps (registry/core/service/strategy.go), and
 * allocation of ClusterIP, NodePorts, health-check port and load-balancer address. Rejections use Kubernetes' texts.
 */
import { isDeepStrictEqual } from 'node:util';
import { type FieldError, internalError, invalid } from '../../api/errors.ts';
import { type Resource, resourceOfKind } from '../../api/resources.ts';
import { invalid as bad } from '../../api/rules/field-errors.ts';
import { isExternallyAccessible, needsHealthCheckNodePort } from '../../api/rules/network.ts';
import type { Admission } from '../../api/store/registry.ts';
import type { Protocol, Service, ServicePort, ServiceSpec, WrittenPart } from '../../api/types/objects.ts';
import { type Cidr, contains, parseIp, printCidr } from '../../net/address.ts';
import { keyOf } from '../work-queue.ts';
import type { ServiceAddresses } from './addresses.ts';

const SERVICES: Resource = resourceOfKind('Service')!;

const needsClusterIp = (spec: ServiceSpec) => spec.type !== 'ExternalName';
const mayHaveNodePorts = (spec: ServiceSpec) => spec.type === 'NodePort' || spec.type === 'LoadBalancer';
const wantsNodePorts = (spec: ServiceSpec) =>
  spec.type === 'NodePort' || (spec.type === 'LoadBalancer' && spec.allocateLoadBalancerNodePorts !== false);

const portKey = (port: ServicePort) => `${port.protocol ?? 'TCP'}/${port.port}`;
const nodePortKey = (port: ServicePort) => `${port.protocol ?? 'TCP'}/${port.nodePort}`;

export class ServiceAdmission implements Admission<Service> {
  private readonly addresses: ServiceAddresses;
  private readonly externalRanges: readonly Cidr[];

  /** `externalRanges`: networks that may contain externalIPs. */
  constructor(addresses: ServiceAddresses, externalRanges: readonly Cidr[]) {
    this.addresses = addresses;
    this.externalRanges = externalRanges;
  }

  prepare(service: Service, old: Service | undefined): Service {
    const spec = { ...service.spec };
    if (old !== undefined) {
      dropFieldsOfOldType(spec, old.spec);
      keepOmittedFields(spec, old.spec);
      if (spec.clusterIP !== old.spec.clusterIP && isDeepStrictEqual(spec.clusterIPs, old.spec.clusterIPs)) {
        delete spec.clusterIPs;
      }
    }
    if (spec.clusterIP === '') delete spec.clusterIP;
    if (spec.clusterIPs?.length === 0) delete spec.clusterIPs;
    if (spec.clusterIP !== undefined) spec.clusterIPs ??= [spec.clusterIP];
    else if (spec.clusterIPs?.[0]) spec.clusterIP = spec.clusterIPs[0];
    if (spec.healthCheckNodePort === 0) delete spec.healthCheckNodePort;
    return { ...service, spec };
  }

  admit(service: Service, old: Service | undefined, subresource: WrittenPart | undefined): Service {
    const errors: FieldError[] = [];
    if (subresource === 'status') {
      this.checkIngress(service, old, errors);
      if (errors.length > 0) throw invalid(SERVICES, service.metadata.name, errors);
      return service;
    }
    const spec = { ...service.spec };
    this.checkExternalIps(spec, old, errors);
    const key = keyOf(service);
    this.checkClusterIp(spec, key, errors);
    const taken = new Set<string>();
    this.checkNodePorts(spec, key, taken, errors);
    if (errors.length > 0) throw invalid(SERVICES, service.metadata.name, errors);
    this.fillClusterIp(spec);
    this.fillNodePorts(spec, taken);
    const loadBalancer = this.balancerStatus({ ...service, spec }, key);
    return { ...service, spec, status: { ...service.status, loadBalancer } };
  }

  private checkClusterIp(spec: ServiceSpec, key: string, errors: FieldError[]): void {
    if (spec.ipFamilies?.includes('IPv6') || spec.ipFamilyPolicy === 'RequireDualStack') {
      const path = spec.ipFamilies?.includes('IPv6') ? 'spec.ipFamilies' : 'spec.ipFamilyPolicy';
      errors.push(bad(path, 'IPv6', 'not configured on this cluster'));
    }
    const ip = spec.clusterIP;
    if (!needsClusterIp(spec) || ip === undefined || ip === 'None') return;
    const owner = this.addresses.ownerOfClusterIp(ip);
    if (owner === key) return;
    const failed = `failed to allocate IP ${ip}: `;
    if (owner !== undefined) {
      errors.push(bad('spec.clusterIPs', [ip], `${failed}provided IP is already allocated`));
    } else if (!this.addresses.isServiceAddress(ip)) {
      const why = 'the provided network does not match the current range';
      errors.push(bad('spec.clusterIPs', [ip], failed + why));
    }
  }

  private fillClusterIp(spec: ServiceSpec): void {
    if (!needsClusterIp(spec)) {
      delete spec.ipFamilies;
      delete spec.ipFamilyPolicy;
      return;
    }
    if (spec.clusterIP === undefined) {
      const ip = this.addresses.freeClusterIp();
      if (ip === undefined) throw internalError('failed to allocate a serviceIP: range is full');
      spec.clusterIP = ip;
      spec.clusterIPs = [ip];
    }
    spec.ipFamilies ??= ['IPv4'];
    spec.ipFamilyPolicy ??= 'SingleStack';
  }

  private checkNodePorts(spec: ServiceSpec, key: string, taken: Set<string>, errors: FieldError[]): void {
    const check = (protocol: Protocol, port: number, path: string) => {
      const [first, last] = this.addresses.nodePortRange;
      const owner = this.addresses.ownerOfNodePort(protocol, port);
      if (port < first || port > last) {
        const range = `The range of valid ports is ${first}-${last}`;
        errors.push(bad(path, port, `provided port is not in the valid range. ${range}`));
      } else if ((owner !== undefined && owner !== key) || taken.has(`${protocol}/${port}`)) {
        errors.push(bad(path, port, 'provided port is already allocated'));
      }
      taken.add(`${protocol}/${port}`);
    };
    spec.ports?.forEach((port, i) => {
      if (port.nodePort) check(port.protocol ?? 'TCP', port.nodePort, `spec.ports[${i}].nodePort`);
    });
    if (spec.healthCheckNodePort) check('TCP', spec.healthCheckNodePort, 'spec.healthCheckNodePort');
  }

  private fillNodePorts(spec: ServiceSpec, taken: Set<string>): void {
    const take = (protocol: Protocol, wanted: number | undefined): number => {
      const shared = wanted !== undefined && !taken.has(`${protocol}/${wanted}`);
      const free = shared && this.addresses.ownerOfNodePort(protocol, wanted) === undefined;
      const port = free ? wanted : this.addresses.freeNodePort(protocol, taken);
      if (port === undefined) throw internalError('failed to allocate a nodePort: range is full');
      taken.add(`${protocol}/${port}`);
      return port;
    };
    if (wantsNodePorts(spec)) {
      // One number for the same port over several protocols, if it is free for all (a DNS server's TCP and UDP).
      const byPort = new Map<number, number>();
      for (const { port, nodePort } of spec.ports ?? []) if (nodePort) byPort.set(port, nodePort);
      spec.ports = spec.ports?.map((port) => {
        if (port.nodePort) return port;
        const nodePort = take(port.protocol ?? 'TCP', byPort.get(port.port));
        byPort.set(port.port, nodePort);
        return { ...port, nodePort };
      });
    }
    if (needsHealthCheckNodePort(spec)) spec.healthCheckNodePort ??= take('TCP', undefined);
  }

  private checkExternalIps(spec: ServiceSpec, old: Service | undefined, errors: FieldError[]): void {
    const before = new Set(old?.spec.externalIPs);
    spec.externalIPs?.forEach((text, i) => {
      if (before.has(text) || this.mayBeExternal(text)) return;
      const ranges = this.externalRanges.map(printCidr).join(', ') || 'none';
      const message = this.isListed(text)
        ? 'is an address of a node'
        : `is not in a network allowed for external IPs (${ranges}; cluster option externalIpCidrs)`;
      errors.push({ ...bad(`spec.externalIPs[${i}]`, text, message), reason: 'FieldValueForbidden' });
    });
  }

  private checkIngress(service: Service, old: Service | undefined, errors: FieldError[]): void {
    const before = new Set(old?.status?.loadBalancer?.ingress?.map((i) => i.ip));
    service.status?.loadBalancer?.ingress?.forEach(({ ip }, i) => {
      if (ip === undefined || before.has(ip)) return;
      const path = `status.loadBalancer.ingress[${i}].ip`;
      const owner = this.addresses.ownerOfBalancerIp(ip);
      if (owner !== undefined && owner !== keyOf(service)) errors.push(bad(path, ip, `is in use by service ${owner}`));
      else if (!this.addresses.inBalancerPool(ip) && !this.mayBeExternal(ip)) {
        errors.push(bad(path, ip, 'is not in an allowed network (cluster options loadBalancerPool, externalIpCidrs)'));
      }
    });
  }

  /** CVE-2020-8554: never an address of a node, which the networks may contain if they lie in the underlay. */
  private mayBeExternal(text: string): boolean {
    return this.isListed(text) && !this.addresses.isNodeAddress(text);
  }

  private isListed(text: string): boolean {
    const ip = parseIp(text);
    return ip !== undefined && this.externalRanges.some((range) => contains(range, ip));
  }

  /** Its current addresses, if they are still valid; else a new one from the pool; nothing for other types. */
  private balancerStatus({ spec, status }: Service, key: string): { ingress?: object[] } {
    if (spec.type !== 'LoadBalancer') return {};
    const present = status?.loadBalancer?.ingress ?? [];
    const wanted = spec.loadBalancerIP;
    if (spec.loadBalancerClass !== undefined || !this.addresses.hasBalancerPool()) return status?.loadBalancer ?? {};
    if (present.length > 0 && (!wanted || present.some(({ ip }) => ip === wanted))) return { ingress: present };
    const owner = wanted ? this.addresses.ownerOfBalancerIp(wanted) : undefined;
    const grantable = wanted && this.addresses.inBalancerPool(wanted) && (owner === undefined || owner === key);
    const ip = wanted ? (grantable ? wanted : undefined) : this.addresses.freeBalancerIp();
    return ip === undefined ? {} : { ingress: [{ ip, ipMode: 'VIP' }] };
  }
}

/** Clears fields that only the old type has, unless the user changed them: validation then rejects them. */
function dropFieldsOfOldType(spec: ServiceSpec, old: ServiceSpec): void {
  if (needsClusterIp(old) && !needsClusterIp(spec) && (spec.clusterIP ?? old.clusterIP) === old.clusterIP) {
    delete spec.clusterIP;
    delete spec.clusterIPs;
  }
  if (mayHaveNodePorts(old) && !mayHaveNodePorts(spec)) {
    const before = new Set(old.ports?.map(nodePortKey));
    spec.ports = spec.ports?.map((port) => {
      if (!port.nodePort || !before.has(nodePortKey(port))) return port;
      const { nodePort, ...rest } = port;
      return rest;
    });
  }
  const drop = (has: (s: ServiceSpec) => boolean, key: keyof ServiceSpec) => {
    if (has(old) && !has(spec) && isDeepStrictEqual(spec[key], old[key])) delete spec[key];
  };
  const isBalancer = (s: ServiceSpec) => s.type === 'LoadBalancer';
  drop(needsHealthCheckNodePort, 'healthCheckNodePort');
  drop(isBalancer, 'allocateLoadBalancerNodePorts');
  drop(isBalancer, 'loadBalancerClass');
  drop(isBalancer, 'loadBalancerSourceRanges');
  drop(isExternallyAccessible, 'externalTrafficPolicy');
  drop((s) => s.sessionAffinity === 'ClientIP', 'sessionAffinityConfig');
}

/** A replacement that omits address and ports keeps them. */
function keepOmittedFields(spec: ServiceSpec, old: ServiceSpec): void {
  if (needsClusterIp(spec) && needsClusterIp(old) && !spec.clusterIP && !spec.clusterIPs?.length) {
    spec.clusterIP = old.clusterIP;
    spec.clusterIPs = old.clusterIPs;
  }
  if (wantsNodePorts(spec) && mayHaveNodePorts(old)) {
    const before = new Map(old.ports?.map((port) => [portKey(port), port.nodePort]));
    const named = new Set(spec.ports?.filter((p) => p.nodePort).map(nodePortKey));
    spec.ports = spec.ports?.map((port) => {
      const nodePort = port.nodePort || before.get(portKey(port));
      const clash = !port.nodePort && named.has(`${port.protocol ?? 'TCP'}/${nodePort}`);
      return nodePort && !clash ? { ...port, nodePort } : port;
    });
  }
  if (needsHealthCheckNodePort(spec) && old.healthCheckNodePort) spec.healthCheckNodePort ||= old.healthCheckNodePort;
}
