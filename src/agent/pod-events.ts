/** Events of a node's pods, for `describe`. An event that cannot be written is not worth a failure. */
import type { ApiClient } from '../api/client.ts';
import type { EventObject, Pod } from '../api/types.ts';

let count = 0;

/** Record that something happened to a pod. */
export function recordPodEvent(
  client: ApiClient,
  nodeName: string,
  pod: Pod,
  type: 'Normal' | 'Warning',
  reason: string,
  message: string,
): void {
  const { name, namespace = 'default', uid } = pod.metadata;
  const now = new Date().toISOString();
  const event = {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { name: `${name}.${Date.now().toString(16)}${(count++).toString(16)}`, namespace },
    involvedObject: { apiVersion: 'v1', kind: 'Pod', name, namespace, uid },
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
