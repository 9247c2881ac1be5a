/**
 * The agent of one node: it keeps tables, workers, devices and pods in sync with the API. Runs inside the node's
 * network namespace.
 *
 * This file is the list of the node's parts in the order they start, and the connections between them. If the API
 * becomes unavailable, the agent keeps forwarding with its current tables.
 */
import { join } from 'node:path';
import { repairConntrack } from '../../native-free-dataplane/conntrack/recovery.ts';
import { entryCount } from '../../native-free-dataplane/conntrack/shares.ts';
import { tunnelPort } from '../../native-free-dataplane/node/hops.ts';
import type { ApiServer } from '../api/client/api-server.ts';
import { ApiClient } from '../api/client/client.ts';
import { clusterOptionsOf } from '../api/cluster-options.ts';
import { monotonicMs } from '../linux/clock.ts';
import { giveBackMemory } from '../linux/give-back-memory.ts';
import { OffloadLevel } from '../linux/tap.ts';
import { openMetrics } from '../observe/metrics/exposition.ts';
import { addNodeMetrics } from '../observe/metrics/node-metrics.ts';
import type { PodManager } from '../runtime/pod/manager.ts';
import { memoryNames } from '../shm-names.ts';
import { type CniOptions, openCni } from './cni/containers.ts';
import { BudgetUse } from './connections/budget-use.ts';
import { DroppedTraffic } from './connections/dropped-traffic.ts';
import { watchPortExhaustion } from './connections/port-exhaustion.ts';
import { CONNTRACK_OPTIONS, writeConntrackSettings, writePodNetwork } from './connections/settings.ts';
import { ControlSocket } from './control-socket.ts';
import { EventRecorder } from './events.ts';
import { clearOfProxies } from './footprint/conflicts.ts';
import { Heartbeat } from './heartbeat.ts';
import { NodeNameServer } from './name-server.ts';
import { NodeLease } from './node-lease.ts';
import { CHANGING_IDENTITY, NodeSync } from './node-sync.ts';
import { openTunnel } from './overlay/node-overlay.ts';
import { RemoteNodes } from './overlay/remote-nodes.ts';
import { Parts } from './parts.ts';
import { PodNetwork, type PodNetworkOptions } from './pods/network.ts';
import { openPodRuntime } from './pods/runtime.ts';
import { NodePolicies } from './policies/node-policies.ts';
import { type Joining, readConfig } from './read-config.ts';
import { RunFile } from './run-file.ts';
import { NodeServices } from './services/node-services.ts';
import { NodeStandby } from './standby.ts';
import { openNodeTables } from './tables.ts';
import { Takeover } from './takeover/takeover.ts';
import { FORMER_STATE, FormerState } from './underlay/former-state.ts';
import { HostNetwork } from './underlay/host-network.ts';
import { PortsInUse } from './underlay/ports-in-use.ts';
import { Repair } from './underlay/repair.ts';
import { RoutingFollower } from './underlay/routing-follower.ts';
import { HOST_DEVICE, OVERLAY_DEVICE } from './underlay/rule-order.ts';
import { ClusterWatch, PodWatch } from './watch.ts';
import { WorkerPool } from './worker-pool.ts';

/** Timeout of API requests; heartbeats are due every three seconds. */
const API_TIMEOUT_MS = 10_000;

/** How long after its start an agent gives back what only that needed, milliseconds. V8 has collected its garbage by then. */
const REST_MS = 20_000;

/** How an agent is started; everything else is read from the API. */
export interface AgentOptions {
  readonly node: string;
  /** Unix socket or http URL of our API, or another API server. */
  readonly api: string | ApiServer;
  readonly stateDir: string;
  /** The most offloads to use, even if the kernel supports more. */
  readonly offloads?: OffloadLevel;
  readonly noUnderlayShortcut?: boolean;
  /** Present if the API server is not ours: the node registers itself there. */
  readonly joining?: Joining | undefined;
  /** Present if a container runtime runs the node's pods, and connects them through the CNI plugin. */
  readonly cni?: CniOptions | undefined;
  /** Take the node's Services over from kube-proxy, once its process has ended (takeover/takeover.ts). */
  readonly takeover?: boolean;
  /** YAML files that extend the image catalogue. */
  readonly catalogue?: readonly string[];
  /** A second process forwards while there is no agent (standby.ts), also when the container of this one has ended. */
  readonly standby?: boolean | 'outlives container';
  readonly log?: (line: string) => void;
}

/** A running agent. */
export interface Agent {
  /** Stop forwarding. Pods, their devices and connections stay for the next agent. */
  close(): Promise<void>;
}

type Log = (line: string) => void;

/** Start a node's agent; resolves when it is forwarding and all existing pods and services are applied. */
export async function startAgent(options: AgentOptions): Promise<Agent> {
  const log = options.log ?? ((line: string) => process.stderr.write(`${new Date().toISOString()} ${line}\n`));
  return Parts.open((parts) => startParts(parts, options, log), log);
}

