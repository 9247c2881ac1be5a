/** The `scale` subresource: the desired and actual replicas of any kind that has them (autoscaling/v1 Scale). */
import { badRequest, conflict, invalid, MODIFIED } from '../errors.ts';
import type { Resource } from '../resources.ts';
import { scaleFields, withReplicas } from '../scale-fields.ts';
import type { KubeObject } from '../types/objects.ts';
import { type Call, replyValue } from './call.ts';
import { mediaTypeOf, parseJson, parseObject, readBody } from './request-body.ts';
import { patchBy, writeRequest } from './writes.ts';

interface Scale extends KubeObject {
  spec: { replicas?: number };
  status: { replicas: number; selector?: string };
}

/** The Scale of an object. */
function scaleOf(resource: Resource, object: KubeObject): Scale {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  const { specReplicas, statusReplicas, selector } = scaleFields(resource, object);
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: { name, ...(namespace !== undefined && { namespace }), uid, resourceVersion, creationTimestamp },
    spec: { replicas: specReplicas },
    status: { replicas: statusReplicas, ...(selector !== undefined && { selector }) },
  };
}

export function getScale(call: Call): void {
  const { registry, target, response } = call;
  const object = registry.get(target.resource, target.namespace, target.name!);
  replyValue(response, 200, scaleOf(target.resource, object));
}

export async function putScale(call: Call): Promise<void> {
  const scale = await parseObject(call.request, await readBody(call.request));
  write(call, () => scale, 'UpdateOptions');
}

export async function patchScale(call: Call): Promise<void> {
  const patch = parseJson(await readBody(call.request));
  const resource = { ...call.target.resource, group: 'autoscaling', version: 'v1', kind: 'Scale' as never };
  write(call, (scale) => patchBy(mediaTypeOf(call.request), resource, scale, patch), 'PatchOptions');
}

function write(call: Call, change: (scale: Scale) => unknown, options: string): void {
  const { registry, target, response } = call;
  const { resource, namespace, name } = target;
  const request = writeRequest(call, options);
  const old = registry.get(resource, namespace, name!);
  const wanted = change(scaleOf(resource, old)) as Partial<Scale> | null;
  if (typeof wanted !== 'object' || wanted === null || (wanted.kind ?? 'Scale') !== 'Scale') {
    throw badRequest('expected an object of kind Scale');
  }
  const version = wanted.metadata?.resourceVersion;
  if (version && version !== old.metadata.resourceVersion) throw conflict(resource, name!, MODIFIED);
  const replicas = wanted.spec?.replicas ?? 0;
  if (!Number.isInteger(replicas) || replicas < 0 || replicas > 2 ** 31 - 1) {
    const message = `Invalid value: ${JSON.stringify(replicas)}: must be greater than or equal to 0`;
    throw invalid({ ...resource, group: 'autoscaling', kind: 'Scale' as never }, name!, [
      { path: 'spec.replicas', message },
    ]);
  }
  const scaled = registry.writeAs(resource, withReplicas(resource, old, replicas), old, request, 'scale');
  replyValue(response, 200, scaleOf(resource, scaled));
}
