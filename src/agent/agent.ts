/**
 * The agent of one node: it keeps tables, workers, devices and pods in sync with the API. Runs inside the node's
 * network namespace.
 *
 * This file starts its parts in order: tables (connections of a previous agent are recovered), dp0 with its rules and
 * routes, pods, watches. When every initial list is complete, the services are applied, and only then do the workers
 * start: a packet of an established connection would end it if its route or service were still missing. Until then
 * frames wait in the devices' queues. If the API becomes unavailable, the agent keeps forwarding with its current
 * tables.
 */

import { join } from 'node:path';
import { agentSocketPath } from '../api/agent-socket.ts';
import { ApiClient } from '../api/client/client.ts';
import { DNS_PORT } from '../api/cluster-options.ts';
import type { Pod } from '../api/types/objects.ts';
import { monotonicMs } from '../linux/clock.ts';
import { OffloadLevel } from '../linux/tap.ts';
import { exposeMetrics, openMetrics } from '../observe/metrics/exposition.ts';
import { addNodeMetrics } from '../observe/metrics/node-metrics.ts';
import { ProxyMetrics } from '../observe/metrics/proxy-metrics.ts';
import { memoryNames } from '../shm-names.ts';
import { DroppedTraffic } from './connections/dropped-traffic.ts';
import { PortExhaustion } from './connections/port-exhaustion.ts';
import { lastRefused, objectsOf } from './connections/refused.ts';
import { CONNTRACK_OPTIONS, writeConntrackSettings } from './connections/settings.ts';
import { serveAgentControl } from './control-socket.ts';
import { EventRecorder } from './events.ts';
import { Heartbeat } from './heartbeat.ts';
import { NodeNameServer } from './name-server.ts';
import { NodeLease } from './node-lease.ts';
import { CHANGING_IDENTITY, NodeSync } from './node-sync.ts';
import { openTunnel } from './overlay/node-overlay.ts';
import { RemoteNodes } from './overlay/remote-nodes.ts';
import { Parts } from './parts.ts';
import { PodNetwork } from './pods/network.ts';
import { openPodRuntime } from './pods/runtime.ts';
import { NodeUsage } from './pods/usage.ts';
import { NodePolicies } from './policies/node-policies.ts';
import { readConfig } from './read-config.ts';
import { RunFile } from './run-file.ts';
import { NodeServices } from './services/node-services.ts';
import { PodStreams } from './streams/pod-streams.ts';
import { openNodeTables } from './tables.ts';
import { HostNetwork } from './underlay/host-network.ts';
import { PortsInUse } from './underlay/ports-in-use.ts';
import { Repair } from './underlay/repair.ts';
import { RoutingFollower } from './underlay/routing-follower.ts';
import { ClusterWatch, PodWatch } from './watch.ts';
import { WorkerPool } from './worker-pool.ts';

/** Timeout of API requests; heartbeats are due every three seconds. */
const API_TIMEOUT_MS = 10_000;

/** How an agent is started; everything else is read from the API. */
export interface AgentOptions {
  readonly node: string;
  /** Unix socket or http URL of the API. */
  readonly api: string;
  readonly stateDir: string;
  /** The most offloads to use, even if the kernel supports more. */
  readonly offloads?: OffloadLevel;
  readonly noUnderlayShortcut?: boolean;
  /** YAML files that extend the image catalogue. */
  readonly catalogue?: readonly string[];
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
  const { offloads = OffloadLevel.TUNNEL, noUnderlayShortcut = false, stateDir, catalogue } = options;
  const client = await parts.start(
    'client of the API',
    new ApiClient(options.api, { timeoutMs: API_TIMEOUT_MS, program: 'kubelet' }),
  );
  const live = await readConfig(client, options.node, log);
  const config = live.current;

  const { workers, maxConntrack, nodeName } = config;
  const recordEvent = new EventRecorder(client, nodeName).record;
  const tables = await parts.start('tables', openNodeTables({ nodeName, workers, maxConntrack, nowMs: monotonicMs() }));
  if (tables.recovered > 0) log(`${tables.recovered} connections of a previous agent recovered`);
  writeConntrackSettings(tables.conntrack, config);
  const sync = new NodeSync(tables.node, config);
  const nameServer = config.dns === 'agent' ? config.nodeIP : undefined;
  const host = await parts.start('dp0', new HostNetwork({ ...config, offloads, noUnderlayShortcut, nameServer }));
  if (host.withoutShortcut !== undefined) log(`no shortcut to the underlay device: ${host.withoutShortcut}`);
  const tunnel = openTunnel(config, log);
  if (tunnel) await parts.start('tunnel', tunnel);

  const pool = new WorkerPool({
    workers,
    ...(tunnel && { tunnels: tunnel.ofWorkers, onTunnel: (worker) => tunnel.drain(worker) }),
    tables: memoryNames(nodeName),
    features: host.tap,
    conntrack: tables.conntrack,
    fragments: tables.fragments,
    onCrash: (worker, error) => log(`worker ${worker} crashed and will be restarted: ${error.message}`),
  });
  await parts.start('workers, waiting', { close: () => pool.stop() });
  const addHost = (): void => pool.addPort(0, host.tap.fds, host.tap.headerBytes);
  addHost();
  host.onRecreated = addHost;
  const podOf = (namespace: string, name: string) => podWatch.pod(namespace, name);
  const onTrouble = (pod: Pod, message: string): void => {
    log(message);
    recordEvent(pod, 'Warning', 'TableFull', message);
  };
  const policies = new NodePolicies({
    client,
    policies: tables.policies,
    node: tables.node,
    dnsPort: config.dns === 'agent' ? DNS_PORT : undefined,
    onTrouble: (message) => {
      log(message);
      recordEvent(live.node, 'Warning', 'PoliciesNotInForce', message);
    },
  });
  const podNetwork = new PodNetwork({ sync, pool, policies, config: live, offloads, podOf, onTrouble });
  const network = await parts.start('pod network', podNetwork);

