/**
 * Notices nodes that fall silent. Agents write `status.conditions[Ready].lastHeartbeatTime`; ten seconds without one and
 * the node is no longer Ready and its pods are no endpoints any more. When it is back, so are they. Their own containers'
 * state is left alone: only this controller's own condition is reverted, not the agent's.
 */
import { nowText } from '../../api/store/store.ts';
import type { NodeObject, Pod } from '../../api/types/objects.ts';
import { type Cluster, conditionOf, withCondition } from '../cluster.ts';
import type { PodAddresses } from '../pods/addresses.ts';
import { isReady } from '../pods/scheduler.ts';
import { keyOf, splitKey } from '../work-queue.ts';

const SILENCE_MS = 10_000;

/** The reason by which a pod's Ready condition is known to be ours. */
const NODE_NOT_READY = 'NodeNotReady';

export interface NodeLifecycle {
  close(): void;
}

export function startNodeLifecycle(cluster: Cluster, addresses: PodAddresses, silenceMs = SILENCE_MS): NodeLifecycle {
  const { store, registry } = cluster;
  const timers = new Map<string, NodeJS.Timeout>();

  /** (Re)starts the clock of a node. After a restart every node has the full time to report. */
  const listen = (name: string) => {
    clearTimeout(timers.get(name));
    const due = Date.now() + silenceMs;
    const timer = setTimeout(() => {
      // A timer that fires late means that this process was stopped; heartbeats may be waiting in its sockets.
      if (Date.now() - due > silenceMs / 4) listen(name);
      else silent(name);
    }, silenceMs);
    timers.set(name, timer.unref());
  };

  const silent = (name: string) => {
    timers.delete(name);
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
  };

  const queue = cluster.queue('node-lifecycle', (podKey) => {
    const pod = store.get('Pod', ...splitKey(podKey));
    const nodeName = pod?.spec.nodeName;
    if (pod === undefined || !nodeName) return;
    const node = store.get('Node', undefined, nodeName);
    if (node === undefined && pod.metadata.deletionTimestamp !== undefined) {
      store.remove(pod); // No agent is left to end it.
      return;
    }
    const next = node !== undefined && isReady(node) ? recovered(pod) : suspended(pod, node);
    if (next !== pod) registry.write(next, pod);
  });

  const changed = (node: NodeObject) => {
    for (const podKey of addresses.podsOn(node.metadata.name)) queue.add(podKey);
  };

  for (const node of store.list('Node')) {
    listen(node.metadata.name);
    changed(node);
  }
  for (const pod of store.list('Pod')) queue.add(keyOf(pod));
  store.onCommit('Node', ({ type, object, old }) => {
    const { name } = object.metadata;
    if (type === 'DELETED') {
      clearTimeout(timers.get(name));
      timers.delete(name);
      changed(object);
      return;
    }
    if (heartbeat(object) !== heartbeat(old)) listen(name);
    if (old === undefined || isReady(object) !== isReady(old)) changed(object);
  });
  return {
    close() {
      for (const timer of timers.values()) clearTimeout(timer);
    },
  };
}

function heartbeat(node: NodeObject | undefined): string {
  const ready = conditionOf(node?.status?.conditions, 'Ready');
  // Only what the node itself reported counts; our own Unknown is no sign of life.
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
