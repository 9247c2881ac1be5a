/**
 * What a deletion does to an object: removes it, or marks it as terminating (apiserver/pkg/registry/generic/registry).
 */
import { conflict } from '../errors.ts';
import { isEnded } from '../pod-phase.ts';
import type { Resource } from '../resources.ts';
import type { KubeObject, Pod } from '../types/objects.ts';
import { nowText, type Store } from './store.ts';

export type PropagationPolicy = 'Foreground' | 'Background' | 'Orphan';

export interface DeleteRequest {
  dryRun?: boolean;
  gracePeriodSeconds?: number | undefined;
  /** What happens to the dependents; undefined: the default of the kind. */
  propagationPolicy?: PropagationPolicy | undefined;
  preconditions?: { uid?: string; resourceVersion?: string } | undefined;
}

/** Finalizers that the garbage collector removes. */
export const ORPHAN = 'orphan';
export const FOREGROUND = 'foregroundDeletion';

/** Kinds whose dependents are orphaned by default: their APIs are older than garbage collection. */
const ORPHANING = new Set<string>(['ReplicationController', 'Job']);

/**
 * The object after the deletion request: undefined if it is removed at once, `old` itself if nothing changes. A second
 * request can shorten the grace period, never lengthen it.
 */
export function afterDeletion(
  store: Store,
  resource: Resource,
  old: KubeObject,
  request: DeleteRequest,
): KubeObject | undefined {
  const grace = resource.key === 'Pod' ? graceOf(store, old as Pod, request.gracePeriodSeconds) : 0;
  const finalizers = finalizersAfter(resource, old, request.propagationPolicy);
  if (grace === 0 && finalizers.length === 0 && resource.key !== 'Namespace') return undefined;
  const { deletionTimestamp, deletionGracePeriodSeconds = 0, generation } = old.metadata;
  const sooner = deletionTimestamp === undefined || grace < deletionGracePeriodSeconds;
  const same = finalizers.join() === (old.metadata.finalizers ?? []).join();
  if (!sooner && same) return old;
  const { finalizers: _before, ...metadata } = old.metadata;
  const ending = {
    ...old,
    metadata: {
      ...metadata,
      ...(finalizers.length > 0 && { finalizers }),
      ...(sooner && {
        deletionTimestamp: nowText(Date.now() + grace * 1000),
        deletionGracePeriodSeconds: grace,
      }),
      // Controllers that react to changes of generation alone must notice (apiserver/pkg/registry/rest/delete.go).
      ...(deletionTimestamp === undefined && generation !== undefined && { generation: generation + 1 }),
    },
  } as KubeObject;
  if (resource.key === 'Namespace') (ending as { status?: unknown }).status = { phase: 'Terminating' };
  return ending;
}

function finalizersAfter(resource: Resource, old: KubeObject, policy: PropagationPolicy | undefined): string[] {
  const present = old.metadata.finalizers ?? [];
  const decided = present.includes(ORPHAN) || present.includes(FOREGROUND);
  // A request without a policy does not override an earlier choice.
  if (policy === undefined && decided) return [...present];
  const kept = present.filter((finalizer) => finalizer !== ORPHAN && finalizer !== FOREGROUND);
  if (policy === 'Orphan' || (policy === undefined && ORPHANING.has(resource.key))) return [...kept, ORPHAN];
  return policy === 'Foreground' ? [...kept, FOREGROUND] : kept;
}

/**
 * The grace period in seconds; 0 for pods that are not assigned to a node or have ended
 * (registry/core/pod/strategy.go).
 */
function graceOf(store: Store, pod: Pod, asked: number | undefined): number {
  const { spec } = pod;
  if (!spec.nodeName || isEnded(pod) || !store.get('Node', undefined, spec.nodeName)) return 0;
  return Math.max(0, asked ?? spec.terminationGracePeriodSeconds ?? 30);
}

/** @throws ApiError 409 unless uid and version match the preconditions */
export function checkPreconditions(resource: Resource, old: KubeObject, wanted: DeleteRequest['preconditions']): void {
  const { name, uid, resourceVersion } = old.metadata;
  if (wanted?.uid && wanted.uid !== uid) {
    const uids = `${wanted.uid}, UID in object meta: ${uid}`;
    throw conflict(resource, name, `Precondition failed: UID in precondition: ${uids}`);
  }
  if (wanted?.resourceVersion && wanted.resourceVersion !== resourceVersion) {
    const versions = `${wanted.resourceVersion}, ResourceVersion in object meta: ${resourceVersion}`;
    throw conflict(resource, name, `Precondition failed: ResourceVersion in precondition: ${versions}`);
  }
}
