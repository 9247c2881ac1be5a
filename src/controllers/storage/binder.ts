/**
 * Binds claims and volumes, as Kubernetes' volume controller (pkg/controller/volume/persistentvolume): a claim gets the
 * volume that it names, or the best available one, or a new one if its class is provisioned here. When its claim is
 * gone, a volume is retained or deleted by its reclaim policy. A class can wait for the first consumer.
 *
 * The volume's `claimRef` is authoritative; it is written first, the claim's `volumeName` second.
 */
import { isEnded } from '../../api/pod-phase.ts';
import { resourceOfKind } from '../../api/resources.ts';
import { nowText } from '../../api/store/store.ts';
import type { PersistentVolume, PersistentVolumeClaim, StorageClass } from '../../api/types/objects.ts';
import type { Cluster } from '../cluster.ts';
import { keyOf, splitKey, type WorkQueue } from '../work-queue.ts';
import type { ClaimUsers } from './claim-users.ts';
import type { VolumeDirectories } from './directories.ts';
import { bestVolume, capacityOf, classOf, isMeantFor, mismatch, requestOf } from './matching.ts';

const CLAIMS = resourceOfKind('PersistentVolumeClaim')!;
const VOLUMES = resourceOfKind('PersistentVolume')!;

/** The provisioner of class `standard`: a directory on this machine. */
export const PROVISIONER = 'dataplane.dev/directory';

export const VolumeAnnotation = {
  BOUND: 'pv.kubernetes.io/bind-completed',
  BY_CONTROLLER: 'pv.kubernetes.io/bound-by-controller',
  PROVISIONED_BY: 'pv.kubernetes.io/provisioned-by',
  PROVISIONER: 'volume.kubernetes.io/storage-provisioner',
  SELECTED_NODE: 'volume.kubernetes.io/selected-node',
} as const;

type Phase = NonNullable<NonNullable<PersistentVolume['status']>['phase']>;

/** Ends of what a claim or a volume was bound to. */
interface Outcome {
  type: 'Normal' | 'Warning';
  reason: string;
  message: string;
}

export class VolumeBinder {
  private readonly cluster: Cluster;
  private readonly users: ClaimUsers;
  private readonly directories: VolumeDirectories | undefined;
  private readonly claims: WorkQueue;
  private readonly volumes: WorkQueue;

  /** @param directories where volumes of the class `standard` are made; undefined: none are */
  constructor(cluster: Cluster, users: ClaimUsers, directories: VolumeDirectories | undefined) {
    this.cluster = cluster;
    this.users = users;
    this.directories = directories;
    this.claims = cluster.queue('claims', (key) => this.syncClaim(key));
    this.volumes = cluster.queue('volumes', (key) => this.syncVolume(splitKey(key)[1]));
    this.follow();
  }

  private follow(): void {
    const { store } = this.cluster;
    const pending = () => {
      for (const claim of store.list('PersistentVolumeClaim')) if (!isBound(claim)) this.claims.add(keyOf(claim));
    };
    for (const claim of store.list('PersistentVolumeClaim')) this.claims.add(keyOf(claim));
    for (const volume of store.list('PersistentVolume')) this.volumes.add(keyOf(volume));
    store.onCommit('PersistentVolumeClaim', ({ object }) => {
      this.claims.add(keyOf(object));
      if (object.spec.volumeName) this.volumes.add(`/${object.spec.volumeName}`);
    });
    store.onCommit('PersistentVolume', ({ type, object, old }) => {
      this.volumes.add(keyOf(object));
      const { claimRef } = object.spec;
      if (claimRef !== undefined) this.claims.add(`${claimRef.namespace}/${claimRef.name}`);
      // Claims may be waiting for a volume that has become available.
      else if (type !== 'DELETED' && old?.status?.phase !== object.status?.phase) pending();
    });
    store.onCommit('StorageClass', pending);
    store.onCommit('Pod', ({ type, object, old }) => {
      if (object.spec.volumes === undefined || (type === 'MODIFIED' && old?.status?.phase === object.status?.phase))
        return;
      for (const { persistentVolumeClaim } of object.spec.volumes) {
        if (persistentVolumeClaim) this.claims.add(`${object.metadata.namespace}/${persistentVolumeClaim.claimName}`);
      }
    });
  }

  // ---------------------------------------------------------------------------------------------------------- claims

