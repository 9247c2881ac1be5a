/**
 * One node: its tables, workers, devices and pods, kept in step with the API. Runs inside the node's network namespace.
 *
 * Start order: tables (connections of a predecessor are taken over), dp0 and its routes, workers, then the informers;
 * from then on every change of the API is one small call. The API may go away at any time: what is in force stays.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ServiceWriter } from '../../native-free-dataplane/services/writer.ts';
import { addressWords } from '../../native-free-dataplane/wire/address.ts';
import { agentSocketPath } from '../api/agent-socket.ts';
import { ApiClient } from '../api/client/client.ts';
import { type Informer, startInformer } from '../api/client/informer.ts';
import { type ClusterOptions, clusterDnsAddress, clusterOptionsOf, overlayOverhead } from '../api/cluster-options.ts';
import {
  CONFIG_MAP,
  type ConfigMap,
  type NodeObject,
  type Pod,
  type Secret,
  type Service,
  WellKnown,
} from '../api/types/objects.ts';
import { monotonicMs } from '../linux/clock.ts';
import { OffloadLevel } from '../linux/tap.ts';
import { contains, parseCidr, parseIp } from '../net/address.ts';
import { PodManager } from '../runtime/pod/manager.ts';
import { memoryNames } from '../shm-names.ts';
import { flushEndpoints } from './connections/flush.ts';
import { writeConntrackSettings } from './connections/settings.ts';
import { sweepStaleFlows } from './connections/stale-flows.ts';
import { serveAgentControl } from './control-socket.ts';
import { recordEvent } from './events.ts';
import { Heartbeat } from './heartbeat.ts';
import { NodeNameServer } from './name-server.ts';
import { type NodeIdentity, NodeSync } from './node-sync.ts';
import { IpipTunnel } from './overlay/ipip-tunnel.ts';
import { RemoteNodes } from './overlay/remote-nodes.ts';
import { PodNetwork } from './pods/network.ts';
import { HealthChecks } from './services/health-checks.ts';
import { ServiceSync } from './services/service-sync.ts';
import { PodStreams } from './streams/pod-streams.ts';
import { type NodeTables, openNodeTables } from './tables.ts';
import { HostNetwork, underlayDevice } from './underlay/host-network.ts';
import { WorkerPool } from './worker-pool.ts';

/** Ports of the node's address that masqueraded connections to the outside use (docs/semantics.md). */
const MASQUERADE_PORTS: readonly [number, number] = [32768, 49151];
/** How often dp0's rules and routes are looked after. */
const REPAIR_MS = 1000;

export interface AgentOptions {
  readonly node: string;
  /** Unix socket or http URL of the API. */
  readonly api: string;
  readonly stateDir: string;
  /** Do without better offloads although the kernel has them. */
  readonly offloads?: OffloadLevel;
  readonly noUnderlayShortcut?: boolean;
  /** YAML files that add to the image catalogue. */
  readonly catalogue?: readonly string[];
  readonly log?: (line: string) => void;
}

export interface Agent {
  /** Stop forwarding. Pods and their devices live on, and so do the connections, for the next agent. */
  close(): Promise<void>;
}

/** Start a node's agent; resolves when it forwards and knows all pods and services there are. */
export async function startAgent(options: AgentOptions): Promise<Agent> {
  const log = options.log ?? ((line: string) => process.stderr.write(`${new Date().toISOString()} ${line}\n`));
  const client = new ApiClient(options.api);
  const node = await waitFor(() => client.find('Node', options.node), log, `Node ${options.node}`);
  const config = await client.find('ConfigMap', CONFIG_MAP.name, CONFIG_MAP.namespace);
  return new RunningAgent(options, client, node, clusterOptionsOf(config), log).start();
}

