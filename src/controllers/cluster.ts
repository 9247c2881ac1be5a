/** What every controller uses: the store, writes with Kubernetes' semantics, work queues and events. */
import { eventName } from '../api/event-name.ts';
import { resourceOfKind } from '../api/resources.ts';
import type { Registry } from '../api/store/registry.ts';
import { nowText, type Store } from '../api/store/store.ts';
import type { Condition, EventObject, KubeObject } from '../api/types/objects.ts';
import { WorkQueue, WorkSlice } from './work-queue.ts';

export interface Cluster {
  store: Store;
  registry: Registry;
  /** Writes a line to the controller's log. */
  log: (line: string) => void;
  /** Makes a work queue; failures are logged and retried. */
  queue: (name: string, work: (key: string) => void) => WorkQueue;
  /** All queues so far. Several may have the same name. */
  queues: () => readonly { readonly name: string; readonly queue: WorkQueue }[];
  /** Records an Event about `object`; a repeated one increments the count. */
  event: (object: KubeObject, type: 'Normal' | 'Warning', reason: string, message: string) => void;
  /** The same for one component: named as the source of its events; `manager` is the program that owns its writes. */
  as: (component: string, manager?: string) => Cluster;
  close: () => void;
}

/** The program whose controllers these are in Kubernetes: what they write is owned by it. */
const MANAGER = 'kube-controller-manager';

export function makeCluster(store: Store, registry: Registry, log: (line: string) => void): Cluster {
  const queues: { name: string; queue: WorkQueue }[] = [];
  const events = new EventRecorder(store);
  const slice = new WorkSlice();
  const of = (component: string, writer: Registry): Cluster => ({
    store,
    registry: writer,
    log,
    queue: (name, work) => {
      const queue = new WorkQueue(work, (key, error) => log(`${name}: ${key}: ${error.message}`), slice);
      queues.push({ name, queue });
      return queue;
    },
    queues: () => queues,
    event: (object, type, reason, message) => {
      try {
        events.record({ registry: writer, component }, object, type, reason, message);
      } catch (error) {
        log(`event ${reason} about ${object.metadata.name}: ${(error as Error).message}`);
      }
    },
    as: (name, manager = MANAGER) => of(name, registry.as(manager)),
    close: () => {
      for (const { queue } of queues) queue.close();
    },
  });
  return of(MANAGER, registry.as(MANAGER));
}

class EventRecorder {
  private readonly store: Store;
  /** Object, reason and message → name of the Event, oldest first. */
  private readonly known = new Map<string, { namespace: string; name: string }>();

  constructor(store: Store) {
    this.store = store;
    for (const event of store.list('Event')) this.remember(event);
    store.onCommit('Event', ({ type, object }) => {
      if (type === 'ADDED') this.remember(object);
      if (type === 'DELETED') this.known.delete(identity(object));
    });
  }

  record(
    { registry, component }: { registry: Registry; component: string },
    object: KubeObject,
    type: 'Normal' | 'Warning',
    reason: string,
    message: string,
  ): void {
    const { namespace, name, uid } = object.metadata;
    const home = namespace ?? 'default';
    const now = nowText();
    const involvedObject = {
      apiVersion: object.apiVersion,
      kind: object.kind,
      ...(namespace && { namespace }),
      name,
      uid,
    };
    const before = this.known.get(identity({ involvedObject, reason, message }));
    const old = before && this.store.get('Event', before.namespace, before.name);
    if (old !== undefined) {
      registry.write({ ...old, count: (old.count ?? 1) + 1, lastTimestamp: now }, old);
      return;
    }
    const where = this.store.get('Namespace', undefined, home);
    if (where === undefined || where.metadata.deletionTimestamp !== undefined) return;
    registry.create(resourceOfKind('Event')!, home, {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: eventName(name, Date.now()), namespace: home },
      involvedObject,
      reason,
      message,
      type,
      count: 1,
      firstTimestamp: now,
      lastTimestamp: now,
      source: { component },
      reportingComponent: component,
    });
  }

  private remember(event: EventObject): void {
    const { namespace = 'default', name } = event.metadata;
    this.known.set(identity(event), { namespace, name });
  }
}

function identity(event: Pick<EventObject, 'involvedObject' | 'reason' | 'message'>): string {
  return `${event.involvedObject.uid}|${event.reason}|${event.message}`;
}

/** `conditions` with this one added or replaced; lastTransitionTime changes only if the status does. */
export function withCondition(conditions: readonly Condition[] | undefined, condition: Condition): Condition[] {
  const old = conditions?.find((c) => c.type === condition.type);
  const same = old !== undefined && old.status === condition.status;
  const next = { ...condition, lastTransitionTime: (same && old.lastTransitionTime) || nowText() };
  if (old === undefined) return [...(conditions ?? []), next];
  return conditions!.map((c) => (c === old ? next : c));
}

export function conditionOf(conditions: readonly Condition[] | undefined, type: string): Condition | undefined {
  return conditions?.find((c) => c.type === type);
}