  private syncClaim(key: string): void {
    const claim = this.claim(key);
    if (claim === undefined || this.letGo(claim)) return;
    const completed = claim.metadata.annotations?.[VolumeAnnotation.BOUND] !== undefined;
    if (completed) this.syncBound(claim);
    else if (claim.spec.volumeName) this.bindNamed(claim, claim.spec.volumeName);
    else if (claim.metadata.deletionTimestamp === undefined) this.find(claim);
  }

  /** Removes a deleted claim when no pod uses it any more (pkg/controller/volume/pvcprotection). */
  private letGo(claim: PersistentVolumeClaim): boolean {
    const { deletionTimestamp, finalizers = [] } = claim.metadata;
    if (deletionTimestamp === undefined || !finalizers.includes(CLAIM_PROTECTION)) return false;
    const used = this.users.of(keyOf(claim)).some((pod) => pod.spec.nodeName && !isEnded(pod));
    if (!used) this.cluster.registry.write(withoutFinalizer(claim, CLAIM_PROTECTION), claim);
    return !used;
  }

  private syncBound(claim: PersistentVolumeClaim): void {
    const volume = this.volume(claim.spec.volumeName);
    const lost = (reason: string, message: string) => this.lose(claim, { type: 'Warning', reason, message });
    if (!claim.spec.volumeName)
      lost('ClaimLost', 'Bound claim has lost reference to PersistentVolume. Data on the volume is lost!');
    else if (volume === undefined)
      lost('ClaimLost', 'Bound claim has lost its PersistentVolume. Data on the volume is lost!');
    else if (volume.spec.claimRef !== undefined && volume.spec.claimRef.uid !== claim.metadata.uid) {
      lost('ClaimMisbound', 'Two claims are bound to the same volume, this one is bound incorrectly');
    } else this.bind(this.grown(volume, claim), claim);
  }

  /** A directory is as large as its claim says. Whether the class lets a claim grow was checked when it did. */
  private grown(volume: PersistentVolume, claim: PersistentVolumeClaim): PersistentVolume {
    if (!requestOf(claim).exceeds(capacityOf(volume)) || !this.isOurs(volume)) return volume;
    const capacity = { ...volume.spec.capacity, storage: String(requestOf(claim)) };
    return this.cluster.registry.write({ ...volume, spec: { ...volume.spec, capacity } }, volume);
  }

  private bindNamed(claim: PersistentVolumeClaim, name: string): void {
    const volume = this.volume(name);
    if (volume === undefined) return;
    if (volume.spec.claimRef !== undefined && !isMeantFor(volume, claim)) {
      this.event(claim, 'Warning', 'FailedBinding', `volume "${name}" already bound to a different claim.`);
      return;
    }
    const why = mismatch(volume, claim);
    if (why === undefined) this.bind(volume, claim);
    else this.event(claim, 'Warning', 'VolumeMismatch', `Cannot bind to requested volume "${name}": ${why}`);
  }

  private find(claim: PersistentVolumeClaim): void {
    const { store } = this.cluster;
    const volumes = store.list('PersistentVolume');
    const className = classOf(claim);
    const known = className === '' ? undefined : store.get('StorageClass', undefined, className);
    const selected = claim.metadata.annotations?.[VolumeAnnotation.SELECTED_NODE];
    const waits = known?.volumeBindingMode === 'WaitForFirstConsumer' && selected === undefined;
    const node = selected === undefined ? undefined : store.get('Node', undefined, selected);
    const candidates = waits ? volumes.filter((volume) => isMeantFor(volume, claim)) : volumes;
    const found = bestVolume(candidates, claim, node);
    if (found !== undefined) this.bind(found, claim);
    else if (waits) this.event(claim, 'Normal', ...this.waitsFor(claim));
    else if (className === '') {
      const message = 'no persistent volumes available for this claim and no storage class is set';
      this.event(claim, 'Normal', 'FailedBinding', message);
    } else if (known === undefined) {
      const message = `storageclass.storage.k8s.io "${className}" not found`;
      this.event(claim, 'Warning', 'ProvisioningFailed', message);
    } else this.provision(claim, known);
  }

  private waitsFor(claim: PersistentVolumeClaim): [reason: string, message: string] {
    const pod = this.users.of(keyOf(claim)).find(({ spec }) => !spec.nodeName);
    if (pod !== undefined) return ['WaitForPodScheduled', `waiting for pod ${pod.metadata.name} to be scheduled`];
    return ['WaitForFirstConsumer', 'waiting for first consumer to be created before binding'];
  }

