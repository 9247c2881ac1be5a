/**
 * Which service has which ClusterIP, NodePort and load-balancer address: an index over the store, so it is correct
 * after a restart and cannot leak. Choosing an address does not reserve it; the commit in the same turn of the event
 * loop does.
 */
import { isReady } from '../../api/ready.ts';
import type { Store } from '../../api/store/store.ts';
import type { Protocol, Service, ServiceCIDR } from '../../api/types/objects.ts';
import {
  type Cidr,
  contains,
  parseCidr,
  parseIp,
  parseRange,
  printCidr,
  printIp,
  type Range,
} from '../../net/address.ts';
import { keyOf } from '../work-queue.ts';
import { clusterIpsOf, serviceOf } from './ip-addresses.ts';

export class ServiceAddresses {
  readonly serviceRange: Cidr;
  readonly nodePortRange: readonly [number, number];
  private readonly store: Store;
  private readonly pool: readonly Range[];
  private readonly clusterIps = new Map<string, string>();
  private readonly nodePorts = new Map<string, string>();
  private readonly balancerIps = new Map<string, string>();
  /** The service network, and those that ServiceCIDRs add. */
  private ranges: readonly Cidr[];
  /** Where the search in each range goes on. */
  private readonly nextIps = new Map<string, bigint>();
  private nextPort: number;

  /** `pool`: ranges of load-balancer addresses. All texts must be valid. */
  constructor(store: Store, serviceRange: Cidr, nodePortRange: readonly [number, number], pool: readonly string[]) {
    this.store = store;
    this.serviceRange = serviceRange;
    this.nodePortRange = nodePortRange;
    this.pool = pool.map((text) => parseRange(text)!);
    this.ranges = this.readRanges();
    this.nextPort = nodePortRange[0] + this.staticPorts();
    for (const service of store.list('Service')) this.hold(service);
    store.onCommit('ServiceCIDR', () => {
      this.ranges = this.readRanges();
    });
    store.onCommit('Service', ({ type, object, old }) => {
      if (old !== undefined) this.release(old);
      if (type !== 'DELETED') this.hold(object);
    });
  }

  /** Key of the service that has this address, or for which an IPAddress reserves it. */
  ownerOfClusterIp(ip: string): string | undefined {
    const owner = this.clusterIps.get(ip);
    if (owner !== undefined) return owner;
    const reserved = this.store.get('IPAddress', undefined, ip);
    return reserved && (serviceOf(reserved) ?? '');
  }

  ownerOfNodePort(protocol: Protocol, port: number): string | undefined {
    return this.nodePorts.get(`${protocol}/${port}`);
  }

  /** In one of the ranges, and not its first or last address. */
  isServiceAddress(text: string): boolean {
    const ip = parseIp(text);
    return (
      ip !== undefined &&
      this.ranges.some((range) => contains(range, ip) && ip.value > range.first && ip.value < range.last)
    );
  }

