/**
 * Pods with stable names: `web-0`, `web-1`, … A pod is created when all lower ones are ready, deleted after all higher
 * ones, and updated from the highest to the lowest (pkg/controller/statefulset/stateful_set_control.go).
 */
import { ApiError } from '../../api/errors.ts';
import { isEnded } from '../../api/pod-phase.ts';
import { isReady } from '../../api/ready.ts';
import { resourceOfKind } from '../../api/resources.ts';
import type { Pod, PodTemplate, StatefulSet, Volume } from '../../api/types/objects.ts';
import type { Cluster } from '../cluster.ts';
import { splitKey } from '../work-queue.ts';
import { Owned } from './owners.ts';
import { availableIn, createPod, deletePod, withoutZeros } from './pod-control.ts';
import { hashOf, REVISION_HASH, Revisions } from './revisions.ts';

const CLAIMS = resourceOfKind('PersistentVolumeClaim')!;
const POD_NAME = 'statefulset.kubernetes.io/pod-name';
const POD_INDEX = 'apps.kubernetes.io/pod-index';

export function startStatefulSetController(cluster: Cluster): void {
  const { store } = cluster;
  const owned = new Owned(store, 'Pod', 'StatefulSet');
  const revisions = new Revisions(cluster, 'StatefulSet');
  const queue = cluster.queue('stateful-sets', (key) => {
    const set = store.get('StatefulSet', ...splitKey(key));
    if (set === undefined || set.metadata.deletionTimestamp !== undefined) return;
    const pods = owned.claim(cluster, set, set.spec.selector);
    const nextMs = new Replicas(cluster, revisions, set, pods).reconcile();
    if (nextMs !== undefined) queue.addAfter(key, nextMs);
  });
  owned.queueOwners(queue, ({ spec }) => spec.selector);
}

class Replicas {
  private readonly cluster: Cluster;
  private readonly revisions: Revisions<'StatefulSet'>;
  private readonly set: StatefulSet;
  /** By ordinal. */
  private readonly pods = new Map<number, Pod>();
  private readonly inOrder: boolean;
  private readonly first: number;
  private readonly end: number;
  private nextMs: number | undefined;

  constructor(cluster: Cluster, revisions: Revisions<'StatefulSet'>, set: StatefulSet, pods: readonly Pod[]) {
    this.cluster = cluster;
    this.revisions = revisions;
    this.set = set;
    for (const pod of pods) {
      const ordinal = ordinalOf(set, pod);
      if (ordinal !== undefined) this.pods.set(ordinal, pod);
    }
    this.inOrder = set.spec.podManagementPolicy !== 'Parallel';
    this.first = set.spec.ordinals?.start ?? 0;
    this.end = this.first + (set.spec.replicas ?? 1);
  }

  /** @returns milliseconds until the next pod becomes available, if any */
  reconcile(): number | undefined {
    const { set } = this;
    const newest = this.revisions.ensure(set);
    const update = newest.metadata.name;
    const current = set.status?.currentRevision || update;
    const updateHash = hashOf(newest);
    const currentHash = this.hashOfRevision(current) ?? updateHash;
    let failure: ApiError | undefined;
    try {
      this.keepClaimOwners();
      if (this.keepReplicas(current, update) && this.deleteSurplus()) this.roll(updateHash);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      failure = error;
    }
    this.writeStatus({ current, update, currentHash, updateHash });
    const inUse = new Set([updateHash, currentHash, ...[...this.pods.values()].map(revisionOf)]);
    this.revisions.forget(set, inUse);
    if (failure !== undefined) throw failure;
    return this.nextMs;
  }

  /** @returns false while it must wait for one of them */
  private keepReplicas(current: string, update: string): boolean {
    for (let ordinal = this.first; ordinal < this.end; ordinal++) {
      const pod = this.pods.get(ordinal);
      if (pod !== undefined && isEnded(pod) && !isEnding(pod)) {
        deletePod(this.cluster, this.set, pod);
        if (this.inOrder) return false;
      } else if (pod === undefined) {
        this.create(ordinal, current, update);
        if (this.inOrder) return false;
      } else if (this.inOrder && !this.isHealthy(pod)) return false;
    }
    return true;
  }

