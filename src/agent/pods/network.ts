/**
 * The runtime's interface to the data plane: gives a sandbox its eth0, a port in every worker and its table entries,
 * and removes them.
 */
import type { Conntrack } from '../../../native-free-dataplane/conntrack/record.ts';
import { templateContainersOf } from '../../api/containers.ts';
import type { Pod } from '../../api/types/objects.ts';
import { podBandwidth } from '../../compile/bandwidth.ts';
import { podBudgets } from '../../compile/budgets.ts';
import { monotonicMs } from '../../linux/clock.ts';
import type { OffloadLevel, Tap, TapFeatures } from '../../linux/tap.ts';
import { gatewayOf, macOf, prefixOf } from '../../net/pod-network.ts';
import type { LiveConfig } from '../config.ts';
import { endConnectionsOf } from '../connections/of-pod.ts';
import type { RecordEvent } from '../events.ts';
import type { LocalPod, NodeSync, TrafficLimits } from '../node-sync.ts';
import type { NodePolicies } from '../policies/node-policies.ts';
import type { WorkerPool } from '../worker-pool.ts';
import { closePodDevice, DEVICE, openPodDevice, setPodMtu } from './ports.ts';
import { superPacketLimits } from './super-packets.ts';

/** What the network of pods is made of. */
export interface PodNetworkOptions {
  readonly sync: NodeSync;
  readonly pool: WorkerPool;
  /** The connections of a pod end with it. */
  readonly tables: { readonly conntrack: Conntrack };
  readonly policies: Pick<NodePolicies, 'attach' | 'detach'>;
  readonly config: LiveConfig;
  /** The most offloads that the pods' devices may use. */
  readonly offloads: OffloadLevel;
  /** What the node's own device, dp0, supports. */
  readonly features: TapFeatures;
  /** A pod's object from the API; undefined while it is not known: `update` follows then. */
  readonly podOf: (namespace: string, name: string) => Pod | undefined;
  readonly recordEvent: RecordEvent;
  readonly log: (line: string) => void;
  /** The open device of a former agent, by name and namespace, if it has so many queues. */
  readonly former: ((name: string, queues: number, netnsPath: string) => Tap | undefined) | undefined;
}

/** What is connected: a network namespace that becomes a pod. */
export interface PodNamespace {
  readonly namespace: string;
  readonly name: string;
  readonly podIP: string;
  readonly netnsPath: string;
  /** Name of its device; default: eth0. */
  readonly device?: string;
  /** Default: made from the address. */
  readonly mac?: string | undefined;
  /** Of a container without a pod at the API; others have it in annotations. */
  readonly bandwidth?: TrafficLimits | undefined;
}

interface Attached {
  readonly port: number;
  readonly tap: Tap;
  readonly ip: string;
  readonly mac: string | undefined;
  readonly netnsPath: string;
  readonly device: string | undefined;
}

/** Ports that a pod declares, for the port policy. */
function declaredPorts(pod: Pod | undefined): LocalPod['declared'] {
  if (pod === undefined) return [];
  const containers = templateContainersOf(pod.spec);
  return containers.flatMap(({ ports }) =>
    (ports ?? []).map(({ protocol = 'TCP', containerPort }) => ({ protocol, port: containerPort })),
  );
}

const limitsOf = (pod: Pod | undefined) => ({ bandwidth: podBandwidth(pod), budgets: podBudgets(pod) });

const keyOf = (namespace: string, name: string): string => `${namespace}/${name}`;

/** Connects the sandboxes of this node to the network. */
export class PodNetwork {
  private readonly options: PodNetworkOptions;
  private readonly attached = new Map<string, Attached>();

  constructor(options: PodNetworkOptions) {
    this.options = options;
  }

  /** A new version of the pod's manifest; its declared ports apply to new connections, its limits at once. */
  update(pod: Pod): void {
    const key = keyOf(pod.metadata.namespace ?? 'default', pod.metadata.name);
    const known = this.attached.get(key);
    if (!known) return;
    try {
      const limits = limitsOf(pod);
      const { recordEvent } = this.options;
      for (const problem of limits.bandwidth.problems) recordEvent(pod, 'Warning', 'InvalidBandwidth', problem);
      for (const problem of limits.budgets.problems) recordEvent(pod, 'Warning', 'InvalidBudget', problem);
      const { port, ip, mac } = known;
      this.options.sync.setPod(port, { key, ip, mac, declared: declaredPorts(pod), ...limits });
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      // A table of the data plane is full: not all declared ports of a running pod could be opened.
      this.options.log(error.message);
      this.options.recordEvent(pod, 'Warning', 'TableFull', error.message);
    }
  }

  /** Connect a sandbox to the network. @throws Error naming what failed */
  async attach(sandbox: PodNamespace): Promise<void> {
    const { sync, pool, policies, config, offloads, features, podOf, former } = this.options;
    const { workers, podCIDR, podMtu, overlay } = config.current;
    const key = keyOf(sandbox.namespace, sandbox.name);
    if (this.attached.has(key)) await this.detach(sandbox);
    const port = sync.freePort();
    if (port === undefined) throw new Error(`${key}: this node has no port left for another pod`);
    const pod = podOf(sandbox.namespace, sandbox.name);
    const { podIP: ip, mac = macOf(ip), netnsPath, device, bandwidth } = sandbox;
    const tap = openPodDevice(
      {
        netnsPath,
        device,
        ip,
        prefix: prefixOf(podCIDR),
        gateway: gatewayOf(podCIDR),
        mac,
        mtu: podMtu,
        limits: superPacketLimits(overlay, features, podMtu),
        offloads,
      },
      workers,
      former?.(device ?? DEVICE, workers, netnsPath),
    );
    try {
      const limits = { ...limitsOf(pod), ...(bandwidth && { bandwidth }) };
      sync.setPod(port, { key, ip, mac, declared: declaredPorts(pod), ...limits });
    } catch (error) {
      sync.removePod(key);
      await closePodDevice(tap);
      throw error;
    }
    this.attached.set(key, { port, tap, ip, mac, netnsPath, device });
    policies.attach(sandbox.namespace, sandbox.name, pod, ip);
    pool.addPort(port, tap, netnsPath);
  }

  /** Set the current pod MTU on all devices. @throws SystemError of the last device that could not be changed */
  followMtu(): void {
    const { config, features } = this.options;
    const { podMtu: mtu, overlay } = config.current;
    const change = { mtu, ...superPacketLimits(overlay, features, mtu) };
    let failed: unknown;
    for (const { netnsPath, device } of this.attached.values()) {
      try {
        setPodMtu(netnsPath, change, device);
      } catch (error) {
        failed = error;
      }
    }
    if (failed !== undefined) throw failed;
  }

  /** Disconnect a sandbox from the network, if it is connected. */
  async detach(sandbox: Pick<PodNamespace, 'namespace' | 'name'>): Promise<void> {
    const key = keyOf(sandbox.namespace, sandbox.name);
    const known = this.attached.get(key);
    if (!known) return;
    this.attached.delete(key);
    this.options.sync.removePod(key);
    this.options.policies.detach(sandbox.namespace, sandbox.name);
    await this.options.pool.removePort(known.port);
    // Now that nothing comes from it any more.
    endConnectionsOf(this.options.tables.conntrack, known.ip, monotonicMs());
    closePodDevice(known.tap);
  }

  /** The agent ends: close the devices, which persist in their namespaces. */
  close(): void {
    this.attached.clear();
  }
}
