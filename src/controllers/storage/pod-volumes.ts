/**
 * Where a pod can run because of its claims (scheduler/framework/plugins/volumebinding, volumerestrictions): claims
 * must be bound first, except those with WaitForFirstConsumer, which are bound when the pod's node is known.
 */
import { isActive } from '../../api/pod-phase.ts';
import type { NodeObject, PersistentVolumeClaim, Pod } from '../../api/types/objects.ts';
import type { Cluster } from '../cluster.ts';
import { isBound, NO_PROVISIONER, VolumeAnnotation } from './binder.ts';
import { type ClaimUsers, claimsOf } from './claim-users.ts';
import { bestVolume, classOf, reaches } from './matching.ts';

export class PodVolumes {
  private readonly cluster: Cluster;
  private readonly users: ClaimUsers;

  constructor(cluster: Cluster, users: ClaimUsers) {
    this.cluster = cluster;
    this.users = users;
  }

  /**
   * Why the pod cannot run on any node at present, with the scheduler's text; undefined if its claims do not prevent
   * it.
   */
  obstacle(pod: Pod): string | undefined {
    for (const name of claimsOf(pod)) {
      const claim = this.claim(pod, name);
      if (claim === undefined) return `persistentvolumeclaim "${name}" not found`;
      if (claim.metadata.deletionTimestamp !== undefined) return `persistentvolumeclaim "${name}" is being deleted`;
      if (claim.status?.phase === 'Lost') {
        return `persistentvolumeclaim "${name}" bound to non-existent persistentvolume "${claim.spec.volumeName}"`;
      }
      if (!isBound(claim) && !this.waitsForPod(claim)) return 'pod has unbound immediate PersistentVolumeClaims';
      if (this.isTaken(pod, claim)) {
        return 'node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode';
      }
    }
    return undefined;
  }

  /** Why the pod's volumes are not available on this node; undefined if they are. */
  whyNotOn(node: NodeObject, pod: Pod): string | undefined {
    const { store } = this.cluster;
    for (const name of claimsOf(pod)) {
      const claim = this.claim(pod, name);
      if (claim === undefined) continue;
      if (isBound(claim)) {
        const volume = store.get('PersistentVolume', undefined, claim.spec.volumeName ?? '');
        if (volume !== undefined && !reaches(volume, node)) return "didn't match PersistentVolume's node affinity";
      } else {
        const found = bestVolume(store.list('PersistentVolume'), claim, node);
        const known = store.get('StorageClass', undefined, classOf(claim));
        const made = known !== undefined && known.provisioner !== NO_PROVISIONER;
        if (found === undefined && !made) return "didn't find available persistent volumes to bind";
      }
    }
    return undefined;
  }

  /** True if every claim is bound; otherwise sets the node of claims that wait for the pod, which are bound next. */
  ready(pod: Pod, node: NodeObject): boolean {
    let all = true;
    for (const name of claimsOf(pod)) {
      const claim = this.claim(pod, name);
      if (claim === undefined || isBound(claim)) continue;
      all = false;
      if (!this.waitsForPod(claim)) continue;
      const annotations = { ...claim.metadata.annotations, [VolumeAnnotation.SELECTED_NODE]: node.metadata.name };
      this.cluster.registry.write({ ...claim, metadata: { ...claim.metadata, annotations } }, claim);
    }
    return all;
  }

  private claim({ metadata }: Pod, name: string): PersistentVolumeClaim | undefined {
    return this.cluster.store.get('PersistentVolumeClaim', metadata.namespace, name);
  }

  private waitsForPod(claim: PersistentVolumeClaim): boolean {
    const known = this.cluster.store.get('StorageClass', undefined, classOf(claim));
    return known?.volumeBindingMode === 'WaitForFirstConsumer' && !claim.spec.volumeName;
  }

  /** ReadWriteOncePod: only one pod in the cluster may use the claim. */
  private isTaken(pod: Pod, { metadata, spec }: PersistentVolumeClaim): boolean {
    if (!spec.accessModes?.includes('ReadWriteOncePod')) return false;
    const users = this.users.of(`${metadata.namespace}/${metadata.name}`);
    return users.some((other) => other.metadata.uid !== pod.metadata.uid && other.spec.nodeName && isActive(other));
  }
}
