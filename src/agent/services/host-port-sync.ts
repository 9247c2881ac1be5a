/**
 * Applies the host ports of this node's pods to the service table, from the time a pod has an address until it is
 * deleted or has ended. Reports which connections end, like service-sync.ts.
 */
import type { ServiceWriter } from '../../../native-free-dataplane/services/writer.ts';
import { formatAddress } from '../../../native-free-dataplane/wire/address.ts';
import { ALL_ADDRESSES, holdsHostPorts, hostPortsOf } from '../../api/host-ports.ts';
import { type Pod, WellKnown } from '../../api/types/objects.ts';
import type { CompiledPort } from '../../compile/compile-service.ts';
import { compileHostPorts } from '../../compile/host-ports.ts';
import { endedByChange, type RemovedEndpoint } from '../connections/ended.ts';
import type { RoutedPort } from '../underlay/host-options.ts';

/**
 * Limit of host ports per node: each may need a routing rule, and the kernel evaluates all rules for a new connection.
 */
const MAX_HOST_PORTS = 256;

/** What host ports are applied to, and who is informed. */
export interface HostPortSyncOptions {
  readonly writer: ServiceWriter;
  readonly now: () => number;
  /** Called after a change is applied. */
  readonly onRemoved: (removed: readonly RemovedEndpoint[]) => void;
  /** Called with all ports that must be routed to the data plane, whenever they change. */
  readonly onPorts: (ports: readonly RoutedPort[]) => void;
  /** Called if not all host ports of a pod could be applied. */
  readonly onError: (pod: Pod, error: Error) => void;
}

/** The host ports in the table, by the name of their service port. */
export class HostPortSync {
  private readonly options: HostPortSyncOptions;
  private inForce = new Map<string, CompiledPort>();
  /** Errors of this round and of the previous one, by the pod's uid: each is reported once. */
  private complaints = new Map<string, string>();
  private reported: ReadonlyMap<string, string> = this.complaints;

  constructor(options: HostPortSyncOptions) {
    this.options = options;
  }

  /** Apply the host ports of all pods of this node. @param pods the complete list */
  setPods(pods: readonly Pod[]): void {
    this.reported = this.complaints;
    this.complaints = new Map();
    const wanted = this.wanted(pods);
    const removed: RemovedEndpoint[] = [];
    let changed = false;
    // Removals first, so that a pod gets the port of its predecessor at once.
    for (const [name, old] of this.inForce) {
      if (wanted.has(name)) continue;
      this.options.writer.remove(name, this.options.now());
      this.inForce.delete(name);
      removed.push(...endedByChange(old, undefined));
      changed = true;
    }
    for (const [name, { port, pod }] of wanted) {
      const old = this.inForce.get(name);
      if (old !== undefined && old.serving.join() === port.serving.join()) continue;
      try {
        this.options.writer.set(port, this.options.now());
      } catch (error) {
        this.complain(pod, [(error as Error).message]);
        continue;
      }
      this.inForce.set(name, port);
      removed.push(...endedByChange(old, port));
      changed = true;
    }
    if (removed.length > 0) this.options.onRemoved(removed);
    if (changed) this.options.onPorts(this.routedPorts());
  }

  /** The host ports in the table, for the removal of stale connections of a previous agent. */
  states(): Iterable<CompiledPort> {
    return this.inForce.values();
  }

  /** The ports that must be routed to the data plane. */
  routedPorts(): RoutedPort[] {
    return [...this.inForce.values()].flatMap(({ protocol, frontends }) =>
      frontends.map(({ address, port }) => {
        const ip = formatAddress(address);
        return { protocol, port, ...(ip !== ALL_ADDRESSES && { address: ip }) };
      }),
    );
  }

  private wanted(pods: readonly Pod[]): Map<string, { port: CompiledPort; pod: Pod }> {
    const wanted = new Map<string, { port: CompiledPort; pod: Pod }>();
    for (const pod of pods) {
      const ip = pod.metadata.annotations?.[WellKnown.POD_IP] ?? pod.status?.podIP;
      // With hostNetwork the containers bind the node's ports themselves.
      if (!ip || pod.spec.hostNetwork === true || !holdsHostPorts(pod) || hostPortsOf(pod.spec).length === 0) continue;
      const { ports, refused } = compileHostPorts(pod, ip);
      const troubles = [...refused];
      for (const port of ports) {
        if (wanted.size < MAX_HOST_PORTS) wanted.set(port.name, { port, pod });
        else troubles.push(`${port.name}: the node already has ${MAX_HOST_PORTS} host ports, which is the limit`);
      }
      if (troubles.length > 0) this.complain(pod, troubles);
    }
    return wanted;
  }

  /** Report errors of a pod, unless the previous round had the same. */
  private complain(pod: Pod, troubles: readonly string[]): void {
    const { uid, namespace, name } = pod.metadata;
    const key = uid ?? `${namespace}/${name}`;
    const text = troubles.join('; ');
    if (this.reported.get(key) !== text) this.options.onError(pod, new Error(`not served: ${text}`));
    this.complaints.set(key, text);
  }
}