  /**
   * A free address, or undefined if all are in use. Allocation goes round the range, so that a released address is
   * reused as late as possible. The lowest part is used last: users choose addresses from it themselves (KEP-3070).
   */
  freeClusterIp(): string | undefined {
    for (const range of this.ranges) {
      const found = this.freeIn(range);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  private freeIn(range: Cidr): string | undefined {
    const { first, last, family } = range;
    const name = printCidr(range);
    const low = first + staticBand(range);
    const next = this.nextIps.get(name) ?? low;
    // The first address of the cluster's own network is that of Service kubernetes.
    const lowest = first + (range === this.serviceRange ? 2n : 1n);
    const found =
      this.scan(family, next, last - 1n) ?? this.scan(family, low, next - 1n) ?? this.scan(family, lowest, low - 1n);
    if (found === undefined) return undefined;
    this.nextIps.set(name, found + 1n < last ? found + 1n : low);
    return printIp({ family, value: found });
  }

  /** A free NodePort, or undefined; those in `also` are used by the service being processed. */
  freeNodePort(protocol: Protocol, also: ReadonlySet<string>): number | undefined {
    const [first, last] = this.nodePortRange;
    const low = first + this.staticPorts();
    const free = (port: number) => {
      const key = `${protocol}/${port}`;
      return !this.nodePorts.has(key) && !also.has(key);
    };
    const count = last - low + 1;
    for (let i = 0; i < count; i++) {
      const port = low + ((this.nextPort - low + i) % count);
      if (!free(port)) continue;
      this.nextPort = port + 1;
      return port;
    }
    for (let port = first; port < low; port++) if (free(port)) return port;
    return undefined;
  }

  hasBalancerPool(): boolean {
    return this.pool.length > 0;
  }

  /** In the pool, and not an address of a node: a pool may overlap the underlay. */
  inBalancerPool(text: string): boolean {
    const ip = parseIp(text);
    return ip !== undefined && this.pool.some((range) => contains(range, ip)) && !this.nodeAddresses().has(text);
  }

  ownerOfBalancerIp(ip: string): string | undefined {
    return this.balancerIps.get(ip);
  }

  /** The lowest free address of the pool, or undefined. */
  freeBalancerIp(): string | undefined {
    const nodes = this.nodeAddresses();
    for (const { first, last, family } of this.pool) {
      for (let value = first; value <= last; value++) {
        const ip = printIp({ family, value });
        if (!this.balancerIps.has(ip) && !nodes.has(ip)) return ip;
      }
    }
    return undefined;
  }

  isNodeAddress(text: string): boolean {
    return this.nodeAddresses().has(text);
  }

  private nodeAddresses(): Set<string> {
    const nodes = this.store.list('Node');
    return new Set(nodes.flatMap(({ status }) => (status?.addresses ?? []).map(({ address }) => address)));
  }

  private readRanges(): Cidr[] {
    const isUsed = (range: ServiceCIDR) => range.metadata.deletionTimestamp === undefined && isReady(range);
    const more = this.store.list('ServiceCIDR').filter(isUsed);
    const cidrs = more.flatMap(({ spec }) => (spec.cidrs ?? []).flatMap((text) => parseCidr(text) ?? []));
    return [this.serviceRange, ...cidrs.filter((cidr) => printCidr(cidr) !== printCidr(this.serviceRange))];
  }

  private staticPorts(): number {
    const [first, last] = this.nodePortRange;
    const size = last - first + 1;
    const band = Math.min(Math.max(16, Math.floor(size / 32)), 128);
    return size > band ? band : 0;
  }

  private scan(family: 4 | 6, from: bigint, to: bigint): bigint | undefined {
    for (let value = from; value <= to; value++) {
      if (this.ownerOfClusterIp(printIp({ family, value })) === undefined) return value;
    }
    return undefined;
  }

  private hold(service: Service): void {
    this.each(service, (map, item) => map.set(item, keyOf(service)));
  }

  private release(service: Service): void {
    const key = keyOf(service);
    this.each(service, (map, item) => map.get(item) === key && map.delete(item));
  }

  private each(service: Service, act: (map: Map<string, string>, item: string) => void): void {
    const { spec, status } = service;
    for (const ip of clusterIpsOf(service)) act(this.clusterIps, ip);
    for (const port of spec.ports ?? []) {
      if (port.nodePort) act(this.nodePorts, `${port.protocol ?? 'TCP'}/${port.nodePort}`);
    }
    if (spec.healthCheckNodePort) act(this.nodePorts, `TCP/${spec.healthCheckNodePort}`);
    for (const { ip } of status?.loadBalancer?.ingress ?? []) if (ip) act(this.balancerIps, ip);
  }
}

/** Addresses at the low end reserved for explicit requests: min(max(16, n/16), 256), as in Kubernetes. */
function staticBand({ first, last }: Cidr): bigint {
  const size = Number(last - first + 1n);
  const band = Math.min(Math.max(16, Math.floor(size / 16)), 256);
  return BigInt(size > band + 2 ? band : 2);
}
