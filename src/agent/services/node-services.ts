/**
 * The services of a node and the host ports of its pods: the table that workers read, the routes and rules that lead to
 * dp0, the connections that end when they change, and the health checks for load balancers.
 */
import { hasNodePorts } from '../../../native-free-dataplane/node/host-routes.ts';
import { ServiceWriter } from '../../../native-free-dataplane/services/writer.ts';
import { mappedIpv4 } from '../../../native-free-dataplane/wire/address.ts';
import { internalIpOf } from '../../api/node-identity.ts';
import type { EndpointSlice, NodeObject, Pod, Service } from '../../api/types/objects.ts';
import type { Place } from '../../compile/endpoint-sets.ts';
import { monotonicMs } from '../../linux/clock.ts';
import { exposeMetrics, type Metrics } from '../../observe/metrics/exposition.ts';
import { type ChangeKind, ProxyMetrics } from '../../observe/metrics/proxy-metrics.ts';
import type { LiveConfig, NodeConfig } from '../config.ts';
import type { RemovedEndpoint } from '../connections/ended.ts';
import { flushEndpoints } from '../connections/flush.ts';
import { sweepStaleFlows } from '../connections/stale-flows.ts';
import type { RecordEvent } from '../events.ts';
import type { Part } from '../parts.ts';
import type { NodeTables } from '../tables.ts';
import type { HostNetwork } from '../underlay/host-network.ts';
import type { RoutedPort } from '../underlay/host-options.ts';
import type { PortsInUse } from '../underlay/ports-in-use.ts';
import { HealthChecks } from './health-checks.ts';
import { HostPortSync } from './host-port-sync.ts';
import { ServiceSync } from './service-sync.ts';

/** What the services of a node are applied to. */
export interface NodeServicesOptions {
  readonly config: LiveConfig;
  readonly tables: Pick<NodeTables, 'services' | 'conntrack' | 'node'>;
  readonly host: Pick<HostNetwork, 'setServiceAddresses' | 'setHostPorts'>;
  /** Are the workers forwarding? */
  readonly forwarding: () => boolean;
  readonly portsInUse: Pick<PortsInUse, 'update'>;
  /** A Service's object from the API. */
  readonly serviceOf: (namespace: string, name: string) => Service | undefined;
  readonly recordEvent: RecordEvent;
  /** The metrics that are served beside the health checks; those of services are added. */
  readonly metrics: Metrics;
  readonly log: (line: string) => void;
}

const placeOf = ({ nodeName, zone }: NodeConfig): Place => ({ nodeName, zone });

/** Receives the changes of Services and slices, and applies them. */
export class NodeServices implements Part {
  private readonly options: NodeServicesOptions;
  private readonly sync: ServiceSync;
  private readonly hostPorts: HostPortSync;
  private readonly metrics: ProxyMetrics;
  private health: HealthChecks | undefined;
  private inForce = false;

  constructor(options: NodeServicesOptions) {
    const { config, tables, metrics } = options;
    this.options = options;
    this.metrics = new ProxyMetrics(metrics);
    const writer = new ServiceWriter(tables.services);
    this.sync = new ServiceSync({
      writer,
      place: placeOf(config.current),
      rules: config.current.addressRules,
      held: true,
      now: monotonicMs,
      onAddresses: (addresses) => this.route(addresses),
      onRemoved: (removed) => this.end(removed),
      onError: (key, error) => this.reportService(key, error.message),
    });
    this.sync.setNodeAddress(config.current.nodeName, config.current.nodeIP);
    this.hostPorts = new HostPortSync({
      writer,
      now: monotonicMs,
      onPorts: (ports) => this.routePorts(ports),
      onRemoved: (removed) => this.end(removed),
      onError: (pod, error) => this.reportPod(pod, error.message),
    });
    config.follow(['zone', 'addressRules'], (now) => this.sync.reconfigure(placeOf(now), now.addressRules));
  }

  /** Start answering health checks; no service is applied before `applyAll`. */
  start(): void {
    const { config, forwarding, metrics, log } = this.options;
    this.health = new HealthChecks({
      checks: () => this.sync.healthChecks(),
      healthy: () => this.inForce && forwarding(),
      leaving: () => config.current.leaving,
      metrics: exposeMetrics(metrics),
      log,
    });
  }

