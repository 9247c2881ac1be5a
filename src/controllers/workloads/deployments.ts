/** Brings the pods of a Deployment to its template, through one ReplicaSet per template: all at once or step by step. */
import { createHash } from 'node:crypto';
import { resourceOfKind } from '../../api/resources.ts';
import type { Deployment, ReplicaSet } from '../../api/types/objects.ts';
import { type Cluster, withCondition } from '../cluster.ts';
import { splitKey } from '../work-queue.ts';
import { Owned, ownedBy } from './owners.ts';

const SETS = resourceOfKind('ReplicaSet')!;
const HASH = 'pod-template-hash';
const REVISION = 'deployment.kubernetes.io/revision';

export function startDeploymentController(cluster: Cluster): void {
  const { store } = cluster;
  const sets = new Owned(store, 'ReplicaSet', 'Deployment');
  const queue = cluster.queue('deployments', (key) => {
    const deployment = store.get('Deployment', ...splitKey(key));
    if (deployment === undefined || deployment.metadata.deletionTimestamp !== undefined) return;
    new Rollout(cluster, deployment, sets.of(deployment)).run();
  });
  sets.queueOwners(queue);
}

const replicasOf = (set: ReplicaSet) => set.spec.replicas ?? 1;
/** A set that is being scaled down counts as smaller at once, before its status shows it. */
const availableOf = (set: ReplicaSet) => Math.min(set.status?.availableReplicas ?? 0, replicasOf(set));
const presentOf = (set: ReplicaSet) => set.status?.replicas ?? 0;
const total = (sets: readonly ReplicaSet[], of: (set: ReplicaSet) => number) => sets.reduce((n, s) => n + of(s), 0);

class Rollout {
  private readonly cluster: Cluster;
  private readonly deployment: Deployment;
  private readonly wanted: number;
  private sets: ReplicaSet[];

  constructor(cluster: Cluster, deployment: Deployment, sets: ReplicaSet[]) {
    this.cluster = cluster;
    this.deployment = deployment;
    this.sets = sets;
    this.wanted = deployment.spec.replicas ?? 1;
  }

  run(): void {
    const hash = templateHash(this.deployment);
    const fresh = this.sets.find((s) => s.metadata.labels?.[HASH] === hash) ?? this.makeSet(hash);
    const old = this.sets.filter((s) => s !== fresh);
    if (this.deployment.spec.paused !== true) this.roll(fresh, old);
    this.writeStatus(fresh, old);
    this.forget(old);
  }

  private makeSet(hash: string): ReplicaSet {
    const { spec, metadata } = this.deployment;
    const { namespace, name } = metadata;
    const revision = 1 + Math.max(0, ...this.sets.map((s) => Number(s.metadata.annotations?.[REVISION] ?? 0)));
    const labels = { ...spec.template.metadata?.labels, [HASH]: hash };
    const { object } = this.cluster.registry.create(SETS, namespace, {
      apiVersion: 'apps/v1',
      kind: 'ReplicaSet',
      metadata: {
        name: `${name}-${hash}`,
        namespace,
        labels,
        annotations: { [REVISION]: String(revision) },
        ownerReferences: [ownedBy(this.deployment)],
      },
      spec: {
        replicas: 0,
        ...(spec.minReadySeconds && { minReadySeconds: spec.minReadySeconds }),
        selector: { ...spec.selector, matchLabels: { ...spec.selector.matchLabels, [HASH]: hash } },
        template: { ...spec.template, metadata: { ...spec.template.metadata, labels } },
      },
    });
    return object as ReplicaSet;
  }