  // Values that may change while the agent runs, in the order in which changes are applied.
  live.follow(['underlayMtu'], (now) => host.setUnderlayMtu(now.underlayMtu));
  live.follow(CHANGING_IDENTITY, (now) => sync.reconfigure(now));
  live.follow(CONNTRACK_OPTIONS, (now) => writeConntrackSettings(tables.conntrack, now));
  live.follow(['podMtu'], () => network.followMtu());
  const repair = await parts.start('repair of dp0', new Repair({ host, config: live, log }));
  const follower = new RoutingFollower({ host, sync, config, onChange: () => repair.check(), log });
  await parts.start("the node's routes", follower);

  const metrics = openMetrics();
  addNodeMetrics(metrics, {
    tables,
    forwarding: () => pool.isHealthy(),
    workers: () => pool.states(),
    overlay: () => ({ mode: config.overlay, tunnelOffload: host.tap.tunnelOffload, mtu: live.current.podMtu }),
  });
  const services = new NodeServices({
    config: live,
    tables,
    host,
    forwarding: () => pool.isHealthy(),
    beforeNodePort: () => portsInUse.update(),
    metrics: new ProxyMetrics(metrics),
    expose: exposeMetrics(metrics),
    onTrouble: (namespace, name, message) => {
      const service = watch.service(namespace, name);
      if (service) recordEvent(service, 'Warning', 'NotServed', message);
    },
    onPodTrouble: (pod, message) => {
      log(`pod ${pod.metadata.namespace}/${pod.metadata.name}: ${message}`);
      recordEvent(pod, 'Warning', 'HostPortNotServed', message);
    },
    log,
  });
  const hostPorts = () => services.hostPortNumbers();
  const portsInUse = await parts.start('ports in use', new PortsInUse({ table: tables.conntrack, hostPorts, log }));
  const names = config.dns === 'agent' ? new NodeNameServer(config, log) : undefined;
  const remotes = new RemoteNodes({ sync, host, cluster: config, log });
  const heartbeat = new Heartbeat(
    client,
    () => live.node,
    () => repair.obstacle,
    log,
  );
  const watch = new ClusterWatch(client, nodeName, {
    ownNode: (node) => live.change({ node }),
    options: (cluster) => live.change({ cluster }),
    setNode: (node) => remotes.set(node),
    removeNode: (name) => (name === nodeName ? void heartbeat.beat() : remotes.remove(name)),
    services: names ? [services, names] : [services],
  });
  const runtime = openPodRuntime({ client, config, stateDir, catalogue, network, watch, recordEvent, log });
  const podWatch = new PodWatch(client, nodeName, {
    set: (pod) => network.update(pod),
    sync: (pods) => {
      services.setPods(pods);
      runtime.sync(pods);
    },
  });
  await parts.start('services', services);
  await parts.start('policies', policies);
  await parts.start('other nodes', remotes);
  await parts.start('watch of the cluster', watch);
  await parts.start('pods', { start: () => runtime.adopt(), close: () => runtime.close({ keepPods: true }) });
  const usage = new NodeUsage(nodeName, stateDir);
  const closeControl = await serveAgentControl(
    agentSocketPath(stateDir, nodeName),
    {
      restart: (namespace, pod, container) => runtime.restartContainer(namespace, pod, container),
      usage: () => usage.summary(),
    },
    new PodStreams(stateDir),
  );
  await parts.start('control socket', { close: closeControl });
  await parts.start('watch of the pods', podWatch);

  await Promise.all([watch.whenSynced(), podWatch.whenSynced(), policies.whenSynced()]);
  services.applyAll(podWatch.all());
  if (names) await parts.start('name server', names);
  await pool.start();
  podWatch.sync();
  await parts.start(
    'watch of exhausted ports',
    new PortExhaustion(tables.counters, (message) => {
      log(message);
      const refused = lastRefused(tables.conntrack);
      for (const object of [live.node, ...objectsOf(refused, podWatch.all(), watch.allServices())]) {
        recordEvent(
          object,
          'Warning',
          'SourcePortsExhausted',
          `${message}; the last to ${refused.target}:${refused.port}`,
        );
      }
    }),
  );
  await parts.start(
    'watch of dropped traffic',
    new DroppedTraffic({
      counters: tables.counters,
      nodeName,
      pods: () => podWatch.all(),
      services: () => watch.allServices(),
      isolating: (pod, direction) => policies.isolating(pod, direction),
      podAt: (ip) => policies.podAt(ip),
      record: recordEvent,
    }),
  );
  await parts.start('heartbeat', heartbeat);
  await parts.start('lease', new NodeLease(client, () => live.node));
  await parts.start('run file', new RunFile(join(stateDir, 'nodes', nodeName), live, host.tap));
  log(`node ${nodeName} is forwarding: ${workers} worker(s), tunnel offload ${host.tap.tunnelOffload ? 'on' : 'off'}`);
}
