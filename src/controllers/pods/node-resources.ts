/**
 * Do a pod's requests fit beside those of the pods on a node (kubernetes pkg/scheduler/framework/plugins/noderesources)?
 */
import { isEnded } from '../../api/pod-phase.ts';
import { podResources } from '../../api/pod-resources.ts';
import { type Amounts, amountsOf, Quantity, sumOf } from '../../api/quantity.ts';
import type { NodeObject, Pod } from '../../api/types/objects.ts';

/** A version of a pod in the store never changes: its sums are computed once. */
const known = new WeakMap<Pod, Amounts>();

function requestsOf(pod: Pod): Amounts {
  let requests = known.get(pod);
  if (requests === undefined) {
    requests = podResources(pod.spec, 'requests');
    known.set(pod, requests);
  }
  return requests;
}

/**
 * The names of what the node has not enough of.
 * @param others lists the pods on the node; called only for a pod that requests something
 */
export function insufficient(pod: Pod, node: NodeObject, others: () => Iterable<Pod>): string[] {
  const wanted = Object.entries(requestsOf(pod)).filter(([, amount]) => amount.nanos > 0n);
  if (wanted.length === 0) return [];
  const allocatable = amountsOf(node.status?.allocatable);
  let used: Amounts = {};
  // A pod that has ended no longer holds what it requested.
  for (const other of others()) if (!isEnded(other)) used = sumOf(used, requestsOf(other));
  return wanted
    .filter(([name, amount]) => {
      const room = allocatable[name];
      // A node that does not report cpu and memory has not sent its first heartbeat.
      if (room === undefined) return name !== 'cpu' && name !== 'memory';
      return amount.plus(used[name] ?? Quantity.ZERO).exceeds(room);
    })
    .map(([name]) => name);
}
