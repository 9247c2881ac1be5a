/** Kubernetes events about a node's pods and services, for `describe`. A failure to write an event is ignored. */
import type { ApiClient } from '../api/client/client.ts';
import type { EventObject, KubeObject } from '../api/types/objects.ts';

let count = 0;

/** Record an event about an object. */
export function recordEvent(
  client: ApiClient,
  nodeName: string,
  object: KubeObject,
  type: 'Normal' | 'Warning',
  reason: string,
  message: string,
): void {
  const { apiVersion, kind, metadata } = object;
  const { name, namespace = 'default', uid } = metadata;
  const now = new Date().toISOString();
  const event = {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { name: `${name}.${Date.now().toString(16)}${(count++).toString(16)}`, namespace },
    involvedObject: { apiVersion, kind, name, namespace, uid },
    type,
    reason,
    message,
    source: { component: 'agent', host: nodeName },
    firstTimestamp: now,
    lastTimestamp: now,
    count: 1,
  };
  client.create(event as unknown as EventObject).catch(() => undefined);
}
