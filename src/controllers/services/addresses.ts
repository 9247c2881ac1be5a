/**
 * Which service has which ClusterIP, NodePort and load-balancer address: an index over the store, so it is correct
 * after a restart and cannot leak. Choosing an address does not reserve it; the commit in the same turn of the event
 * loop does.
 */

import type { Store } from '../../api/store/store.ts';
import type { Protocol, Service } from '../../api/types/objects.ts';
import { type Cidr, contains, parseIp, parseRange, printIp, type Range } from '../../net/address.ts';
import { keyOf } from '../work-queue.ts';

export class ServiceAddresses {
  readonly serviceRange: Cidr;
  readonly nodePortRange: readonly [number, number];
  private readonly store: Store;
  private readonly pool: readonly Range[];
  private readonly clusterIps = new Map<string, string>();
  private readonly nodePorts = new Map<string, string>();
  private readonly balancerIps = new Map<string, string>();
  private nextIp: bigint;
  private nextPort: number;

  /** `pool`: ranges of load-balancer addresses. All texts must be valid. */
  constructor(store: Store, serviceRange: Cidr, nodePortRange: readonly [number, number], pool: readonly string[]) {
    this.store = store;
    this.serviceRange = serviceRange;
    this.nodePortRange = nodePortRange;
    this.pool = pool.map((text) => parseRange(text)!);
    this.nextIp = serviceRange.first + this.staticBand();
    this.nextPort = nodePortRange[0] + this.staticPorts();
    for (const service of store.list('Service')) this.hold(service);
    store.onCommit('Service', ({ type, object, old }) => {
      if (old !== undefined) this.release(old);
      if (type !== 'DELETED') this.hold(object);
    });
  }

  /** Key of the service that has this address. */
  ownerOfClusterIp(ip: string): string | undefined {
    return this.clusterIps.get(ip);
  }

  ownerOfNodePort(protocol: Protocol, port: number): string | undefined {
    return this.nodePorts.get(`${protocol}/${port}`);
  }

  /** In the range, and not its first or last address. */
  isServiceAddress(text: string): boolean {
    const ip = parseIp(text);
    const { first, last } = this.serviceRange;
    return ip !== undefined && contains(this.serviceRange, ip) && ip.value > first && ip.value < last;
  }

  /**
   * A free address, or undefined if all are in use. Allocation goes round the range, so that a released address is
   * reused as late as possible. The lowest part is used last: users choose addresses from it themselves (KEP-3070).
   */
  freeClusterIp(): string | undefined {
    const { first, last, family } = this.serviceRange;
    const low = first + this.staticBand();
    const found =
      this.scan(this.nextIp, last - 1n) ?? this.scan(low, this.nextIp - 1n) ?? this.scan(first + 2n, low - 1n);
    if (found === undefined) return undefined;
    this.nextIp = found + 1n < last ? found + 1n : low;
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

  /** Addresses at the low end reserved for explicit requests: min(max(16, n/16), 256), as in Kubernetes. */
  private staticBand(): bigint {
    const { first, last } = this.serviceRange;
    const size = Number(last - first + 1n);
    const band = Math.min(Math.max(16, Math.floor(size / 16)), 256);
    return BigInt(size > band + 2 ? band : 2);
  }

  private staticPorts(): number {
    const [first, last] = this.nodePortRange;
    const size = last - first + 1;
    const band = Math.min(Math.max(16, Math.floor(size / 32)), 128);
    return size > band ? band : 0;
  }

  private scan(from: bigint, to: bigint): bigint | undefined {
    const { family } = this.serviceRange;
    for (let value = from; value <= to; value++) {
      if (!this.clusterIps.has(printIp({ family, value }))) return value;
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

  private each({ spec, status }: Service, act: (map: Map<string, string>, item: string) => void): void {
    for (const ip of spec.clusterIPs ?? []) if (ip !== 'None' && ip !== '') act(this.clusterIps, ip);
    for (const port of spec.ports ?? []) {
      if (port.nodePort) act(this.nodePorts, `${port.protocol ?? 'TCP'}/${port.nodePort}`);
    }
    if (spec.healthCheckNodePort) act(this.nodePorts, `TCP/${spec.healthCheckNodePort}`);
    for (const { ip } of status?.loadBalancer?.ingress ?? []) if (ip) act(this.balancerIps, ip);
  }
}