  private provision(given: PersistentVolumeClaim, storageClass: StorageClass): void {
    const { provisioner, metadata } = storageClass;
    if (provisioner === NO_PROVISIONER) {
      const message = 'no persistent volumes available for this claim and its storage class has no provisioner';
      this.event(given, 'Normal', 'FailedBinding', message);
      return;
    }
    const claim = this.annotated(given, { [VolumeAnnotation.PROVISIONER]: provisioner });
    const refused = cannotProvision(claim);
    if (provisioner !== PROVISIONER || this.directories === undefined) {
      const message = `Waiting for a volume to be created either by the external provisioner '${provisioner}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.`;
      this.event(claim, 'Normal', 'ExternalProvisioning', message);
    } else if (refused !== undefined) {
      const message = `failed to provision volume with StorageClass "${metadata.name}": ${refused}`;
      this.event(claim, 'Warning', 'ProvisioningFailed', message);
    } else this.make(claim, storageClass, this.directories);
  }

  private make(claim: PersistentVolumeClaim, storageClass: StorageClass, directories: VolumeDirectories): void {
    const { namespace, name: claimName, uid } = claim.metadata;
    const name = `pvc-${uid}`;
    const volume = {
      apiVersion: 'v1',
      kind: 'PersistentVolume',
      metadata: { name, annotations: { [VolumeAnnotation.PROVISIONED_BY]: PROVISIONER } },
      spec: {
        capacity: { storage: claim.spec.resources!.requests!.storage },
        accessModes: claim.spec.accessModes,
        persistentVolumeReclaimPolicy: storageClass.reclaimPolicy,
        storageClassName: storageClass.metadata.name,
        volumeMode: 'Filesystem',
        hostPath: { path: directories.make(name), type: 'Directory' },
        claimRef: { apiVersion: 'v1', kind: CLAIMS.kind, namespace, name: claimName, uid },
      },
    };
    const { object } = this.cluster.registry.create(VOLUMES, undefined, volume);
    this.event(claim, 'Normal', 'ProvisioningSucceeded', `Successfully provisioned volume ${name}`);
    this.bind(object as PersistentVolume, claim);
  }

  /** Writes both objects, in an order in which a crash in between does no harm. */
  private bind(volume: PersistentVolume, claim: PersistentVolumeClaim): void {
    const { registry } = this.cluster;
    const { namespace, name, uid, resourceVersion } = claim.metadata;
    let bound = volume;
    if (volume.spec.claimRef?.uid !== uid) {
      const claimRef = { apiVersion: 'v1', kind: CLAIMS.kind, namespace, name, uid, resourceVersion };
      const byUs: Record<string, string> = volume.spec.claimRef ? {} : { [VolumeAnnotation.BY_CONTROLLER]: 'yes' };
      const annotated = this.annotated(volume, byUs);
      bound = registry.write({ ...annotated, spec: { ...annotated.spec, claimRef } } as PersistentVolume, annotated);
    }
    this.setPhase(bound, 'Bound');
    const { metadata, spec } = claim;
    const annotations = {
      ...metadata.annotations,
      [VolumeAnnotation.BOUND]: 'yes',
      ...(!spec.volumeName && { [VolumeAnnotation.BY_CONTROLLER]: 'yes' }),
    };
    const { accessModes, capacity } = bound.spec;
    const status = {
      ...claim.status,
      phase: 'Bound' as const,
      accessModes: accessModes ?? [],
      capacity: capacity ?? {},
    };
    const volumeName = bound.metadata.name;
    registry.write({ ...claim, metadata: { ...metadata, annotations }, spec: { ...spec, volumeName }, status }, claim);
  }

  private lose(claim: PersistentVolumeClaim, { type, reason, message }: Outcome): void {
    if (claim.status?.phase === 'Lost') return;
    this.cluster.registry.write({ ...claim, status: { phase: 'Lost' } }, claim);
    this.event(claim, type, reason, message);
  }

  // --------------------------------------------------------------------------------------------------------- volumes

  private syncVolume(name: string): void {
    const volume = this.volume(name);
    if (volume === undefined) return;
    const { claimRef } = volume.spec;
    const held = claimRef?.uid ? this.claim(`${claimRef.namespace}/${claimRef.name}`) : undefined;
    const claim = held?.metadata.uid === claimRef?.uid ? held : undefined;
    const { phase } = volume.status ?? {};
    if (volume.metadata.deletionTimestamp !== undefined && claim === undefined) this.remove(volume);
    else if (!claimRef?.uid) this.setPhase(volume, 'Available');
    else if (claim !== undefined) {
      if (claim.spec.volumeName === name) this.setPhase(volume, 'Bound');
    } else if (phase !== 'Released' && phase !== 'Failed') this.setPhase(volume, 'Released');
    else this.reclaim(volume);
  }