  private roll(fresh: ReplicaSet, old: readonly ReplicaSet[]): void {
    const { strategy } = this.deployment.spec;
    if (strategy?.type === 'Recreate') {
      for (const set of old) this.scale(set, 0);
      if (total(old, presentOf) === 0) this.scale(fresh, this.wanted);
      return;
    }
    const { maxSurge = '25%', maxUnavailable = '25%' } = strategy?.rollingUpdate ?? {};
    const surge = share(maxSurge, this.wanted, Math.ceil);
    // Both zero would be a stand-still (apps/v1 validation; percentages can round to it).
    const missing = share(maxUnavailable, this.wanted, Math.floor) || (surge === 0 ? 1 : 0);
    const all = [fresh, ...old];
    const room = this.wanted + surge - total(all, replicasOf);
    const more = Math.min(this.wanted - replicasOf(fresh), Math.max(0, room));
    if (more !== 0) this.scale(fresh, replicasOf(fresh) + more);
    // Old pods that are not available can be removed at once; the others go as new ones become available.
    let spare = total(all, availableOf) - (this.wanted - missing);
    for (const set of [...old].sort((a, b) => revisionOf(a) - revisionOf(b))) {
      const broken = Math.max(0, replicasOf(set) - availableOf(set));
      const fewer = Math.min(replicasOf(set), broken + Math.max(0, Math.min(spare, availableOf(set))));
      if (fewer === 0) continue;
      spare -= Math.max(0, fewer - broken);
      this.scale(set, replicasOf(set) - fewer);
    }
  }

  private scale(set: ReplicaSet, replicas: number): ReplicaSet {
    if (replicasOf(set) === replicas) return set;
    const verb = replicas > replicasOf(set) ? 'up' : 'down';
    const message = `Scaled ${verb} replica set ${set.metadata.name} from ${replicasOf(set)} to ${replicas}`;
    this.cluster.event(this.deployment, 'Normal', 'ScalingReplicaSet', message);
    return this.cluster.registry.write({ ...set, spec: { ...set.spec, replicas } }, set);
  }

  private writeStatus(fresh: ReplicaSet, old: readonly ReplicaSet[]): void {
    const { store, registry } = this.cluster;
    const { namespace, name, generation } = this.deployment.metadata;
    const now = store.get('Deployment', namespace, name);
    if (now === undefined) return;
    const all = [fresh, ...old];
    const available = total(all, availableOf);
    const { maxUnavailable = '25%' } = this.deployment.spec.strategy?.rollingUpdate ?? {};
    const enough = available >= this.wanted - share(maxUnavailable, this.wanted, Math.floor);
    const conditions = withCondition(now.status?.conditions, {
      type: 'Available',
      status: enough ? 'True' : 'False',
      reason: enough ? 'MinimumReplicasAvailable' : 'MinimumReplicasUnavailable',
      message: enough ? 'Deployment has minimum availability.' : 'Deployment does not have minimum availability.',
    });
    const status = {
      replicas: total(all, presentOf),
      updatedReplicas: presentOf(fresh),
      readyReplicas: total(all, (s) => s.status?.readyReplicas ?? 0),
      availableReplicas: available,
      unavailableReplicas: Math.max(0, this.wanted - available),
      observedGeneration: generation,
      conditions,
    };
    const revision = fresh.metadata.annotations?.[REVISION] ?? '1';
    const annotations = { ...now.metadata.annotations, [REVISION]: revision };
    registry.write({ ...now, metadata: { ...now.metadata, annotations }, status }, now);
  }

  private forget(old: readonly ReplicaSet[]): void {
    const idle = old
      .filter((s) => replicasOf(s) === 0 && presentOf(s) === 0)
      .sort((a, b) => revisionOf(b) - revisionOf(a));
    for (const set of idle.slice(this.deployment.spec.revisionHistoryLimit ?? 10)) {
      this.cluster.registry.delete(SETS, set.metadata.namespace, set.metadata.name);
    }
  }
}

const revisionOf = (set: ReplicaSet) => Number(set.metadata.annotations?.[REVISION] ?? 0);

function share(value: number | string, of: number, round: (n: number) => number): number {
  return typeof value === 'number' ? value : round((Number.parseInt(value, 10) * of) / 100);
}

/** Equal for equal templates, whatever the order of their keys. */
function templateHash({ spec: { template } }: Deployment): string {
  const sorted = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(sorted);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(
      Object.entries(value)
        .sort()
        .map(([key, member]) => [key, sorted(member)]),
    );
  };
  return createHash('sha256')
    .update(JSON.stringify(sorted(template)))
    .digest('hex')
    .slice(0, 10);
}
