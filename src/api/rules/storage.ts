/** Validation of claims, volumes and classes (pkg/apis/core/validation, pkg/apis/storage/validation). */
import { isDeepStrictEqual } from 'node:util';
import type { FieldError } from '../errors.ts';
import { amountsOf, type Quantity } from '../quantity.ts';
import type { PersistentVolume, PersistentVolumeClaim, StorageClass } from '../types/objects.ts';
import { forbidden, IMMUTABLE, invalid, required } from './field-errors.ts';

const ALONE = 'may not use ReadWriteOncePod with other access modes';
const CLAIM_FIXED =
  'spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims';
/** Fields of a volume's spec that are not its source. */
const NO_SOURCE = new Set(
  (
    'capacity accessModes claimRef persistentVolumeReclaimPolicy storageClassName mountOptions volumeMode nodeAffinity ' +
    'volumeAttributesClassName'
  ).split(' '),
);

export function checkClaim({ spec }: PersistentVolumeClaim): FieldError[] {
  const { storage } = amountsOf(spec.resources?.requests);
  return [
    ...checkModes(spec.accessModes, 'spec.accessModes', 'at least 1 access mode is required'),
    ...checkStorage(storage, 'spec.resources[storage]'),
  ];
}

export function checkVolume({ spec }: PersistentVolume): FieldError[] {
  const errors = checkModes(spec.accessModes, 'spec.accessModes', '');
  if (Object.keys(spec.capacity ?? {}).length === 0) errors.push(required('spec.capacity'));
  else errors.push(...checkStorage(amountsOf(spec.capacity).storage, 'spec.capacity[storage]'));
  const sources = Object.keys(spec).filter((key) => !NO_SOURCE.has(key));
  if (sources.length === 0) errors.push(required('spec', 'must specify a volume type'));
  for (const more of sources.slice(1))
    errors.push(forbidden(`spec.${more}`, 'may not specify more than 1 volume type'));
  for (const source of ['hostPath', 'local'] as const) {
    const path = spec[source]?.path;
    if (path?.split('/').includes('..')) errors.push(invalid(`spec.${source}.path`, path, "must not contain '..'"));
  }
  if (spec.local !== undefined && spec.nodeAffinity?.required === undefined) {
    errors.push(required('spec.nodeAffinity', 'Local volume requires node affinity'));
  }
  return errors;
}

function checkModes(modes: readonly string[] | undefined, path: string, why: string): FieldError[] {
  if (!modes?.length) return [required(path, why)];
  return modes.length > 1 && modes.includes('ReadWriteOncePod') ? [forbidden(path, ALONE)] : [];
}

function checkStorage(amount: Quantity | undefined, path: string): FieldError[] {
  if (amount === undefined) return [required(path)];
  return amount.nanos > 0n ? [] : [invalid(path, String(amount), 'must be greater than zero')];
}

export function checkClaimUpdate(claim: PersistentVolumeClaim, old: PersistentVolumeClaim): FieldError[] {
  const { resources: _asked, ...spec } = claim.spec;
  const { resources: before, ...oldSpec } = old.spec;
  // The volumeName of an unbound claim may still be set.
  const named = !old.spec.volumeName && { volumeName: spec.volumeName };
  if (!isDeepStrictEqual(compact({ ...spec }), compact({ ...oldSpec, ...named })))
    return [forbidden('spec', CLAIM_FIXED)];
  const { storage } = amountsOf(claim.spec.resources?.requests);
  const { storage: had } = amountsOf(before?.requests);
  if (storage === undefined || had === undefined || !had.exceeds(storage)) {
    const bound = old.status?.phase === 'Bound' || isDeepStrictEqual(claim.spec.resources, before);
    return bound ? [] : [forbidden('spec', CLAIM_FIXED)];
  }
  return [forbidden('spec.resources.requests.storage', 'field can not be less than status.capacity')];
}

export function checkVolumeUpdate(volume: PersistentVolume, old: PersistentVolume): FieldError[] {
  const source = ({ spec }: PersistentVolume) =>
    Object.fromEntries(Object.entries(spec).filter(([key]) => !NO_SOURCE.has(key)));
  const errors: FieldError[] = [];
  if (!isDeepStrictEqual(source(volume), source(old))) {
    errors.push(forbidden('spec.persistentvolumesource', 'spec.persistentvolumesource is immutable after creation'));
  }
  if (volume.spec.volumeMode !== old.spec.volumeMode) {
    errors.push(invalid('spec.volumeMode', volume.spec.volumeMode, IMMUTABLE));
  }
  return errors;
}

export function checkClassUpdate(changed: StorageClass, old: StorageClass): FieldError[] {
  const errors: FieldError[] = [];
  for (const field of ['parameters', 'provisioner', 'reclaimPolicy'] as const) {
    if (isDeepStrictEqual(changed[field] ?? {}, old[field] ?? {})) continue;
    errors.push(forbidden(field, `updates to ${field} are forbidden.`));
  }
  if (changed.volumeBindingMode !== old.volumeBindingMode) {
    errors.push(invalid('volumeBindingMode', changed.volumeBindingMode, IMMUTABLE));
  }
  return errors;
}

const compact = (fields: object) =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