  /** Deletes pods beyond spec.replicas, the highest first. @returns false while one of them still exists */
  private deleteSurplus(): boolean {
    const surplus = [...this.pods.keys()].filter((n) => n < this.first || n >= this.end).sort((a, b) => b - a);
    for (const ordinal of surplus) {
      const pod = this.pods.get(ordinal)!;
      if (!isEnding(pod)) deletePod(this.cluster, this.set, pod);
      if (this.inOrder) return false;
    }
    return surplus.length === 0 || !this.inOrder;
  }

  /** Replaces pods of older templates, from the highest down to the partition, one after the other. */
  private roll(updateHash: string): void {
    const { type, rollingUpdate } = this.set.spec.updateStrategy ?? {};
    if (type === 'OnDelete') return;
    const lowest = Math.max(this.first, rollingUpdate?.partition ?? 0);
    for (let ordinal = this.end - 1; ordinal >= lowest; ordinal--) {
      const pod = this.pods.get(ordinal);
      if (pod === undefined) continue;
      if (revisionOf(pod) !== updateHash && !isEnding(pod)) {
        deletePod(this.cluster, this.set, pod);
        return;
      }
      if (!this.isHealthy(pod)) return;
    }
  }

  private isHealthy(pod: Pod): boolean {
    if (isEnding(pod) || isEnded(pod)) return false;
    const ms = availableIn(pod, this.set.spec.minReadySeconds);
    if (ms !== undefined && ms > 0) this.nextMs = Math.min(this.nextMs ?? ms, ms + 10);
    return ms === 0;
  }

  private create(ordinal: number, current: string, update: string): void {
    const { set, cluster } = this;
    // Below the partition, a lost pod is recreated from its old template.
    const partition = set.spec.updateStrategy?.rollingUpdate?.partition ?? 0;
    const old = current !== update && (ordinal < partition || set.spec.updateStrategy?.type === 'OnDelete');
    const template = (old ? this.revisions.templateOf(set, current) : undefined) ?? set.spec.template;
    const name = `${set.metadata.name}-${ordinal}`;
    this.makeClaims(name);
    const pod = createPod(cluster, set, template, {
      name,
      labels: {
        [REVISION_HASH]: this.hashOfRevision(old ? current : update) ?? '',
        [POD_NAME]: name,
        [POD_INDEX]: String(ordinal),
      },
      spec: {
        hostname: name,
        ...(set.spec.serviceName && { subdomain: set.spec.serviceName }),
        ...this.volumes(name, template),
      },
    });
    this.pods.set(ordinal, pod);
  }

  private volumes(pod: string, { spec }: PodTemplate): { volumes?: Volume[] } {
    const claims = this.set.spec.volumeClaimTemplates ?? [];
    if (claims.length === 0) return {};
    const own = claims.map(({ metadata }) => ({
      name: metadata.name!,
      persistentVolumeClaim: { claimName: `${metadata.name}-${pod}` },
    }));
    const names = new Set(own.map(({ name }) => name));
    return { volumes: [...own, ...(spec.volumes ?? []).filter(({ name }) => !names.has(name))] };
  }

  /** Creates the pod's claims. They outlive the pod: the next one with its name uses them again. */
  private makeClaims(pod: string): void {
    const { store, registry } = this.cluster;
    const { namespace } = this.set.metadata;
    for (const { metadata, spec } of this.set.spec.volumeClaimTemplates ?? []) {
      const name = `${metadata.name}-${pod}`;
      if (store.get('PersistentVolumeClaim', namespace, name) !== undefined) continue;
      const labels = { ...this.set.spec.selector.matchLabels, ...metadata.labels };
      const claim = {
        apiVersion: 'v1',
        kind: 'PersistentVolumeClaim',
        metadata: { ...metadata, name, namespace, labels },
        spec,
      };
      registry.create(CLAIMS, namespace, claim, { fieldValidation: 'Ignore' });
    }
  }

