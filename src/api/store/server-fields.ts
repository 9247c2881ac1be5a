/** What a client's write to an existing object may change, by the subresource that it is written through. */
import type { Resource } from '../resources.ts';
import type { KubeObject, ObjectMeta, Pod, WrittenPart } from '../types/objects.ts';

/**
 * A write to the object keeps its status; a write to its status keeps everything except labels and annotations, and of a
 * custom resource these, too (apiextensions-apiserver registry/customresource/status_strategy.go). A write to a pod's
 * ephemeral containers changes nothing else (registry/core/pod/strategy.go, dropNonEphemeralContainerUpdates).
 */
export function keepServerFields(
  resource: Resource,
  object: KubeObject,
  old: KubeObject,
  subresource: WrittenPart | undefined,
): KubeObject {
  const { status: oldStatus, ...oldRest } = old as KubeObject & { status?: unknown };
  const { status, ...rest } = object as KubeObject & { status?: unknown };
  const { labels, annotations, ownerReferences, finalizers } = object.metadata;
  const kept: ObjectMeta = { ...old.metadata };
  const set = (key: 'labels' | 'annotations' | 'ownerReferences' | 'finalizers', value: unknown) => {
    if (value === undefined) delete kept[key];
    else (kept as unknown as Record<string, unknown>)[key] = value;
  };
  if (subresource !== 'status' || resource.custom === undefined) {
    set('labels', labels);
    set('annotations', annotations);
  }
  if (subresource === 'status' || subresource === 'approval') {
    return { ...oldRest, metadata: kept, ...(status !== undefined && { status }) } as KubeObject;
  }
  if (subresource === 'ephemeralcontainers') {
    const { ephemeralContainers } = (object as Pod).spec ?? {};
    const spec = { ...(old as Pod).spec, ...(ephemeralContainers && { ephemeralContainers }) };
    return { ...old, metadata: kept, spec } as Pod;
  }
  set('ownerReferences', ownerReferences);
  set('finalizers', finalizers);
  const keptStatus = resource.status ? oldStatus : status;
  return { ...rest, metadata: kept, ...(keptStatus !== undefined && { status: keptStatus }) } as KubeObject;
}
