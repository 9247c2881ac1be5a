/**
 * The services of a node: the table that workers read, the routes to their addresses, the connections that end when
 * they change, and the health checks for load balancers.
 */
import { ServiceWriter } from '../../../native-free-dataplane/services/writer.ts';
import { addressWords } from '../../../native-free-dataplane/wire/address.ts';
import type { EndpointSlice, Service } from '../../api/types/objects.ts';
import type { Place } from '../../compile/endpoint-sets.ts';
import { monotonicMs } from '../../linux/clock.ts';
import type { LiveConfig, NodeConfig } from '../config.ts';
import type { RemovedEndpoint } from '../connections/ended.ts';
import { flushEndpoints } from '../connections/flush.ts';
import { sweepStaleFlows } from '../connections/stale-flows.ts';
import type { Part } from '../parts.ts';
import type { NodeTables } from '../tables.ts';
import type { HostNetwork } from '../underlay/host-network.ts';
import { HealthChecks } from './health-checks.ts';
import { ServiceSync } from './service-sync.ts';

export interface NodeServicesOptions {
  readonly config: LiveConfig;
  readonly tables: Pick<NodeTables, 'services' | 'conntrack'>;
  readonly host: Pick<HostNetwork, 'setServiceAddresses'>;
  /** Are the workers forwarding? */
  readonly forwarding: () => boolean;
  /** Called if a Service could not be applied, or not all of it. */
  readonly onTrouble: (namespace: string, name: string, message: string) => void;
  readonly log: (line: string) => void;
}

const placeOf = ({ nodeName, zone }: NodeConfig): Place => ({ nodeName, zone });

export class NodeServices implements Part {
  private readonly options: NodeServicesOptions;
  private readonly sync: ServiceSync;
  private readonly nodeIP: string;
  private health: HealthChecks | undefined;
  private inForce = false;

  constructor(options: NodeServicesOptions) {
    const { config, tables, log } = options;
    this.options = options;
    this.nodeIP = config.current.nodeIP;
    this.sync = new ServiceSync({
      writer: new ServiceWriter(tables.services),
      place: placeOf(config.current),
      rules: config.current.addressRules,
      held: true,
      now: monotonicMs,
      onAddresses: (addresses) => this.route(addresses),
      onRemoved: (removed) => this.end(removed),
      onError: (key, error) => {
        log(`service ${key}: ${error.message}`);
        const [namespace = '', name = ''] = key.split('/');
        options.onTrouble(namespace, name, error.message);
      },
    });
    config.follow(['zone', 'addressRules'], (now) => this.sync.reconfigure(placeOf(now), now.addressRules));
  }

  /** Start answering health checks; no service is applied before `applyAll`. */
  start(): void {
    const { config, forwarding, log } = this.options;
    this.health = new HealthChecks({
      checks: () => this.sync.healthChecks(),
      healthy: () => this.inForce && forwarding(),
      leaving: () => config.current.leaving,
      log,
    });
  }

  setService(service: Service): void {
    this.sync.setService(service);
    this.refreshHealth();
  }

  removeService(service: Service): void {
    this.sync.removeService(service);
    this.refreshHealth();
  }

  setSlice(slice: EndpointSlice, old?: EndpointSlice): void {
    this.sync.setSlice(slice, old);
    this.refreshHealth();
  }

  removeSlice(slice: EndpointSlice): void {
    this.sync.removeSlice(slice);
    this.refreshHealth();
  }

  /**
   * All Services and slices are known: apply them, and end connections that a previous agent balanced to removed
   * endpoints.
   */
  applyAll(): void {
    this.sync.begin();
    this.route(this.sync.routedAddresses());
    const swept = sweepStaleFlows(this.options.tables.conntrack, this.sync.states(), this.nodeIP);
    if (swept > 0) this.options.log(`${swept} stale UDP connections were removed`);
    this.inForce = true;
    this.refreshHealth();
  }

  close(): void {
    this.health?.close();
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

  private end(removed: readonly RemovedEndpoint[]): void {
    const { tables, log } = this.options;
    const ended = flushEndpoints(tables.conntrack, removed, addressWords(this.nodeIP)[3] as number);
    if (ended > 0) log(`${ended} connections to removed endpoints were ended`);
  }
}