  /**
   * Whose end is the end of the claims (stateful_set_utils.go, updateClaimOwnerRefForSetAndPod): the set's, with
   * `whenDeleted: Delete`; that of a pod beyond the wanted number, with `whenScaled: Delete`; nobody's otherwise.
   */
  private keepClaimOwners(): void {
    const { store, registry } = this.cluster;
    const { metadata, spec } = this.set;
    const { whenDeleted, whenScaled } = spec.persistentVolumeClaimRetentionPolicy ?? {};
    if (!spec.volumeClaimTemplates?.length) return;
    for (const [ordinal, pod] of this.pods) {
      const surplus = ordinal < this.first || ordinal >= this.end;
      const owner = surplus && whenScaled === 'Delete' ? pod : whenDeleted === 'Delete' ? this.set : undefined;
      for (const template of spec.volumeClaimTemplates) {
        const name = `${template.metadata.name}-${pod.metadata.name}`;
        const claim = store.get('PersistentVolumeClaim', metadata.namespace, name);
        if (claim === undefined) continue;
        const { ownerReferences = [], ...rest } = claim.metadata;
        const others = ownerReferences.filter(({ uid }) => uid !== metadata.uid && uid !== pod.metadata.uid);
        const owners = owner === undefined ? others : [...others, referenceTo(owner)];
        const next = { ...rest, ...(owners.length > 0 && { ownerReferences: owners }) };
        registry.write({ ...claim, metadata: next }, claim);
      }
    }
  }

  private hashOfRevision(name: string): string | undefined {
    const found = this.cluster.store.get('ControllerRevision', this.set.metadata.namespace, name);
    return found && hashOf(found);
  }

  private writeStatus(r: { current: string; update: string; currentHash: string; updateHash: string }): void {
    const { store, registry } = this.cluster;
    const { namespace, name } = this.set.metadata;
    const now = store.get('StatefulSet', namespace, name);
    if (now === undefined) return;
    const present = [...this.pods.values()]
      .map((pod) => store.get('Pod', namespace, pod.metadata.name))
      .filter((pod) => pod !== undefined && !isEnded(pod)) as Pod[];
    const ready = present.filter((pod) => isReady(pod) && !isEnding(pod));
    const updated = present.filter((pod) => revisionOf(pod) === r.updateHash && !isEnding(pod));
    const wanted = now.spec.replicas ?? 1;
    const partition = now.spec.updateStrategy?.rollingUpdate?.partition ?? 0;
    const rolled = now.spec.updateStrategy?.type !== 'OnDelete' && partition <= this.first;
    const complete = rolled && updated.length === wanted && ready.length === wanted && present.length === wanted;
    const currentRevision = complete ? r.update : r.current;
    const currentHash = complete ? r.updateHash : r.currentHash;
    const status = {
      replicas: present.length,
      ...withoutZeros({
        readyReplicas: ready.length,
        currentReplicas: present.filter((pod) => revisionOf(pod) === currentHash && !isEnding(pod)).length,
        updatedReplicas: updated.length,
      }),
      availableReplicas: ready.filter((pod) => availableIn(pod, now.spec.minReadySeconds) === 0).length,
      currentRevision,
      updateRevision: r.update,
      observedGeneration: now.metadata.generation,
      collisionCount: 0,
    };
    registry.write({ ...now, status }, now);
  }
}

/** An owner that does not control: it takes its dependents with it, and nothing more. */
const referenceTo = ({ apiVersion, kind, metadata: { name, uid } }: Pod | StatefulSet) => ({
  apiVersion,
  kind,
  name,
  uid,
});

const isEnding = (pod: Pod): boolean => pod.metadata.deletionTimestamp !== undefined;
const revisionOf = (pod: Pod): string => pod.metadata.labels?.[REVISION_HASH] ?? '';

/** The ordinal in a pod's name; undefined if the name is not one of this set's. */
function ordinalOf(set: StatefulSet, { metadata }: Pod): number | undefined {
  const match = /^(.*)-(\d+)$/.exec(metadata.name);
  return match?.[1] === set.metadata.name ? Number(match[2]) : undefined;
}