async function waitFor<T>(ask: () => Promise<T | undefined>, log: (line: string) => void, what: string): Promise<T> {
  for (let turn = 0; ; turn++) {
    const found = await ask().catch(() => undefined);
    if (found !== undefined) return found;
    if (turn % 50 === 49) log(`waiting for ${what} at the API`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

function addressOf(node: NodeObject): string {
  const internal = node.status?.addresses?.find(({ type }) => type === 'InternalIP')?.address;
  if (internal === undefined) throw new Error(`Node ${node.metadata.name} has no InternalIP address`);
  return internal;
}

class RunningAgent implements Agent {
  private readonly options: AgentOptions;
  private readonly client: ApiClient;
  private readonly nodeIP: string;
  private readonly podCIDR: string;
  private zone: string | undefined;
  private leaving = false;
  private serving = false;
  private readonly log: (line: string) => void;
  private readonly workers: number;
  private cluster: ClusterOptions;
  private readonly underlay: { readonly device: string; mtu: number };
  private readonly tunnel: IpipTunnel | undefined;
  private readonly remotes: RemoteNodes;
  private readonly tables: NodeTables;
  private readonly host: HostNetwork;
  private readonly pool: WorkerPool;
  private readonly sync: NodeSync;
  private readonly services: ServiceSync;
  private readonly network: PodNetwork;
  private readonly pods: PodManager;
  private readonly informers: Informer<never>[] = [];
  private readonly heartbeat: Heartbeat;
  private readonly names: NodeNameServer | undefined;
  private readonly health: HealthChecks;
  private repair: NodeJS.Timeout | undefined;
  private trouble = '';
  private closeControl: (() => Promise<void>) | undefined;

  constructor(
    options: AgentOptions,
    client: ApiClient,
    node: NodeObject,
    cluster: ClusterOptions,
    log: (line: string) => void,
  ) {
    this.options = options;
    this.client = client;
    this.cluster = cluster;
    this.log = log;
    this.nodeIP = addressOf(node);
    this.podCIDR = node.spec?.podCIDR ?? '';
    if (this.podCIDR === '') throw new Error(`Node ${options.node} has no podCIDR`);
    this.zone = node.metadata.labels?.[WellKnown.ZONE];
    this.workers = cluster.workers > 0 ? cluster.workers : 1;
    this.underlay = underlayDevice(this.nodeIP);
    this.tables = openNodeTables({
      nodeName: options.node,
      workers: this.workers,
      maxConntrack: cluster.maxConntrack,
      nowMs: monotonicMs(),
    });
    if (this.tables.recovered > 0) log(`${this.tables.recovered} connections taken over`);
    writeConntrackSettings(this.tables.conntrack, cluster);
    this.sync = new NodeSync(this.tables.node, this.identity());
    this.host = new HostNetwork({
      nodeIP: this.nodeIP,
      podCIDR: this.podCIDR,
      clusterCIDR: cluster.podCidr,
      serviceCIDR: cluster.serviceCidr,
      underlayDevice: this.underlay.device,
      underlayMtu: this.underlay.mtu,
      overlay: cluster.overlay,
      ipipTransport: cluster.ipipTransport,
      vxlanPort: cluster.vxlanPort,
      nodePortRange: cluster.nodePortRange,
      masqueradePorts: MASQUERADE_PORTS,
      workers: this.workers,
      offloads: options.offloads ?? OffloadLevel.TUNNEL,
      noUnderlayShortcut: options.noUnderlayShortcut === true,
    });
    if (this.host.withoutShortcut !== undefined) log(`no short way to the wire: ${this.host.withoutShortcut}`);
    this.tunnel =
      cluster.overlay === 'ipip' && cluster.ipipTransport === 'raw-socket'
        ? new IpipTunnel({ node: options.node, nodeIP: this.nodeIP, workers: this.workers, log })
        : undefined;
    this.remotes = new RemoteNodes({ sync: this.sync, host: this.host, cluster, log });
    this.pool = new WorkerPool({
      workers: this.workers,
      ...(this.tunnel && { tunnels: this.tunnel.ofWorkers }),
      onTunnel: (worker) => this.tunnel?.drain(worker),
      tables: memoryNames(options.node),
      features: this.host.tap,
      conntrack: this.tables.conntrack,
      fragments: this.tables.fragments,
      onCrash: (worker, error) => log(`worker ${worker} crashed and is started again: ${error.message}`),
    });
    this.services = new ServiceSync({
      writer: new ServiceWriter(this.tables.services),
      place: { nodeName: options.node, zone: this.zone },
      rules: cluster,
      held: true,
      now: monotonicMs,
      onAddresses: (addresses) => this.routeServices(addresses),
      onRemoved: (removed) => {
        const flushed = flushEndpoints(this.tables.conntrack, removed, addressWords(this.nodeIP)[3] as number);
        if (flushed > 0) log(`${flushed} connections to endpoints that are gone were taken away`);
      },
      onError: (service, error) => this.serviceTrouble(service, error),
    });
    this.network = new PodNetwork({
      sync: this.sync,
      pool: this.pool,
      workers: this.workers,
      podCIDR: this.podCIDR,
      podMtu: () => this.identity().podMtu,
      offloads: options.offloads ?? OffloadLevel.TUNNEL,
      podOf: (namespace, name) => this.ownPods?.get(namespace, name),
    });
    this.names = cluster.dns === 'agent' ? this.makeNameServer() : undefined;
    this.pods = this.makePodManager();
    this.heartbeat = new Heartbeat(client, options.node, log);
    this.health = new HealthChecks({
      checks: () => this.services.healthChecks(),
      healthy: () => this.serving && this.pool.isHealthy(),
      leaving: () => this.leaving,
      log,
    });
  }

  private makeNameServer(): NodeNameServer {
    const own = [parseCidr(this.cluster.podCidr), parseCidr(this.cluster.serviceCidr)].filter(
      (range) => range !== undefined,
    );
    return new NodeNameServer({
      nodeIP: this.nodeIP,
      serviceAddress: this.dnsAddress(),
      cluster: this.cluster,
      isOwnAddress: (text) => {
        const ip = parseIp(text);
        return ip !== undefined && own.some((range) => contains(range, ip));
      },
      log: this.log,
    });
  }

  private dnsAddress(): string {
    const range = parseCidr(this.cluster.serviceCidr);
    if (range === undefined) throw new Error(`serviceCidr ${this.cluster.serviceCidr}: no network`);
    return clusterDnsAddress(range);
  }

  private makePodManager(): PodManager {
    const { client, options, log } = this;
    return new PodManager({
      nodeName: options.node,
      nodeIP: this.nodeIP,
      stateDir: options.stateDir,
      ...(options.catalogue !== undefined && { catalogueFiles: options.catalogue }),
      dns: { nameservers: [this.dnsAddress()], domain: this.cluster.clusterDomain },
      services: () => this.serviceObjects?.values() ?? [],
      network: this.network,
      getConfigMap: (namespace, name) =>
        this.configMaps?.get(namespace, name) ?? client.find('ConfigMap', name, namespace),
      getSecret: (namespace, name) => this.secrets?.get(namespace, name) ?? client.find('Secret', name, namespace),
      reportStatus: async (pod, status) => {
        const { name, namespace = 'default' } = pod.metadata;
        await client.patch('Pod', name, { status }, { namespace, subresource: 'status', type: 'merge' });
      },
      confirmDeleted: async (pod) => {
        const { name, namespace = 'default', uid } = pod.metadata;
        await client.delete('Pod', name, { namespace, gracePeriodSeconds: 0, preconditions: { uid } });
      },
      recordEvent: (pod, type, reason, message) => recordEvent(client, options.node, pod, type, reason, message),
      log,
    });
  }

  private configMaps: Informer<ConfigMap> | undefined;
  private secrets: Informer<Secret> | undefined;

  /** Who this node is under the present options. */
  private identity(): NodeIdentity {
    const { cluster } = this;
    const room = this.underlay.mtu - overlayOverhead(cluster.overlay);
    return {
      nodeIP: this.nodeIP,
      podCIDR: this.podCIDR,
      clusterCIDR: cluster.podCidr,
      serviceCIDR: cluster.serviceCidr,
      overlay: cluster.overlay,
      ipipTransport: cluster.ipipTransport,
      vxlanPort: cluster.vxlanPort,
      vni: cluster.vni,
      podMtu: cluster.mtu > 0 ? Math.min(cluster.mtu, room) : room,
      underlayMtu: this.underlay.mtu,
      portPolicy: cluster.portPolicy,
      localPolicyDrops: cluster.localPolicyAction === 'drop',
      nodePortRange: cluster.nodePortRange,
      masqueradePorts: MASQUERADE_PORTS,
    };
  }

  async start(): Promise<this> {
    const { host, pool, client, options } = this;
    pool.addPort(0, host.tap.fds, host.tap.headerBytes);
    this.repair = setInterval(() => this.lookAfterRules(), REPAIR_MS);
    this.closeControl = await serveAgentControl(
      agentSocketPath(options.stateDir, options.node),
      { restart: (namespace, pod, container) => this.pods.restartContainer(namespace, pod, container) },
      new PodStreams(options.stateDir),
    );
    this.watchCluster();
    await this.pods.adopt();
    const setPod = (pod: Pod): void => {
      this.network.update(pod);
      this.syncPods();
    };
    const own = startInformer(
      client,
      'Pod',
      { fieldSelector: `spec.nodeName=${options.node}` },
      {
        added: setPod,
        updated: setPod,
        deleted: () => this.syncPods(),
      },
    );
    this.ownPods = own;
    this.informers.push(own as Informer<never>);
    await Promise.all(this.informers.map((informer) => informer.whenSynced()));
    this.serve();
    // Not before: whatever a packet of a running connection finds missing ends that connection. The devices keep what
    // comes meanwhile.
    await pool.start();
    this.syncPods();
    await this.heartbeat.start();
    this.markRunning();
    this.log(
      `node ${options.node} forwards with ${this.workers} worker(s), tunnel offload ${host.tap.tunnelOffload ? 'on' : 'off'}`,
    );
    return this;
  }

  /** All services and slices are known: put them in force, and end what a predecessor balanced to what is gone. */
  private serve(): void {
    this.services.begin();
    this.routeServices(this.services.routedAddresses());
    const swept = sweepStaleFlows(this.tables.conntrack, this.services.states(), this.nodeIP);
    if (swept > 0) this.log(`${swept} UDP connections to what is no endpoint any more were taken away`);
    this.serving = true;
    this.names?.start();
    this.health.refresh();
  }

  private routeServices(addresses: ReadonlySet<string>): void {
    try {
      this.host.setServiceAddresses(addresses);
    } catch (error) {
      this.log(`routes of services: ${(error as Error).message}`);
    }
  }

  /** Something of a Service could not be put in force. */
  private serviceTrouble(key: string, error: Error): void {
    this.log(`service ${key}: ${error.message}`);
    const [namespace = '', name = ''] = key.split('/');
    const service = this.serviceObjects?.get(namespace, name);
    if (service) recordEvent(this.client, this.options.node, service, 'Warning', 'NotServed', error.message);
  }

  private serviceObjects: Informer<Service> | undefined;
  private ownPods: Informer<Pod> | undefined;

  private syncPods(): void {
    if (this.ownPods?.synced) this.pods.sync([...this.ownPods.values()]);
  }

  private watchCluster(): void {
    const { client, services, options } = this;
    const setNode = (node: NodeObject): void => {
      if (node.metadata.name === options.node) {
        this.ownNode(node);
      } else this.remotes.set(node);
    };
    const changed =
      <T>(change: (object: T) => void) =>
      (object: T): void => {
        change(object);
        if (this.serving) this.health.refresh();
      };
    const setService = (service: Service): void => {
      services.setService(service);
      this.names?.setService(service);
    };
    this.serviceObjects = startInformer(
      client,
      'Service',
      {},
      {
        added: changed(setService),
        updated: changed(setService),
        deleted: changed((service) => {
          services.removeService(service);
          this.names?.removeService(service);
        }),
      },
    );
    this.configMaps = startInformer(
      client,
      'ConfigMap',
      {},
      {
        added: (map) => this.configured(map),
        updated: (map) => this.configured(map),
      },
    );
    this.secrets = startInformer(client, 'Secret');
    this.informers.push(
      this.configMaps as Informer<never>,
      this.secrets as Informer<never>,
      startInformer(
        client,
        'Node',
        {},
        { added: setNode, updated: setNode, deleted: (node) => this.remotes.remove(node.metadata.name) },
      ) as Informer<never>,
      startInformer(
        client,
        'EndpointSlice',
        {},
        {
          added: changed((slice) => {
            services.setSlice(slice);
            this.names?.setSlice(slice);
          }),
          updated: (slice, old) => {
            services.setSlice(slice, old);
            this.names?.setSlice(slice, old);
            if (this.serving) this.health.refresh();
          },
          deleted: changed((slice) => {
            services.removeSlice(slice);
            this.names?.removeSlice(slice);
          }),
        },
      ) as Informer<never>,
      this.serviceObjects as Informer<never>,
    );
  }

  /** This node's own object: its zone decides which endpoints are near. */
  private ownNode(node: NodeObject): void {
    this.zone = node.metadata.labels?.[WellKnown.ZONE];
    this.leaving = node.metadata.deletionTimestamp !== undefined;
    this.placeServices();
  }

  private placeServices(): void {
    this.services.reconfigure({ nodeName: this.options.node, zone: this.zone }, this.cluster);
  }

  /** The cluster's options may have changed: those that can be followed live are. */
  private configured(map: ConfigMap): void {
    if (map.metadata.namespace !== CONFIG_MAP.namespace || map.metadata.name !== CONFIG_MAP.name) return;
    // What the node was built with stays until its agent is started anew.
    const { overlay, ipipTransport, vxlanPort, vni, podCidr, serviceCidr } = this.cluster;
    this.cluster = { ...clusterOptionsOf(map), overlay, ipipTransport, vxlanPort, vni, podCidr, serviceCidr };
    this.sync.reconfigure(this.identity());
    writeConntrackSettings(this.tables.conntrack, this.cluster);
    this.placeServices();
  }

  private lookAfterRules(): void {
    let trouble = '';
    try {
      const repaired = this.host.ensure();
      if (repaired > 0) this.log(`${repaired} rules or routes of dp0 were missing and are back`);
      this.followUnderlay();
    } catch (error) {
      trouble = (error as Error).message;
    }
    // Asked every second: the same answer is told once.
    if (trouble !== '' && trouble !== this.trouble) this.log(`dp0: ${trouble}`);
    this.trouble = trouble;
  }

  /** The underlay's MTU may be changed at any time: dp0, the tables and the pods' devices follow. */
  private followUnderlay(): void {
    const mtu = this.host.readUnderlayMtu();
    if (mtu === this.underlay.mtu) return;
    this.underlay.mtu = mtu;
    this.host.setUnderlayMtu(mtu);
    const identity = this.identity();
    this.sync.reconfigure(identity);
    this.network.followMtu();
    this.markRunning();
    this.log(`the underlay's MTU is ${mtu} now, the pods' ${identity.podMtu}`);
  }

  /** Tell `status` who we are. */
  private markRunning(): void {
    const directory = join(this.options.stateDir, 'nodes', this.options.node);
    mkdirSync(directory, { recursive: true });
    writeFileSync(
      join(directory, 'dataplane.json'),
      JSON.stringify({
        pid: process.pid,
        workers: this.workers,
        overlay: this.cluster.overlay,
        tunnelOffload: this.host.tap.tunnelOffload,
        udpSegmentation: this.host.tap.udpSegmentation,
        mtu: this.identity().podMtu,
        maxConntrack: this.cluster.maxConntrack,
      }),
    );
  }

  async close(): Promise<void> {
    clearInterval(this.repair);
    this.remotes.close();
    this.heartbeat.close();
    this.health.close();
    this.names?.close();
    for (const informer of this.informers) informer.close();
    await this.closeControl?.();
    await this.pods.close({ keepPods: true });
    await this.pool.stop();
    this.tunnel?.close();
    this.network.close();
    this.host.close();
    this.tables.close(false);
    this.client.close();
  }
}
