/**
 * Updates the pods of a Deployment to its template, with one ReplicaSet per template: Recreate or RollingUpdate
 * (pkg/controller/deployment). Old sets are scaled to zero and kept as history for rollbacks. The status is in
 * `deployment-status.ts`.
 */
import { isEnded } from '../../api/pod-phase.ts';
import type { Deployment, ReplicaSet } from '../../api/types/objects.ts';
import type { Cluster } from '../cluster.ts';
import { keyOf, splitKey, type WorkQueue } from '../work-queue.ts';
import { DeploymentHistory } from './deployment-history.ts';
import { availableOf, presentOf, replicasOf, scaleProportionally, total } from './deployment-scale.ts';
import { writeDeploymentStatus } from './deployment-status.ts';
import { controllerOf, Owned } from './owners.ts';
import { share } from './pod-control.ts';

export function startDeploymentController(cluster: Cluster): void {
  const { store } = cluster;
  const sets = new Owned(store, 'ReplicaSet', 'Deployment');
  const pods = new Owned(store, 'Pod', 'ReplicaSet');
  const queue: WorkQueue = cluster.queue('deployments', (key) => {
    const deployment = store.get('Deployment', ...splitKey(key));
    if (deployment === undefined || deployment.metadata.deletionTimestamp !== undefined) return;
    const claimed = sets.claim(cluster, deployment, deployment.spec.selector);
    const someLeft = (set: ReplicaSet) => pods.of(set).some((pod) => !isEnded(pod));
    const nextMs = new Rollout(cluster, deployment, claimed, someLeft).run();
    if (nextMs !== undefined) queue.addAfter(key, nextMs);
  });
  pods.queueOwners(cluster.queue('pods-of-deployments', () => {}));
  sets.queueOwners(queue, ({ spec }) => spec.selector);
  // The strategy Recreate waits until the last pod has terminated, which the ReplicaSet's status does not show.
  store.onCommit('Pod', ({ type, object }) => {
    const owner = type === 'DELETED' ? controllerOf(object, 'ReplicaSet') : undefined;
    const set = owner && store.get('ReplicaSet', object.metadata.namespace, owner.name);
    const deployment = set && controllerOf(set, 'Deployment');
    if (deployment !== undefined) queue.add(keyOf({ metadata: { ...object.metadata, name: deployment.name } }));
  });
}

class Rollout {
  private readonly cluster: Cluster;
  private readonly deployment: Deployment;
  private readonly wanted: number;
  private readonly sets: readonly ReplicaSet[];
  /** Does a set have pods that have not ended, including terminating ones? */
  private readonly someLeft: (set: ReplicaSet) => boolean;

  constructor(
    cluster: Cluster,
    deployment: Deployment,
    sets: readonly ReplicaSet[],
    someLeft: (set: ReplicaSet) => boolean,
  ) {
    this.cluster = cluster;
    this.deployment = deployment;
    this.sets = sets;
    this.someLeft = someLeft;
    this.wanted = deployment.spec.replicas ?? 1;
  }

  /** @returns milliseconds after which to run again even without a change; undefined: not necessary */
  run(): number | undefined {
    const { cluster, deployment } = this;
    const history = new DeploymentHistory(cluster, deployment, this.sets);
    const paused = deployment.spec.paused === true;
    // While paused, a new template has no effect, but scaling does.
    const fresh = paused ? history.present() : history.ensure(this.maxSurge());
    const old = history.others(fresh);
    if (paused || this.isScaling(fresh, old)) this.scaleAll(fresh, old);
    else if (fresh !== undefined) this.roll(fresh, old);
    const nextMs = writeDeploymentStatus(cluster, deployment, fresh?.metadata.name, old);
    if (!paused) history.forget(old);
    return nextMs;
  }

  private maxSurge(): number {
    const { strategy } = this.deployment.spec;
    if (strategy?.type === 'Recreate') return 0;
    return share(strategy?.rollingUpdate?.maxSurge ?? '25%', this.wanted, Math.ceil);
  }

  /** Has spec.replicas changed since the sets were last scaled? (isScalingEvent) */
  private isScaling(fresh: ReplicaSet | undefined, old: readonly ReplicaSet[]): boolean {
    const active = [...(fresh ? [fresh] : []), ...old].filter((set) => replicasOf(set) > 0);
    return active.some((set) => {
      const desired = DeploymentHistory.desiredOf(set);
      return desired !== undefined && desired !== this.wanted;
    });
  }

  private scaleAll(fresh: ReplicaSet | undefined, old: readonly ReplicaSet[]): void {
    const surge = this.maxSurge();
    for (const [set, replicas] of scaleProportionally(fresh, old, this.wanted, surge)) {
      this.scale(set, replicas, surge);
    }
  }

  private roll(fresh: ReplicaSet, old: readonly ReplicaSet[]): void {
    const { strategy } = this.deployment.spec;
    if (strategy?.type === 'Recreate') {
      for (const set of old) this.scale(set, 0, 0);
      if (total(old, presentOf) === 0 && !old.some(this.someLeft)) this.scale(fresh, this.wanted, 0);
      return;
    }
    const surge = this.maxSurge();
    // With both zero the rollout could not proceed (apps/v1 validation; percentages can round to zero).
    const given = share(strategy?.rollingUpdate?.maxUnavailable ?? '25%', this.wanted, Math.floor);
    const missing = given || (surge === 0 ? 1 : 0);
    const all = [fresh, ...old];
    const room = this.wanted + surge - total(all, replicasOf);
    const more = Math.min(this.wanted - replicasOf(fresh), Math.max(0, room));
    const freshNow = this.scale(fresh, replicasOf(fresh) + more, surge);
    // Unavailable old pods can be removed at once, available ones as new pods become available.
    let spare = total([freshNow, ...old], availableOf) - (this.wanted - missing);
    for (const set of [...old].sort((a, b) => DeploymentHistory.revisionOf(a) - DeploymentHistory.revisionOf(b))) {
      const broken = Math.max(0, replicasOf(set) - availableOf(set));
      const fewer = Math.min(replicasOf(set), broken + Math.max(0, Math.min(spare, availableOf(set))));
      if (fewer === 0) continue;
      spare -= Math.max(0, fewer - broken);
      this.scale(set, replicasOf(set) - fewer, surge);
    }
  }

  private scale(set: ReplicaSet, replicas: number, surge: number): ReplicaSet {
    const annotations = { ...set.metadata.annotations, ...DeploymentHistory.scaleNotes(this.wanted, surge) };
    if (replicasOf(set) !== replicas) {
      const verb = replicas > replicasOf(set) ? 'up' : 'down';
      const message = `Scaled ${verb} replica set ${set.metadata.name} from ${replicasOf(set)} to ${replicas}`;
      this.cluster.event(this.deployment, 'Normal', 'ScalingReplicaSet', message);
    }
    const metadata = { ...set.metadata, annotations };
    return this.cluster.registry.write({ ...set, metadata, spec: { ...set.spec, replicas } }, set);
  }
}
