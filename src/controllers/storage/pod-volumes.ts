/**
 * What a pod's claims mean for where it may run (scheduler/framework/plugins/volumebinding, volumerestrictions): claims
 * have to be bound first, except those whose class waits for the pod; these are bound when its node is known.
 */
import type { NodeObject, PersistentVolumeClaim, Pod } from '../../api/types/objects.ts';
import type { Cluster } from '../cluster.ts';
import { isActive } from '../workloads/pod-control.ts';
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

  /** Why the pod can run nowhere at present, in the scheduler's words; undefined: its claims do not stand against it. */
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

  /** Why the pod's volumes cannot be had on this node; undefined: they can. */
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

  /** True when every claim is bound; else the claims that wait for the pod are told its node, and bound next. */
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

  /** One pod at a time in the whole cluster. */
  private isTaken(pod: Pod, { metadata, spec }: PersistentVolumeClaim): boolean {
    if (!spec.accessModes?.includes('ReadWriteOncePod')) return false;
    const users = this.users.of(`${metadata.namespace}/${metadata.name}`);
    return users.some((other) => other.metadata.uid !== pod.metadata.uid && other.spec.nodeName && isActive(other));
  }
}
