/** The other pods of the cluster, for the rules by which a pod is placed in relation to them (pod-affinity.ts). */
import { isEnded } from '../../api/pod-phase.ts';
import type { Store } from '../../api/store/store.ts';
import type { Pod } from '../../api/types/objects.ts';
import { keyOf } from '../work-queue.ts';
import { nodeAffinityFits } from './node-affinity.ts';
import { keepsAway, type Neighbourhood } from './pod-affinity.ts';

export class Neighbourhoods {
  private readonly store: Store;
  /** Pods with a required anti-affinity: they concern every pod that is placed. */
  private readonly keepingAway = new Set<string>();

  constructor(store: Store) {
    this.store = store;
    const note = (pod: Pod, exists: boolean): void => {
      if (exists && keepsAway(pod)) this.keepingAway.add(keyOf(pod));
      else this.keepingAway.delete(keyOf(pod));
    };
    for (const pod of store.list('Pod')) note(pod, true);
    store.onCommit('Pod', ({ type, object }) => note(object, type !== 'DELETED'));
  }

  /** Undefined if no rule, of this pod or another, puts it in relation to others. */
  of(pod: Pod): Neighbourhood | undefined {
    const { affinity, topologySpreadConstraints = [] } = pod.spec;
    const own = (affinity?.podAffinity ?? affinity?.podAntiAffinity) !== undefined;
    if (!own && topologySpreadConstraints.length === 0 && this.keepingAway.size === 0) return undefined;
    const nodes = this.store.list('Node');
    const byName = new Map(nodes.map((node) => [node.metadata.name, node]));
    const placed = this.store.list('Pod').flatMap((other) => {
      const node = byName.get(other.spec.nodeName ?? '');
      return node === undefined || isEnded(other) || other.metadata.uid === pod.metadata.uid
        ? []
        : [{ pod: other, node }];
    });
    return {
      placed,
      nodes,
      namespaceLabels: (name) => this.store.get('Namespace', undefined, name)?.metadata.labels ?? {},
      excluded: (node) => !nodeAffinityFits(pod.spec, node),
    };
  }
}
