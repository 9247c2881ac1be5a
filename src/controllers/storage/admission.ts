/**
 * Admission of claims and volumes: the default class, protection from removal while in use, and expansion only if the
 * class allows it (plugin/pkg/admission/storage).
 */
import { forbidden } from '../../api/errors.ts';
import { resourceOfKind } from '../../api/resources.ts';
import type { Admission } from '../../api/store/registry.ts';
import type { Store } from '../../api/store/store.ts';
import type { KubeObject, PersistentVolume, PersistentVolumeClaim, StorageClass } from '../../api/types/objects.ts';
import { checkClaimLimits } from '../limits/limit-ranges.ts';
import { CLAIM_PROTECTION, VOLUME_PROTECTION } from './binder.ts';
import { requestOf } from './matching.ts';

export const DEFAULT_CLASS = 'storageclass.kubernetes.io/is-default-class';

/** If there are several default classes, the newest is used, as in Kubernetes since 1.26. */
function defaultClass(store: Store): string | undefined {
  let newest: StorageClass | undefined;
  for (const each of store.list('StorageClass')) {
    if (each.metadata.annotations?.[DEFAULT_CLASS] !== 'true') continue;
    if (newest === undefined || each.metadata.creationTimestamp > newest.metadata.creationTimestamp) newest = each;
  }
  return newest?.metadata.name;
}

export const claimAdmission = (store: Store): Admission<PersistentVolumeClaim> => ({
  prepare(claim, old) {
    if (old !== undefined) return claim;
    const storageClassName = claim.spec.storageClassName ?? defaultClass(store);
    const spec = { ...claim.spec, ...(storageClassName !== undefined && { storageClassName }) };
    return { ...withFinalizer(claim, CLAIM_PROTECTION), spec };
  },
  admit(claim, old, subresource) {
    if (subresource !== undefined) return claim;
    if (old === undefined) return checkClaimLimits(store, claim);
    if (!requestOf(claim).exceeds(requestOf(old))) return claim;
    const { storageClassName } = old.spec;
    const known = storageClassName ? store.get('StorageClass', undefined, storageClassName) : undefined;
    if (known?.allowVolumeExpansion !== true) {
      const why =
        'only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize';
      throw forbidden(resourceOfKind('PersistentVolumeClaim')!, claim.metadata.name, why);
    }
    return checkClaimLimits(store, claim);
  },
});

export const volumeAdmission: Admission<PersistentVolume> = {
  prepare: (volume, old) => (old === undefined ? withFinalizer(volume, VOLUME_PROTECTION) : volume),
};

function withFinalizer<T extends KubeObject>(object: T, finalizer: string): T {
  const finalizers = object.metadata.finalizers ?? [];
  if (finalizers.includes(finalizer)) return object;
  return { ...object, metadata: { ...object.metadata, finalizers: [...finalizers, finalizer] } };
}