  setService(service: Service): void {
    // A node's own connection may have the port that becomes a NodePort now (stages/service.ts).
    if (this.inForce && service.spec.ports?.some(({ nodePort }) => nodePort)) this.options.portsInUse.update();
    this.change('service', () => this.sync.setService(service));
  }

  removeService(service: Service): void {
    this.change('service', () => this.sync.removeService(service));
  }

  setSlice(slice: EndpointSlice, old?: EndpointSlice): void {
    this.change('endpoint', () => this.sync.setSlice(slice, old));
    if (this.inForce) this.metrics.programmed(slice.metadata.annotations);
  }

  removeSlice(slice: EndpointSlice): void {
    this.change('endpoint', () => this.sync.removeSlice(slice));
  }

  /** A Node is new or changed: no service may have its address. */
  setNode(node: NodeObject): void {
    this.sync.setNodeAddress(node.metadata.name, internalIpOf(node));
  }

  /** A Node was deleted. */
  removeNode(name: string): void {
    this.sync.setNodeAddress(name, undefined);
  }

  /** Apply the host ports of this node's pods, given all of them. Does nothing before `applyAll`. */
  setPods(pods: readonly Pod[]): void {
    if (this.inForce) this.hostPorts.setPods(pods);
  }

  /** The pods' host ports: no masqueraded connection may get one of them. */
  hostPortNumbers(): number[] {
    return this.hostPorts.routedPorts().map(({ port }) => port);
  }

  /** External and load-balancer addresses of services. */
  routedAddresses(): ReadonlySet<string> {
    return this.sync.routedAddresses();
  }

  /** All Services, slices and pods of this node are known: apply them. */
  applyAll(pods: readonly Pod[]): void {
    this.metrics.sync(() => this.sync.begin());
    this.route(this.sync.routedAddresses());
    this.hostPorts.setPods(pods);
    // Also without any, to remove rules of a previous agent.
    this.routePorts(this.hostPorts.routedPorts());
    this.inForce = true;
    this.refreshHealth();
  }

  /** End UDP connections that a former agent or its standby balanced to endpoints which have been removed since. */
  sweepStale(): void {
    const states = [...this.sync.states(), ...this.hostPorts.states()];
    const swept = sweepStaleFlows(this.options.tables.conntrack, states, this.isNodePortAddress);
    if (swept > 0) this.options.log(`${swept} stale UDP connections were removed`);
  }

  close(): void {
    this.health?.close();
  }

  /** Apply a change; before `applyAll` it is only remembered. */
  private change(kind: ChangeKind, apply: () => void): void {
    const { metrics } = this;
    metrics.queued(kind);
    if (this.inForce) metrics.sync(apply);
    else apply();
    this.refreshHealth();
  }

  private refreshHealth(): void {
    if (this.inForce) this.health?.refresh();
  }

  private route(addresses: ReadonlySet<string>): void {
    try {
      this.options.host.setServiceAddresses(addresses);
    } catch (error) {
      this.options.log(`routes of services: ${(error as Error).message}`);
    }
  }

  private routePorts(ports: readonly RoutedPort[]): void {
    try {
      this.options.host.setHostPorts(ports);
    } catch (error) {
      this.options.log(`rules of host ports: ${(error as Error).message}`);
    }
  }

  /** A Service could not be applied, or not all of it. */
  private reportService(key: string, message: string): void {
    const { serviceOf, recordEvent, log } = this.options;
    log(`service ${key}: ${message}`);
    const [namespace = '', name = ''] = key.split('/');
    const service = serviceOf(namespace, name);
    if (service) recordEvent(service, 'Warning', 'NotServed', message);
  }

  /** Not all host ports of a pod are served. */
  private reportPod(pod: Pod, message: string): void {
    this.options.log(`pod ${pod.metadata.namespace}/${pod.metadata.name}: ${message}`);
    this.options.recordEvent(pod, 'Warning', 'HostPortNotServed', message);
  }

  private readonly isNodePortAddress = (address: number): boolean =>
    hasNodePorts(this.options.tables.node, mappedIpv4(address));

  private end(removed: readonly RemovedEndpoint[]): void {
    const { tables, log } = this.options;
    const ended = flushEndpoints(tables.conntrack, removed, this.isNodePortAddress);
    this.metrics.ended(ended);
    if (ended > 0) log(`${ended} connections to removed endpoints were ended`);
  }
}
