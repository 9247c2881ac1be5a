/**
 * Applies compiled Services and EndpointSlices: each change rewrites only its own Service's entries in the table,
 * whatever the number of Services, and reports which connections end with it (connections/ended.ts).
 */
import { FrontendKind } from '../../../native-free-dataplane/services/table.ts';
import type { ServiceWriter } from '../../../native-free-dataplane/services/writer.ts';
import { formatAddress } from '../../../native-free-dataplane/wire/address.ts';
import { type EndpointSlice, type Service, WellKnown } from '../../api/types/objects.ts';
import { type CompiledPort, compileService } from '../../compile/compile-service.ts';
import { type Place, readyEndpointsOn } from '../../compile/endpoint-sets.ts';
import type { AddressRules } from '../../compile/frontends.ts';
import { type Cidr, contains, parseCidr, parseIp } from '../../net/address.ts';
import { endedByChange, type RemovedEndpoint, type ServicePortState } from '../connections/ended.ts';

/** A port on which load balancers check whether this node has endpoints of a service. */
export interface HealthCheck {
  readonly namespace: string;
  readonly name: string;
  readonly port: number;
  readonly readyEndpoints: number;
}

/** What compiled Services are applied to, and who is informed. */
export interface ServiceSyncOptions {
  readonly writer: ServiceWriter;
  readonly place: Place;
  readonly now: () => number;
  /** Called after the change is applied. */
  readonly onRemoved: (removed: readonly RemovedEndpoint[]) => void;
  /** Called with an error of one service (a full table, a rejected address); the others are not affected. */
  readonly onError: (service: string, error: Error) => void;
  /** Called with the addresses that must be routed to the data plane, whenever they change. */
  readonly onAddresses?: (wanted: ReadonlySet<string>) => void;
  /** The operator's lists of addresses; undefined: the API server has checked them. */
  readonly rules?: AddressRules;
  /**
   * Nothing is applied until `begin`: after a restart, a Service whose slices are not yet listed would refuse its
   * clients.
   */
  readonly held?: boolean;
}

interface Known {
  service?: Service;
  /** By name. */
  readonly slices: Map<string, EndpointSlice>;
  ports: ServicePortState[];
}

/** Keeps the objects, and the compiled state of every service port in the table. */
export class ServiceSync {
  private readonly options: ServiceSyncOptions;
  private place: Place;
  private rules: AddressRules | undefined;
  /** All of it is routed to dp0; addresses that further ServiceCIDRs add are routed one by one. */
  private serviceNetwork: Cidr | undefined;
  private held: boolean;
  private readonly services = new Map<string, Known>();
  /** Services that did not fit: retried whenever something is removed. */
  private readonly failed = new Set<string>();
  /** Rejected addresses last reported, by service: each is reported once. */
  private readonly complaints = new Map<string, string>();
  private readonly addresses = new Map<string, number>();
  /** By name of the node. */
  private readonly nodeAddresses = new Map<string, string>();

  constructor(options: ServiceSyncOptions) {
    this.options = options;
    this.place = options.place;
    this.setRules(options.rules);
    this.held = options.held ?? false;
  }

  /** The initial lists are complete: apply everything. */
  begin(): void {
    if (!this.held) return;
    this.held = false;
    this.apply(this.services.keys());
  }

  /** A Service is new or changed. */
  setService(service: Service): void {
    const key = keyOf(service.metadata.namespace, service.metadata.name);
    this.known(key).service = service;
    this.apply([key]);
  }

  /** A Service was deleted. */
  removeService(service: Service): void {
    const key = keyOf(service.metadata.namespace, service.metadata.name);
    const known = this.services.get(key);
    if (!known) return;
    delete known.service;
    this.apply([key]);
  }

  /** A slice is new or changed; it may belong to another Service now. */
  setSlice(slice: EndpointSlice, old?: EndpointSlice): void {
    const key = serviceOf(slice);
    const before = old && serviceOf(old);
    if (before !== undefined && before !== key) this.removeSlice(old as EndpointSlice);
    if (key === undefined) return;
    this.known(key).slices.set(slice.metadata.name, slice);
    this.apply([key]);
  }

  /** A slice was deleted. */
  removeSlice(slice: EndpointSlice): void {
    const key = serviceOf(slice);
    if (key === undefined || !this.services.get(key)?.slices.delete(slice.metadata.name)) return;
    this.apply([key]);
  }

  /** The node's zone or the operator's lists changed. */
  reconfigure(place: Place, rules?: AddressRules): void {
    if (JSON.stringify([place, rules]) === JSON.stringify([this.place, this.rules])) return;
    this.place = place;
    this.setRules(rules);
    this.apply(this.services.keys());
  }

  /**
   * A node has this address, or none any more. Services that claim it, by an API server that does not check this, are not
   * served there: they would take the node's own connections (kubernetes #127410).
   */
  setNodeAddress(node: string, address: string | undefined): void {
    const before = this.nodeAddresses.get(node);
    if (before === address) return;
    if (address === undefined) this.nodeAddresses.delete(node);
    else this.nodeAddresses.set(node, address);
    this.apply(this.servicesThatClaim(before, address));
  }

  private *servicesThatClaim(...addresses: readonly (string | undefined)[]): Generator<string> {
    for (const [key, { service }] of this.services) {
      if (givenAddresses(service).some((ip) => addresses.includes(ip))) yield key;
    }
  }

