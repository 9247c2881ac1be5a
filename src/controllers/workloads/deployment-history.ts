/**
 * The ReplicaSets of a Deployment as its history: which one has the current template, the revision of each, and which
 * are beyond the history limit (pkg/controller/deployment/util/deployment_util.go). `kubectl rollout history` and
 * `undo` read the annotations that are written here.
 */
import { resourceOfKind } from '../../api/resources.ts';
import { type Deployment, type ReplicaSet, WellKnown } from '../../api/types/objects.ts';
import type { Cluster } from '../cluster.ts';
import { presentOf, replicasOf } from './deployment-scale.ts';
import { ownedBy } from './owners.ts';
import { templateHash } from './template-hash.ts';

const SETS = resourceOfKind('ReplicaSet')!;
const TEMPLATE_HASH = 'pod-template-hash';
export const REVISION = 'deployment.kubernetes.io/revision';
const HISTORY = 'deployment.kubernetes.io/revision-history';
const DESIRED = 'deployment.kubernetes.io/desired-replicas';
const MAX = 'deployment.kubernetes.io/max-replicas';
/** Annotations of the Deployment that are not copied to its ReplicaSets. */
const NOT_COPIED = new Set([
  WellKnown.LAST_APPLIED,
  REVISION,
  HISTORY,
  DESIRED,
  MAX,
  'deprecated.deployment.rollback.to',
]);

export class DeploymentHistory {
  private readonly cluster: Cluster;
  private readonly deployment: Deployment;
  private readonly sets: readonly ReplicaSet[];
  private readonly hash: string;

  constructor(cluster: Cluster, deployment: Deployment, sets: readonly ReplicaSet[]) {
    this.cluster = cluster;
    this.deployment = deployment;
    this.sets = sets;
    this.hash = templateHash(deployment.spec.template);
  }

  static revisionOf({ metadata }: ReplicaSet): number {
    return Number(metadata.annotations?.[REVISION] ?? 0) || 0;
  }

  /** spec.replicas of the Deployment when this set was last scaled. */
  static desiredOf({ metadata }: ReplicaSet): number | undefined {
    const text = metadata.annotations?.[DESIRED];
    return text === undefined ? undefined : Number(text);
  }

  static scaleNotes(wanted: number, surge: number): Record<string, string> {
    return { [DESIRED]: String(wanted), [MAX]: String(wanted + surge) };
  }

  /** The set of the current template, if it exists. */
  present(): ReplicaSet | undefined {
    return this.sets.find((set) => this.hasTemplate(set));
  }

  /** The set of the current template, created if necessary, as the newest revision. */
  ensure(surge: number): ReplicaSet {
    const found = this.present();
    if (found === undefined) return this.make(surge);
    const newest = Math.max(0, ...this.others(found).map(DeploymentHistory.revisionOf)) + 1;
    const own = DeploymentHistory.revisionOf(found);
    const annotations = { ...found.metadata.annotations, ...this.copied() };
    if (own < newest) {
      annotations[REVISION] = String(newest);
      // It is an earlier revision that `rollout undo` brought back.
      if (own > 0) annotations[HISTORY] = [annotations[HISTORY], String(own)].filter(Boolean).join(',');
    }
    const { minReadySeconds } = this.deployment.spec;
    const spec = { ...found.spec, ...(minReadySeconds !== undefined && { minReadySeconds }) };
    return this.cluster.registry.write({ ...found, metadata: { ...found.metadata, annotations }, spec }, found);
  }

  others(fresh: ReplicaSet | undefined): ReplicaSet[] {
    return this.sets.filter((set) => set.metadata.uid !== fresh?.metadata.uid);
  }

  /** Deletes sets beyond the history limit, the oldest first. */
  forget(old: readonly ReplicaSet[]): void {
    const idle = old
      .filter((set) => replicasOf(set) === 0 && presentOf(set) === 0 && set.metadata.deletionTimestamp === undefined)
      .sort((a, b) => DeploymentHistory.revisionOf(b) - DeploymentHistory.revisionOf(a));
    for (const set of idle.slice(this.deployment.spec.revisionHistoryLimit ?? 10)) {
      this.cluster.registry.delete(SETS, set.metadata.namespace, set.metadata.name);
    }
  }

  private hasTemplate({ metadata, spec }: ReplicaSet): boolean {
    if (metadata.labels?.[TEMPLATE_HASH] === this.hash) return true;
    // An adopted set may have a hash that was computed differently.
    const { [TEMPLATE_HASH]: _, ...labels } = spec.template.metadata?.labels ?? {};
    return templateHash({ ...spec.template, metadata: { ...spec.template.metadata, labels } }) === this.hash;
  }

  private copied(): Record<string, string> {
    const all = Object.entries(this.deployment.metadata.annotations ?? {});
    return Object.fromEntries(all.filter(([key]) => !NOT_COPIED.has(key)));
  }

  private make(surge: number): ReplicaSet {
    const { spec, metadata } = this.deployment;
    const { namespace, name } = metadata;
    const revision = 1 + Math.max(0, ...this.sets.map(DeploymentHistory.revisionOf));
    const labels = { ...spec.template.metadata?.labels, [TEMPLATE_HASH]: this.hash };
    const { object } = this.cluster.registry.create(
      SETS,
      namespace,
      {
        apiVersion: 'apps/v1',
        kind: 'ReplicaSet',
        metadata: {
          name: `${name}-${this.hash}`,
          namespace,
          labels,
          annotations: {
            ...this.copied(),
            ...DeploymentHistory.scaleNotes(spec.replicas ?? 1, surge),
            [REVISION]: String(revision),
          },
          ownerReferences: [ownedBy(this.deployment)],
        },
        spec: {
          replicas: 0,
          ...(spec.minReadySeconds && { minReadySeconds: spec.minReadySeconds }),
          selector: { ...spec.selector, matchLabels: { ...spec.selector.matchLabels, [TEMPLATE_HASH]: this.hash } },
          template: { ...spec.template, metadata: { ...spec.template.metadata, labels } },
        },
      },
      { fieldValidation: 'Ignore' },
    );
    return object as ReplicaSet;
  }
}
