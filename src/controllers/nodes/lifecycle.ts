/**
 * Marks nodes without heartbeats as not Ready. Agents write `status.conditions[Ready].lastHeartbeatTime`; after ten
 * seconds without one the node is not Ready and its pods stop being endpoints, until the heartbeats resume. Only the
 * conditions that this controller set are reverted then, not those of the agent. A node that has stopped reporting its
 * status but renews its Lease, as kubelet does while nothing changes, stays Ready for the Lease's duration.
 */
import { isReady } from '../../api/ready.ts';
import { nowText } from '../../api/store/store.ts';
import { NODE_LEASES, type NodeObject, type Pod, type Taint } from '../../api/types/objects.ts';
import { type Cluster, conditionOf, withCondition } from '../cluster.ts';
import type { PodAddresses } from '../pods/addresses.ts';
import { CORDONED } from '../pods/tolerations.ts';
import { keyOf, splitKey } from '../work-queue.ts';

const SILENCE_MS = 10_000;

/** The reason that marks a pod's Ready condition as set by this controller. */
const NODE_NOT_READY = 'NodeNotReady';

export interface NodeLifecycle {
  close(): void;
}

export function startNodeLifecycle(cluster: Cluster, addresses: PodAddresses, silenceMs = SILENCE_MS): NodeLifecycle {
  const { store, registry } = cluster;
  const timers = new Map<string, NodeJS.Timeout>();
  const leases = new NodeLeases(cluster, silenceMs);

  /** (Re)starts the timer of a node. After a restart of the controller, every node has the full time to report. */
  const listen = (name: string) => {
    clearTimeout(timers.get(name));
    const due = Date.now() + silenceMs;
    const timer = setTimeout(() => {
      // A timer that fires late means that this process was stopped: unread heartbeats may be in its sockets.
      timers.delete(name);
      if (Date.now() - due > silenceMs / 4 || leases.speaksFor(name)) listen(name);
      else silence.add(name);
    }, silenceMs);
    timers.set(name, timer.unref());
  };

  // A queue: what cannot be written, for instance because the disk is full, is tried again.
  const silence = cluster.queue('node-silence', (name) => {
    if (timers.has(name)) return; // It has reported meanwhile.
    const node = store.get('Node', undefined, name);
    const ready = conditionOf(node?.status?.conditions, 'Ready');
    if (node === undefined || ready === undefined || ready.status === 'Unknown') return;
    const conditions = withCondition(node.status?.conditions, {
      type: 'Ready',
      status: 'Unknown',
      reason: 'NodeStatusUnknown',
      message: 'Kubelet stopped posting node status.',
      lastHeartbeatTime: ready.lastHeartbeatTime ?? nowText(),
    });
    registry.write({ ...node, status: { ...node.status, conditions } }, node);
    cluster.event(node, 'Normal', 'NodeNotReady', `Node ${name} status is now: NodeNotReady`);
  });

  const queue = cluster.queue('node-lifecycle', (podKey) => {
    const pod = store.get('Pod', ...splitKey(podKey));
    const nodeName = pod?.spec.nodeName;
    if (pod === undefined || !nodeName) return;
    const node = store.get('Node', undefined, nodeName);
    if (node === undefined && pod.metadata.deletionTimestamp !== undefined) {
      store.remove(pod); // there is no agent to terminate it
      return;
    }
    const next = node !== undefined && isReady(node) ? recovered(pod) : suspended(pod, node);
    if (next !== pod) registry.write(next, pod);
  });

  // What `kubectl cordon` sets has a taint of its own, so that only pods that tolerate it are placed there.
  const taints = cluster.queue('node-taints', (name) => {
    const node = store.get('Node', undefined, name);
    const next = node && withUnschedulableTaint(node);
    if (next !== node) registry.write(next!, node!);
  });

  const changed = (node: NodeObject) => {
    for (const podKey of addresses.podsOn(node.metadata.name)) queue.add(podKey);
  };

  const kubelet = cluster.as('kubelet');
  const announce = (node: NodeObject, old: NodeObject | undefined) => {
    const { name } = node.metadata;
    const status = (reason: string) => kubelet.event(node, 'Normal', reason, `Node ${name} status is now: ${reason}`);
    if (isReady(node) && (old === undefined || !isReady(old))) status('NodeReady');
    if (old === undefined || Boolean(node.spec?.unschedulable) === Boolean(old.spec?.unschedulable)) return;
    status(node.spec?.unschedulable ? 'NodeNotSchedulable' : 'NodeSchedulable');
  };

  const registered = (node: NodeObject): void => {
    const { name } = node.metadata;
    cluster.event(node, 'Normal', 'RegisteredNode', `Node ${name} event: Registered Node ${name} in Controller`);
  };

  const events = store.list('Event').filter(({ reason }) => reason === 'RegisteredNode');
  const known = new Set(events.map(({ involvedObject }) => involvedObject.uid));
  for (const node of store.list('Node')) {
    listen(node.metadata.name);
    taints.add(node.metadata.name);
    // Its agent may have come before the controllers started.
    if (!known.has(node.metadata.uid)) registered(node);
    changed(node);
  }
  for (const pod of store.list('Pod')) queue.add(keyOf(pod));
  store.onCommit('Node', ({ type, object, old }) => {
    const { name } = object.metadata;
    if (type === 'DELETED') {
      clearTimeout(timers.get(name));
      timers.delete(name);
      changed(object);
      cluster.event(object, 'Normal', 'RemovingNode', `Node ${name} event: Removing Node ${name} from Controller`);
      return;
    }
    if (type === 'ADDED') registered(object);
    announce(object, old);
    if (object.spec !== old?.spec) taints.add(name);
    if (heartbeat(object) !== heartbeat(old)) {
      leases.reported(name);
      listen(name);
    }
    if (old === undefined || isReady(object) !== isReady(old)) changed(object);
  });
  return {
    close() {
      for (const timer of timers.values()) clearTimeout(timer);
    },
  };
}