  private reclaim(volume: PersistentVolume): void {
    const { persistentVolumeReclaimPolicy: policy = 'Retain' } = volume.spec;
    if (policy === 'Retain' || volume.status?.phase === 'Failed') return;
    const { name } = volume.metadata;
    if (policy === 'Delete' && this.isOurs(volume)) {
      this.cluster.registry.delete(VOLUMES, undefined, name);
      return;
    }
    const failure =
      policy === 'Delete'
        ? {
            reason: 'VolumeFailedDelete',
            message: `error getting deleter volume plugin for volume "${name}": no deletable volume plugin matched`,
          }
        : { reason: 'VolumeFailedRecycle', message: 'No recycler plugin found for the volume!' };
    this.setPhase(volume, 'Failed', failure.message);
    this.event(volume, 'Warning', failure.reason, failure.message);
  }

  /** Removes the object first: a directory without a volume does no harm, a volume without its directory does. */
  private remove(volume: PersistentVolume): void {
    this.cluster.registry.write(withoutFinalizer(volume, VOLUME_PROTECTION), volume);
    const { name } = volume.metadata;
    const isDeleted = this.volume(name)?.metadata.uid !== volume.metadata.uid;
    if (isDeleted && this.isOurs(volume) && volume.spec.persistentVolumeReclaimPolicy === 'Delete') {
      this.directories!.remove(name);
    }
  }

  /** Was the volume provisioned here, in its own directory? Nothing else is ever removed. */
  private isOurs({ metadata, spec }: PersistentVolume): boolean {
    if (metadata.annotations?.[VolumeAnnotation.PROVISIONED_BY] !== PROVISIONER) return false;
    return this.directories !== undefined && spec.hostPath?.path === this.directories.pathOf(metadata.name);
  }

  // --------------------------------------------------------------------------------------------------------- the rest

  private claim(key: string): PersistentVolumeClaim | undefined {
    return this.cluster.store.get('PersistentVolumeClaim', ...splitKey(key));
  }

  private volume(name: string | undefined): PersistentVolume | undefined {
    return name === undefined ? undefined : this.cluster.store.get('PersistentVolume', undefined, name);
  }

  private setPhase(volume: PersistentVolume, phase: Phase, message?: string): void {
    if (volume.status?.phase === phase) return;
    const status = { phase, lastPhaseTransitionTime: nowText(), ...(message !== undefined && { message }) };
    this.cluster.registry.write({ ...volume, status }, volume);
  }

  private annotated<T extends PersistentVolume | PersistentVolumeClaim>(object: T, more: Record<string, string>): T {
    if (Object.keys(more).length === 0) return object;
    const annotations = { ...object.metadata.annotations, ...more };
    return this.cluster.registry.write({ ...object, metadata: { ...object.metadata, annotations } }, object);
  }

  private event(
    object: PersistentVolume | PersistentVolumeClaim,
    type: Outcome['type'],
    reason: string,
    message: string,
  ) {
    this.cluster.event(object, type, reason, message);
  }
}

export const CLAIM_PROTECTION = 'kubernetes.io/pvc-protection';
export const VOLUME_PROTECTION = 'kubernetes.io/pv-protection';
export const NO_PROVISIONER = 'kubernetes.io/no-provisioner';

export const isBound = ({ status }: PersistentVolumeClaim): boolean => status?.phase === 'Bound';

/** Why a claim cannot be provisioned as a directory; undefined if it can. */
function cannotProvision({ spec }: PersistentVolumeClaim): string | undefined {
  if (spec.volumeMode === 'Block') return 'a directory is no block device: volumeMode has to be Filesystem';
  if (spec.dataSource ?? spec.dataSourceRef) return 'copies of other volumes are not supported';
  return spec.selector === undefined ? undefined : 'claim.Spec.Selector is not supported';
}

function withoutFinalizer<T extends PersistentVolume | PersistentVolumeClaim>(object: T, finalizer: string): T {
  const { finalizers = [], ...metadata } = object.metadata;
  const left = finalizers.filter((each) => each !== finalizer);
  return { ...object, metadata: { ...metadata, ...(left.length > 0 && { finalizers: left }) } };
}
