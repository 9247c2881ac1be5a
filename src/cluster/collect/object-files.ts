/** What the API knows: objects of every kind, events, descriptions, and the logs of containers. */
import { stringify } from 'yaml';
import type { ApiClient } from '../../api/client/client.ts';
import { isReady } from '../../api/ready.ts';
import { RESOURCES } from '../../api/resources.ts';
import { type KubeObject, type Pod, WellKnown } from '../../api/types/objects.ts';
import { logPath } from '../../runtime/container/logs.ts';
import type { Item } from './item.ts';
import { endOf } from './machine-files.ts';

/** Descriptions and logs of at most so many pods: those that are not well come first. */
const MAX_PODS = 200;

/** @throws ApiUnreachableError */
export async function objectFiles(
  client: ApiClient,
  dataplane: (...words: string[]) => Promise<string>,
  stateDir: string,
): Promise<Item[]> {
  const pods = (await client.list('Pod')).items.sort((a, b) => Number(isWell(a)) - Number(isWell(b)));
  const nodes = (await client.list('Node')).items;
  const items: Item[] = [
    { path: 'events.txt', read: () => dataplane('get', 'events', '--all-namespaces') },
    { path: 'pods.txt', read: () => dataplane('get', 'pods', '--all-namespaces', '-o', 'wide') },
  ];
  for (const { kind, plural, group } of RESOURCES) {
    const { items: objects } = await client.list(kind);
    if (objects.length === 0) continue;
    const file = group === '' ? plural : `${plural}.${group}`;
    items.push({
      path: `objects/${file}.yaml`,
      read: () => stringify({ items: (objects as KubeObject[]).map(shown) }),
    });
  }
  for (const { metadata } of nodes) {
    const { name } = metadata;
    items.push({ path: `nodes/${name}/describe.txt`, read: () => dataplane('describe', 'node', name) });
  }
  for (const pod of pods.slice(0, MAX_PODS)) items.push(...podFiles(pod, dataplane, stateDir));
  return items;
}

function podFiles(pod: Pod, dataplane: (...words: string[]) => Promise<string>, stateDir: string): Item[] {
  const { name, namespace = 'default' } = pod.metadata;
  const directory = `pods/${namespace}/${name}`;
  const items: Item[] = [
    { path: `${directory}/describe.txt`, read: () => dataplane('describe', 'pod', name, '-n', namespace) },
  ];
  const { initContainerStatuses = [], containerStatuses = [] } = pod.status ?? {};
  for (const { name: container, restartCount } of [...initContainerStatuses, ...containerStatuses]) {
    const log = (previous: boolean) => () => endOf(logPath(stateDir, namespace, name, container, previous));
    items.push({ path: `${directory}/${container}.log`, read: log(false) });
    if (restartCount > 0) items.push({ path: `${directory}/${container}.previous.log`, read: log(true) });
  }
  return items;
}

function isWell(pod: Pod): boolean {
  if (pod.status?.phase === 'Succeeded') return true;
  return isReady(pod);
}

/** The object without a Secret's values, and without the book-keeping of field owners. */
function shown(object: KubeObject): unknown {
  const { managedFields: _, ...metadata } = object.metadata as KubeObject['metadata'] & { managedFields?: unknown };
  if (object.kind !== 'Secret') return { ...object, metadata };
  const { [WellKnown.LAST_APPLIED]: __, ...annotations } = metadata.annotations ?? {};
  const data = (object as { data?: Record<string, string> }).data ?? {};
  const sizes = Object.fromEntries(
    Object.entries(data).map(([key, value]) => [key, `(${Buffer.byteLength(value, 'base64')} bytes)`]),
  );
  return { ...object, metadata: { ...metadata, annotations }, data: sizes };
}
