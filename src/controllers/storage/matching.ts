/**
 * Which volume serves which claim (pkg/controller/volume/persistentvolume/index.go, component-helpers/storage/volume).
 */
import { Quantity } from '../../api/quantity.ts';
import { matchesSelector } from '../../api/selectors.ts';
import type { NodeObject, NodeSelectorTerm, PersistentVolume, PersistentVolumeClaim } from '../../api/types/objects.ts';
import { termsFit } from '../pods/node-affinity.ts';

const storageOf = (list: Readonly<Record<string, string | number>> | undefined): Quantity =>
  Quantity.from(list?.storage);

export const requestOf = ({ spec }: PersistentVolumeClaim): Quantity => storageOf(spec.resources?.requests);
export const capacityOf = ({ spec }: PersistentVolume): Quantity => storageOf(spec.capacity);

export const classOf = ({ spec }: PersistentVolumeClaim | PersistentVolume): string => spec.storageClassName ?? '';

/** Is the volume reserved for this claim? A claimRef without uid is compared by name only. */
export function isMeantFor({ spec }: PersistentVolume, { metadata }: PersistentVolumeClaim): boolean {
  const { claimRef } = spec;
  if (claimRef === undefined || claimRef.name !== metadata.name || claimRef.namespace !== metadata.namespace)
    return false;
  return !claimRef.uid || claimRef.uid === metadata.uid;
}

/** Why the volume cannot be bound to the claim that names it; undefined if it can. */
export function mismatch(volume: PersistentVolume, claim: PersistentVolumeClaim): string | undefined {
  if (requestOf(claim).exceeds(capacityOf(volume))) return 'requested PV is too small';
  if (classOf(volume) !== classOf(claim)) return 'storageClassName does not match';
  if (modeOf(volume) !== modeOf(claim)) return 'incompatible volumeMode';
  if (!offersModes(volume, claim)) return 'incompatible accessMode';
  return undefined;
}

const modeOf = ({ spec }: PersistentVolume | PersistentVolumeClaim) => spec.volumeMode ?? 'Filesystem';

const offersModes = (volume: PersistentVolume, claim: PersistentVolumeClaim) =>
  (claim.spec.accessModes ?? []).every((mode) => volume.spec.accessModes?.includes(mode));

/** Does the volume exist on this node? */
export function reaches({ spec }: PersistentVolume, node: NodeObject): boolean {
  const terms = spec.nodeAffinity?.required?.nodeSelectorTerms as NodeSelectorTerm[] | undefined;
  return terms === undefined || termsFit(terms, node);
}

/**
 * The volume to bind a claim to: one that is reserved for it, or else the smallest available one that is large enough.
 * @param node where the first pod is to run, for classes that wait for it
 */
export function bestVolume(
  volumes: readonly PersistentVolume[],
  claim: PersistentVolumeClaim,
  node?: NodeObject,
): PersistentVolume | undefined {
  let best: PersistentVolume | undefined;
  for (const volume of volumes) {
    const { spec, metadata, status } = volume;
    if (spec.claimRef !== undefined && !isMeantFor(volume, claim)) continue;
    if (mismatch(volume, claim) !== undefined || metadata.deletionTimestamp !== undefined) continue;
    if (node !== undefined && !reaches(volume, node)) continue;
    if (spec.claimRef !== undefined) return volume;
    if (status?.phase !== 'Available') continue;
    if (claim.spec.selector && !matchesSelector(claim.spec.selector, metadata.labels ?? {})) continue;
    if (best === undefined || capacityOf(best).exceeds(capacityOf(volume))) best = volume;
  }
  return best;
}
