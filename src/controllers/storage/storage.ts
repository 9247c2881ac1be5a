/** Persistent volumes: the class `standard` and the controllers of claims and volumes. */
import { resourceOfKind } from '../../api/resources.ts';
import type { Cluster } from '../cluster.ts';
import { DEFAULT_CLASS } from './admission.ts';
import { PROVISIONER, VolumeBinder } from './binder.ts';
import { ClaimUsers } from './claim-users.ts';
import { VolumeDirectories } from './directories.ts';
import { PodVolumes } from './pod-volumes.ts';

const STANDARD = 'standard';

/**
 * @param directory parent of the directories of class `standard`; undefined: there is no such class
 * @returns the interface for the scheduler
 */
export function startStorage(cluster: Cluster, directory: string | undefined): PodVolumes {
  const users = new ClaimUsers(cluster.store);
  if (directory !== undefined) makeStandardClass(cluster);
  const directories = directory === undefined ? undefined : new VolumeDirectories(directory, cluster.log);
  new VolumeBinder(cluster, users, directories);
  return new PodVolumes(cluster, users);
}

/** Creates the class when the controller starts, unless it exists; changes by users are kept. */
function makeStandardClass({ store, registry }: Cluster): void {
  if (store.get('StorageClass', undefined, STANDARD) !== undefined) return;
  registry.create(resourceOfKind('StorageClass')!, undefined, {
    apiVersion: 'storage.k8s.io/v1',
    kind: 'StorageClass',
    metadata: { name: STANDARD, annotations: { [DEFAULT_CLASS]: 'true' } },
    provisioner: PROVISIONER,
    reclaimPolicy: 'Delete',
    volumeBindingMode: 'WaitForFirstConsumer',
    allowVolumeExpansion: true,
  });
}