  /** Everything applied, for the removal of stale connections of a previous agent. */
  *states(): Generator<ServicePortState> {
    for (const { ports } of this.services.values()) yield* ports;
  }

  /** External and load-balancer addresses in use, as last passed to `onAddresses`. */
  routedAddresses(): ReadonlySet<string> {
    return new Set(this.addresses.keys());
  }

  /** Health-check ports that this node must serve, and their answers. */
  healthChecks(): HealthCheck[] {
    const checks: HealthCheck[] = [];
    for (const { service, slices } of this.services.values()) {
      const port = service?.spec.healthCheckNodePort;
      if (!service || !port || service.spec.externalTrafficPolicy !== 'Local') continue;
      const { namespace = 'default', name } = service.metadata;
      checks.push({
        namespace,
        name,
        port,
        readyEndpoints: readyEndpointsOn([...slices.values()], this.place.nodeName),
      });
    }
    return checks;
  }

  private known(key: string): Known {
    let known = this.services.get(key);
    if (!known) {
      known = { slices: new Map(), ports: [] };
      this.services.set(key, known);
    }
    return known;
  }

  private apply(keys: Iterable<string>): void {
    if (this.held) return;
    const removed: RemovedEndpoint[] = [];
    const routes = { changed: false };
    for (const key of keys) this.compile(key, removed, routes);
    if (removed.length > 0) this.options.onRemoved(removed);
    if (routes.changed) this.options.onAddresses?.(new Set(this.addresses.keys()));
  }

  private compile(key: string, removed: RemovedEndpoint[], routes: { changed: boolean }): void {
    const known = this.services.get(key);
    if (!known) return;
    const { writer, now } = this.options;
    const { service, slices, ports: before } = known;
    const compiled = service ? this.compiled(key, service, [...slices.values()]) : [];
    known.ports = [];
    this.failed.delete(key);
    let gone = false;
    for (const old of before) {
      if (compiled.some(({ name }) => name === old.name)) continue;
      writer.remove(old.name, now());
      gone = true;
      this.count(old, -1, routes);
      removed.push(...endedByChange(old, undefined));
    }
    for (const port of compiled) {
      const old = before.find(({ name }) => name === port.name);
      const state = this.put(key, port, old);
      if (!state) continue;
      known.ports.push(state);
      if (state === old) continue;
      this.count(state, 1, routes);
      if (old) this.count(old, -1, routes);
      removed.push(...endedByChange(old, state));
    }
    if (!service && slices.size === 0) this.services.delete(key);
    if (gone) for (const other of [...this.failed]) if (other !== key) this.compile(other, removed, routes);
  }

  private compiled(key: string, service: Service, slices: EndpointSlice[]): CompiledPort[] {
    const { onError } = this.options;
    try {
      const rules = this.rules && { ...this.rules, nodeAddresses: this.nodeAddresses };
      const { ports, refused } = compileService(service, slices, this.place, rules);
      const complaint = refused.join('; ');
      if (complaint !== '' && complaint !== this.complaints.get(key))
        onError(key, new Error(`not served: ${complaint}`));
      if (complaint === '') this.complaints.delete(key);
      else this.complaints.set(key, complaint);
      return ports;
    } catch (error) {
      onError(key, error as Error);
      return [];
    }
  }

  /** Apply a port. If it does not fit, the previous state stays, and this is retried later. */
  private put(key: string, port: CompiledPort, old: ServicePortState | undefined): ServicePortState | undefined {
    const { name, protocol, frontends, serving } = port;
    try {
      this.options.writer.set(port, this.options.now());
      return { name, protocol, frontends, serving };
    } catch (error) {
      this.failed.add(key);
      this.options.onError(key, error as Error);
      return old;
    }
  }

  private setRules(rules: AddressRules | undefined): void {
    this.rules = rules;
    this.serviceNetwork = parseCidr(rules?.serviceCidr ?? '');
  }

  private isInServiceNetwork(text: string): boolean {
    return this.serviceNetwork === undefined || contains(this.serviceNetwork, parseIp(text)!);
  }

  /** Count the users of each address that must be routed to this node. */
  private count({ frontends }: ServicePortState, users: 1 | -1, routes: { changed: boolean }): void {
    for (const { kind, address } of frontends) {
      if (kind === FrontendKind.NODE_PORT) continue;
      const text = formatAddress(address);
      if (kind === FrontendKind.CLUSTER_IP && this.isInServiceNetwork(text)) continue;
      const before = this.addresses.get(text) ?? 0;
      const after = before + users;
      if (after > 0) this.addresses.set(text, after);
      else this.addresses.delete(text);
      routes.changed ||= before === 0 || after === 0;
    }
  }
}

/** External and load-balancer addresses that a Service claims. */
function givenAddresses(service: Service | undefined): string[] {
  const ingress = service?.status?.loadBalancer?.ingress ?? [];
  return [...(service?.spec.externalIPs ?? []), ...ingress.flatMap(({ ip }) => ip ?? [])];
}

function keyOf(namespace: string | undefined, name: string): string {
  return `${namespace ?? 'default'}/${name}`;
}

function serviceOf(slice: EndpointSlice): string | undefined {
  const name = slice.metadata.labels?.[WellKnown.SERVICE_NAME];
  return name === undefined ? undefined : keyOf(slice.metadata.namespace, name);
}