/** The node with the taint of cordoned nodes, or without it (nodelifecycle, doNoScheduleTaintingPass). */
function withUnschedulableTaint(node: NodeObject): NodeObject {
  const { taints = [], unschedulable = false } = node.spec ?? {};
  const isIt = ({ key, effect }: Taint) => key === CORDONED.key && effect === CORDONED.effect;
  if (taints.some(isIt) === unschedulable) return node;
  const left = taints.filter((taint) => !isIt(taint));
  const next = unschedulable ? [...left, { ...CORDONED, timeAdded: nowText() }] : left;
  const { taints: _before, ...spec } = node.spec ?? {};
  return { ...node, spec: { ...spec, ...(next.length > 0 && { taints: next }) } };
}

/** Which nodes live by their Lease alone. Times are this process' own: nodes' clocks may differ. */
class NodeLeases {
  private readonly renewed = new Map<string, { atMs: number; durationMs: number }>();
  private readonly reports = new Map<string, number>();
  private readonly silenceMs: number;

  constructor({ store }: Cluster, silenceMs: number) {
    this.silenceMs = silenceMs;
    store.onCommit('Lease', ({ type, object, old }) => {
      const { namespace, name } = object.metadata;
      if (namespace !== NODE_LEASES) return;
      if (type === 'DELETED') this.renewed.delete(name);
      else if (object.spec?.renewTime !== old?.spec?.renewTime) {
        this.renewed.set(name, { atMs: Date.now(), durationMs: (object.spec?.leaseDurationSeconds ?? 0) * 1000 });
      }
    });
    store.onCommit('Node', ({ type, object }) => {
      if (type === 'DELETED') this.reports.delete(object.metadata.name);
    });
  }

  /** The node has reported its status. */
  reported(name: string): void {
    this.reports.set(name, Date.now());
  }

  /**
   * Has the Lease been renewed well after the last report, and is it still valid? An agent that does both every few
   * seconds dies at both together: its last renewal must not keep it Ready.
   */
  speaksFor(name: string): boolean {
    const lease = this.renewed.get(name);
    if (lease === undefined || Date.now() > lease.atMs + lease.durationMs) return false;
    return lease.atMs - (this.reports.get(name) ?? 0) > this.silenceMs / 2;
  }
}

function heartbeat(node: NodeObject | undefined): string {
  const ready = conditionOf(node?.status?.conditions, 'Ready');
  // Only reports of the node itself count as heartbeats; Unknown is set by this controller.
  return ready === undefined || ready.status === 'Unknown' ? '' : `${ready.lastHeartbeatTime} ${ready.status}`;
}

function suspended(pod: Pod, node: NodeObject | undefined): Pod {
  const ready = conditionOf(pod.status?.conditions, 'Ready');
  if (ready?.status !== 'True') return pod;
  const message = node === undefined ? 'its node was deleted' : 'its node is not ready';
  const condition = { type: 'Ready', status: 'False' as const, reason: NODE_NOT_READY, message };
  return { ...pod, status: { ...pod.status, conditions: withCondition(pod.status?.conditions, condition) } };
}

function recovered(pod: Pod): Pod {
  if (conditionOf(pod.status?.conditions, 'Ready')?.reason !== NODE_NOT_READY) return pod;
  const conditions = withCondition(pod.status?.conditions, { type: 'Ready', status: 'True' });
  return { ...pod, status: { ...pod.status, conditions } };
}
