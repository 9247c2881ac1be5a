/** What the scheduler looks at when it places a pod. */
import type { NodeObject, Pod } from '../../api/types/objects.ts';
import type { Cluster } from '../cluster.ts';
import type { PodVolumes } from '../storage/pod-volumes.ts';
import { splitKey } from '../work-queue.ts';
import type { PodAddresses } from './addresses.ts';
import type { Neighbours } from './fit.ts';
import type { Neighbourhoods } from './neighbourhood.ts';
import type { Nominations } from './nominations.ts';

export interface Scheduling {
  cluster: Cluster;
  addresses: PodAddresses;
  volumes: PodVolumes;
  neighbourhoods: Neighbourhoods;
  nominations: Nominations;
}

export function podsOn({ cluster, addresses }: Scheduling, node: string): Pod[] {
  return [...addresses.podsOn(node)].flatMap((key) => cluster.store.get('Pod', ...splitKey(key)) ?? []);
}

/** The pods on a node, and those that are nominated for it and come before `pod`. */
export function neighboursOn(scheduling: Scheduling, pod: Pod, node: NodeObject): Neighbours {
  const { name } = node.metadata;
  const ahead = scheduling.nominations.ahead(name, pod);
  return {
    count: scheduling.addresses.podsOn(name).size + ahead.length,
    pods: () => [...podsOn(scheduling, name), ...ahead],
  };
}

/** Reasons as kube-scheduler lists them: `1 Insufficient cpu, 2 node(s) were not ready`. */
export function counted(reasons: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  return [...counts]
    .map(([reason, count]) => `${count} ${reason}`)
    .sort()
    .join(', ');
}
