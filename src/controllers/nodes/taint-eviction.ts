/**
 * Deletes pods that do not tolerate a NoExecute taint of their node, after tolerationSeconds
 * (pkg/controller/tainteviction).
 */
import { resourceOfKind } from '../../api/resources.ts';
import type { Cluster } from '../cluster.ts';
import type { PodAddresses } from '../pods/addresses.ts';
import { staysFor } from '../pods/tolerations.ts';
import { keyOf, splitKey } from '../work-queue.ts';

export function startTaintEviction(cluster: Cluster, addresses: PodAddresses): void {
  const { store, registry } = cluster;
  /** Node → when a change of its taints was observed: taints need not have a timeAdded. */
  const seenAt = new Map<string, number>();
  const queue = cluster.queue('taint-eviction', (key) => {
    const pod = store.get('Pod', ...splitKey(key));
    if (pod === undefined || pod.metadata.deletionTimestamp !== undefined || !pod.spec.nodeName) return;
    const taints = store
      .get('Node', undefined, pod.spec.nodeName)
      ?.spec?.taints?.filter((t) => t.effect === 'NoExecute');
    const ms = staysFor(taints, pod.spec.tolerations);
    if (ms === undefined) return;
    const known = (timeAdded: string | undefined) =>
      Date.parse(timeAdded ?? '') || (seenAt.get(pod.spec.nodeName!) ?? 0);
    const since = Math.max(
      ...taints!.map(({ timeAdded }) => known(timeAdded)),
      Date.parse(pod.metadata.creationTimestamp),
    );
    const left = since + ms - Date.now();
    if (ms > 0 && left > 0) {
      queue.addAfter(key, left + 10);
      return;
    }
    cluster.event(pod, 'Normal', 'TaintManagerEviction', `Marking for deletion Pod ${key}`);
    registry.delete(resourceOfKind('Pod')!, pod.metadata.namespace, pod.metadata.name);
  });
  store.onCommit('Node', ({ type, object, old }) => {
    if (type === 'DELETED') {
      seenAt.delete(object.metadata.name);
      return;
    }
    if (JSON.stringify(object.spec?.taints) === JSON.stringify(old?.spec?.taints)) return;
    seenAt.set(object.metadata.name, Date.now());
    for (const key of addresses.podsOn(object.metadata.name)) queue.add(key);
  });
  store.onCommit('Pod', ({ type, object, old }) => {
    if (type !== 'DELETED' && object.spec.nodeName !== old?.spec.nodeName) queue.add(keyOf(object));
  });
}