async function startParts(parts: Parts, options: AgentOptions, log: Log): Promise<void> {
  const { node: nodeName, offloads = OffloadLevel.TUNNEL, noUnderlayShortcut = false, stateDir, catalogue } = options;
  const onRefused = (kind: string, error: Error) => log(`the API refuses to list or watch ${kind}: ${error.message}`);
  const onAllowed = (kind: string) => log(`the API lists ${kind} again`);
  const onForbidden = (error: Error) => log(`the agent lacks a right: ${error.message}`);
  const api = new ApiClient(options.api, {
    timeoutMs: API_TIMEOUT_MS,
    program: 'kubelet',
    onRefused,
    onAllowed,
    onForbidden,
  });
  const client = await parts.start('client of the API', api);
  if (options.joining) await clearOfProxies(options.takeover ?? false, log);
  const live = await readConfig(client, nodeName, log, options.joining);
  const config = live.current;
  const takeover = options.takeover ? await parts.start('takeover', new Takeover({ config, log })) : undefined;
  const recordEvent = new EventRecorder(client, nodeName).record;

  const directory = join(stateDir, 'nodes', nodeName);
  const standby = options.standby
    ? await parts.start('standby', new NodeStandby(directory, log, options.standby === 'outlives container'))
    : undefined;
  const inUse = standby?.isForwarding ?? false;

  // The tables, which everything else reads or writes. From dp0 on, frames wait in the devices' queues.
  const tables = await parts.start('tables', openNodeTables({ ...config, nowMs: monotonicMs(), inUse, log }));
  writeConntrackSettings(tables.conntrack, config);
  writePodNetwork(tables.conntrack, config.podCIDR);
  const sync = new NodeSync(tables.node, config);
  const tap = standby?.take(HOST_DEVICE, config.workers);
  const overlayTap = standby?.take(OVERLAY_DEVICE, config.workers);
  const before = new FormerState(join(directory, FORMER_STATE));
  const devices = { offloads, noUnderlayShortcut, tap, overlayTap };
  const kept = takeover?.translated() ?? [];
  const host = await parts.start('dp0', new HostNetwork({ ...config, ...devices, former: before, kept }));
  // Their ports may be among those that lead to dp0 now, where packets wait until the workers run.
  api.closeIdle();
  if (host.withoutShortcut !== undefined) log(`no shortcut to the underlay device: ${host.withoutShortcut}`);
  const tunnel = openTunnel(config, log);
  if (tunnel) await parts.start('tunnel', tunnel);

  // The workers get their devices, but do not run yet. They stop before anything that they use is closed.
  const pool = new WorkerPool({
    workers: config.workers,
    tunnel,
    standby,
    // No raw socket uses it where there is a second device of dp0's port.
    furtherSlot: tunnelPort(tables.node),
    tables: memoryNames(nodeName),
    features: host.tap,
    conntrack: tables.conntrack,
    fragments: tables.fragments,
    onCrash: (worker, error) => log(`worker ${worker} is replaced: ${error.message}`),
    onHealth: () => void heartbeat.beat(),
  });
  await parts.start('workers, waiting', { close: () => pool.stop() });
  host.connect(pool);
  const policies = new NodePolicies({ client, tables, config: live, recordEvent, log });
  const podOf: PodWatch['pod'] = (namespace, name) => podWatch.pod(namespace, name);
  const former: PodNetworkOptions['former'] = standby && ((...device) => standby.take(...device));
  const podNetwork = new PodNetwork({
    sync,
    pool,
    tables,
    policies,
    config: live,
    offloads,
    features: host.tap,
    podOf,
    recordEvent,
    log,
    former,
  });
  const network = await parts.start('pod network', podNetwork);

  // Values that may change while the agent runs, in the order in which changes are applied.
  live.follow(['underlayMtu'], (now) => host.setUnderlayMtu(now.underlayMtu));
  live.follow(CHANGING_IDENTITY, (now) => sync.reconfigure(now));
  live.follow(CONNTRACK_OPTIONS, (now) => writeConntrackSettings(tables.conntrack, now));
  live.follow(['podMtu'], () => network.followMtu());
  const repair = await parts.start('repair of dp0', new Repair({ host, config: live, log }));
  const follower = new RoutingFollower({ host, sync, config, onChange: () => repair.check(), log });
  await parts.start("the node's routes", follower);

  // Services are not applied before all of them are known; health checks fail until then.
  const forwarding = (): boolean => pool.isHealthy();
  const overlay = () => ({ mode: config.overlay, tunnelOffload: host.tap.tunnelOffload, mtu: live.current.podMtu });
  const metrics = openMetrics();
  addNodeMetrics(metrics, { tables, forwarding, workers: () => pool.states(), overlay });
  const hostPorts = () => services.hostPortNumbers();
  const portsInUse = new PortsInUse({ table: tables.conntrack, hostPorts, log });
  const serviceOf: ClusterWatch['service'] = (namespace, name) => watch.service(namespace, name);
  const uses = { tables, host, portsInUse, forwarding, serviceOf, metrics, recordEvent, log };
  const services = new NodeServices({ config: live, ...uses });
  await parts.start('ports in use', portsInUse);

  // Whatever receives changes of the cluster starts before the watch that reports them. Pods of a previous agent are
  // adopted before the list of pods is read, which would start them a second time.
  const names = config.nameServer !== undefined ? new NodeNameServer(config, log) : undefined;
  const remotes = new RemoteNodes({ sync, host, cluster: config, log });
  const obstacle = () => pool.obstacle ?? repair.obstacle;
  const actsAsKubelet = options.cni === undefined;
  const groups = actsAsKubelet ? () => (runtime as PodManager).groups : undefined;
  const storagePressure = () => runtime?.storagePressure;
  const heartbeat = new Heartbeat({ client, node: () => live.node, obstacle, groups, storagePressure, log });
  const watch = new ClusterWatch(client, nodeName, actsAsKubelet, {
    ownNode: (node) => live.change({ node }),
    options: (map) => live.change({ cluster: clusterOptionsOf(map, live.defaults) }),
    setNode: (node) => {
      services.setNode(node);
      remotes.set(node);
    },
    removeNode: (name) => {
      if (name === nodeName) return void heartbeat.beat();
      services.removeNode(name);
      remotes.remove(name);
    },
    services: names ? [services, names] : [services],
  });
  const assignsAddresses = options.joining !== undefined;
  const runtime = actsAsKubelet
    ? openPodRuntime({ client, config, stateDir, catalogue, network, assignsAddresses, watch, recordEvent, log })
    : undefined;
  const setPods = () => services.setPods([...podWatch.all(), ...(cni?.containers.podsOfMappings() ?? [])]);
  const containers = { onPorts: setPods, standby: standby !== undefined };
  const cni =
    options.cni && openCni({ ...options.cni, ...containers, network, config, stateDir, podOf, obstacle, log });
  const podWatch = new PodWatch(client, nodeName, {
    set: (pod) => network.update(pod),
    sync: (pods) => {
      setPods();
      runtime?.sync(pods);
    },
  });
  await parts.start('services', services);
  await parts.start('policies', policies);
  await parts.start('other nodes', remotes);
  await parts.start('watch of the cluster', watch);
  if (runtime) {
    await parts.start('pods', { start: () => runtime.adopt(), close: () => runtime.close({ keepPods: true }) });
    const restart: PodManager['restartContainer'] = (...which) => runtime.restartContainer(...which);
    await parts.start('control socket', new ControlSocket({ nodeName, stateDir, restart, groups: runtime.groups }));
  }
  if (cni) await parts.start('containers', cni.containers);
  await parts.start('watch of the pods', podWatch);

  // Every list is complete: put the services in force, and only then let the workers run. A packet of an established
  // connection would end it if its route or service were still missing.
  await Promise.all([watch.whenSynced(), podWatch.whenSynced(), policies.whenSynced()]);
  services.applyAll(podWatch.all());
  if (!inUse) takeover?.complete({ tables, host, serviceAddresses: services.routedAddresses() });
  // Not yet if the standby forwards: until it stops, it begins connections by the services of the former agent.
  if (!inUse) services.sweepStale();
  if (names) await parts.start('name server', names);
  await pool.start(
    inUse
      ? () => {
          // A standby that had to be killed may have left something half-written.
          if (!standby?.stop()) repairConntrack(tables.conntrack, monotonicMs(), config.workers);
          log(`${entryCount(tables.conntrack)} connections taken over from the standby`);
        }
      : undefined,
  );
  if (inUse) services.sweepStale();
  const { tunnelOffload, udpSegmentation } = host.tap;
  standby?.follow({ tables: memoryNames(nodeName), tunnelOffload, udpSegmentation });
  podWatch.sync();
  if (cni) await parts.start('container runtimes', cni.service);
  const refused = { tables, pods: () => podWatch.all(), services: () => watch.allServices(), recordEvent };
  await parts.start('watch of exhausted ports', watchPortExhaustion({ ...refused, node: () => live.node, log }));
  await parts.start('watch of dropped traffic', new DroppedTraffic({ ...refused, nodeName, policies }));
  const ownPods = () => podWatch.all();
  await parts.start('watch of budgets', new BudgetUse({ table: tables.node, pods: ownPods, recordEvent }));
  await parts.start('heartbeat', heartbeat);
  if (runtime) await parts.start('lease', new NodeLease(client, () => live.node));
  await parts.start('run file', new RunFile(directory, live, host.tap));
  const rest = setTimeout(giveBackMemory, REST_MS).unref();
  await parts.start('rest', { close: () => clearTimeout(rest) });
  const offload = host.tap.tunnelOffload ? 'on' : 'off';
  log(`node ${nodeName} is forwarding: ${config.workers} worker(s), tunnel offload ${offload}`);
}
