/** The API server's defaults for claims, volumes and classes (pkg/apis/core/v1/defaults.go, pkg/apis/storage/v1). */
import type { PersistentVolume, PersistentVolumeClaim, StorageClass } from '../types/objects.ts';

export function claimDefaults(claim: PersistentVolumeClaim): PersistentVolumeClaim {
  return {
    ...claim,
    spec: { volumeMode: 'Filesystem', ...claim.spec },
    status: { phase: 'Pending', ...claim.status },
  };
}

export function volumeDefaults(volume: PersistentVolume): PersistentVolume {
  const { hostPath } = volume.spec;
  return {
    ...volume,
    spec: {
      persistentVolumeReclaimPolicy: 'Retain',
      volumeMode: 'Filesystem',
      ...volume.spec,
      ...(hostPath && { hostPath: { type: '', ...hostPath } }),
    },
    status: { phase: 'Pending', ...volume.status },
  };
}

export const classDefaults = (given: StorageClass): StorageClass => ({
  reclaimPolicy: 'Delete',
  volumeBindingMode: 'Immediate',
  ...given,
});
