/**
 * Maintains Endpoints and EndpointSlices: from pods for services with a selector, mirrored from the Endpoints object
 * for services without one (KEP-752, KEP-1780). The cost of a change is proportional to what it affects: a pod's
 * services, a service's pods.
 */
import { isDeepStrictEqual } from 'node:util';
import { isEnded } from '../../api/pod-phase.ts';
import { isReady } from '../../api/ready.ts';
import { resourceOfKind } from '../../api/resources.ts';
import { type EndpointSlice, type Endpoints, type Pod, type Service, WellKnown } from '../../api/types/objects.ts';
import type { Cluster } from '../cluster.ts';
import type { PodAddresses } from '../pods/addresses.ts';
import { keyOf, splitKey } from '../work-queue.ts';
import {
  type EndpointGroup,
  groupsFromEndpoints,
  groupsFromPods,
  subsetsFromPods,
  zoneLabel,
} from './endpoint-groups.ts';
import { ServiceIndex, selectorOf } from './selector-index.ts';
import { planSlices } from './slice-plan.ts';

const BY_PODS = 'endpointslice-controller.k8s.io';
const BY_MIRROR = 'endpointslicemirroring-controller.k8s.io';
const LEADER = 'control-plane.alpha.kubernetes.io/leader';
/** Distinguishes Endpoints objects created here from those that users wrote (Kubernetes 1.33). */
const MADE_BY = 'endpoints.kubernetes.io/managed-by';
const MAKER = 'endpoint-controller';
/** Labels with a special meaning: not copied from the service or Endpoints object. */
const OWN_LABELS: readonly string[] = [WellKnown.HEADLESS, WellKnown.SERVICE_NAME, WellKnown.MANAGED_BY, MADE_BY];

const SLICES = resourceOfKind('EndpointSlice')!;
const ENDPOINTS = resourceOfKind('Endpoints')!;

export function startEndpointsController(cluster: Cluster, addresses: PodAddresses): void {
  new EndpointsController(cluster, addresses).start();
}

class EndpointsController {
  private readonly cluster: Cluster;
  private readonly addresses: PodAddresses;
  private readonly index: ServiceIndex;
  /** Service key → the slices labelled as belonging to it. */
  private readonly slices = new Map<string, Map<string, EndpointSlice>>();
  /** Services deleted since the last reconciliation: their Endpoints are deleted too, whoever created them. */
  private readonly goneServices = new Set<string>();
  private writing = false;

  constructor(cluster: Cluster, addresses: PodAddresses) {
    this.cluster = cluster;
    this.addresses = addresses;
    const { store } = cluster;
    this.index = new ServiceIndex(
      (namespace, name) => store.get('Pod', namespace, name),
      (namespace, name) => store.get('Service', namespace, name),
    );
  }

  start(): void {
    const { store } = this.cluster;
    const queue = this.cluster.queue('endpoints', (key) => this.reconcile(key));
    for (const pod of store.list('Pod')) this.index.addPod(pod);
    for (const slice of store.list('EndpointSlice')) this.file(slice, true);
    for (const service of store.list('Service')) {
      this.index.addService(service);
      queue.add(keyOf(service));
    }
    store.onCommit('Service', ({ type, object, old }) => {
      if (old !== undefined) this.index.deleteService(old);
      if (type === 'DELETED') this.goneServices.add(keyOf(object));
      else this.index.addService(object);
      if (type !== 'MODIFIED' || matters(object, old!)) queue.add(keyOf(object));
    });
    store.onCommit('Pod', ({ type, object, old }) => {
      const relabelled = old !== undefined && old.metadata.labels !== object.metadata.labels;
      if (type === 'MODIFIED' && !relabelled && podState(object) === podState(old!)) return;
      if (old !== undefined && (relabelled || type === 'DELETED')) {
        for (const key of this.index.servicesOf(old)) queue.add(key);
        this.index.deletePod(old);
      }
      if (type === 'DELETED') return;
      if (type === 'ADDED' || relabelled) this.index.addPod(object);
      for (const key of this.index.servicesOf(object)) queue.add(key);
    });
    store.onCommit('EndpointSlice', ({ type, object, old }) => {
      if (old !== undefined) this.file(old, false);
      if (type !== 'DELETED') this.file(object, true);
      if (!this.writing && isManaged(old ?? object)) queue.add(serviceKey(object));
    });
    store.onCommit('Endpoints', ({ object }) => {
      if (!this.writing) queue.add(keyOf(object));
    });
    store.onCommit('Node', ({ object, old }) => {
      if (zoneLabel(object) === zoneLabel(old)) return;
      for (const podKey of this.addresses.podsOn(object.metadata.name)) {
        const pod = store.get('Pod', ...splitKey(podKey));
        for (const key of pod === undefined ? [] : this.index.servicesOf(pod)) queue.add(key);
      }
    });
  }

  private reconcile(key: string): void {
    const [namespace, name] = splitKey(key);
    const { store } = this.cluster;
    const service = store.get('Service', namespace, name);
    const endpoints = store.get('Endpoints', namespace, name);
    this.writing = true;
    try {
      if (service === undefined || service.spec.type === 'ExternalName') {
        this.applySlices(key, BY_PODS, [], {}, undefined);
        this.applySlices(key, BY_MIRROR, [], {}, undefined);
        const ours = endpoints?.metadata.labels?.[MADE_BY] === MAKER;
        const orphan = service === undefined && this.goneServices.has(key);
        if (endpoints !== undefined && (ours || orphan)) store.remove(endpoints);
        this.goneServices.delete(key);
      } else if (selectorOf(service) !== undefined) this.fromPods(key, service, endpoints);
      else this.mirror(key, service, endpoints);
    } finally {
      this.writing = false;
    }
  }

  private fromPods(key: string, service: Service, endpoints: Endpoints | undefined): void {
    if (this.isBeingDeleted(service.metadata.namespace!)) return;
    const pods = this.index.podsOf(service);
    const labels = handedOn(service.metadata.labels);
    if (service.spec.clusterIP === 'None') labels[WellKnown.HEADLESS] = '';
    const groups = groupsFromPods(service, pods, this.zoneOf);
    this.applySlices(key, BY_PODS, groups, labels, service);
    this.applySlices(key, BY_MIRROR, [], {}, undefined);
    this.applyEndpoints(service, pods, { ...labels, [MADE_BY]: MAKER }, endpoints);
  }

  private mirror(key: string, service: Service, endpoints: Endpoints | undefined): void {
    this.applySlices(key, BY_PODS, [], {}, undefined);
    const { labels, annotations } = endpoints?.metadata ?? {};
    const skip = labels?.[WellKnown.SKIP_MIRROR] === 'true' || annotations?.[LEADER] !== undefined;
    const groups = endpoints === undefined || skip ? [] : groupsFromEndpoints(endpoints, this.zoneOf);
    this.applySlices(key, BY_MIRROR, groups, handedOn(labels), service);
  }

  private readonly zoneOf = (nodeName: string): string | undefined =>
    zoneLabel(this.cluster.store.get('Node', undefined, nodeName));

  /** New slices first and old ones last, so that a watcher never sees too few endpoints. */
  private applySlices(
    key: string,
    manager: string,
    groups: readonly EndpointGroup[],
    handed: Record<string, string>,
    owner: Service | undefined,
  ): void {
    const all = this.slices.get(key);
    if (all === undefined && groups.length === 0) return;
    const mine = [...(all?.values() ?? [])].filter((s) => s.metadata.labels?.[WellKnown.MANAGED_BY] === manager);
    const { create, update, remove } = planSlices(mine, groups);
    const { store, registry } = this.cluster;
    const [namespace, name] = splitKey(key);
    const labels = { ...handed, [WellKnown.SERVICE_NAME]: name, [WellKnown.MANAGED_BY]: manager };
    for (const group of create) {
      const metadata = {
        generateName: `${name}-`,
        namespace,
        labels,
        annotations: triggerTime(),
        ...(owner && { ownerReferences: [ownerReference(owner)] }),
      };
      registry.create(SLICES, namespace, {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata,
        ...group,
      });
    }
    const changed = new Map(update.map(({ slice, endpoints }) => [slice, endpoints]));
    for (const slice of mine) {
      if (remove.includes(slice)) continue;
      const endpoints = changed.get(slice);
      const annotations = { ...slice.metadata.annotations, ...(endpoints && triggerTime()) };
      const metadata = { ...slice.metadata, labels, ...(endpoints && { annotations }) };
      registry.write({ ...slice, metadata, endpoints: endpoints ?? slice.endpoints }, slice);
    }
    for (const slice of remove) store.remove(slice);
  }

  private applyEndpoints(
    service: Service,
    pods: readonly Pod[],
    labels: Record<string, string>,
    old: Endpoints | undefined,
  ): void {
    const { store, registry } = this.cluster;
    const { namespace, name } = service.metadata;
    const { subsets, cut } = subsetsFromPods(service, pods);
    const annotations = cut ? { [WellKnown.OVER_CAPACITY]: 'truncated' } : {};
    const wanted = { ...(subsets.length > 0 && { subsets }) };
    if (old === undefined) {
      const metadata = { name, namespace, labels, annotations };
      registry.create(ENDPOINTS, namespace, { apiVersion: 'v1', kind: 'Endpoints', metadata, ...wanted });
      return;
    }
    const { subsets: before, ...rest } = old;
    if (isDeepStrictEqual(before, wanted.subsets) && isDeepStrictEqual(rest.metadata.labels ?? {}, labels)) return;
    store.replace({ ...rest, metadata: { ...rest.metadata, labels, annotations }, ...wanted } as Endpoints, old);
  }

  private isBeingDeleted(namespace: string): boolean {
    return this.cluster.store.get('Namespace', undefined, namespace)?.metadata.deletionTimestamp !== undefined;
  }

  private file(slice: EndpointSlice, present: boolean): void {
    const key = serviceKey(slice);
    const slices = this.slices.get(key) ?? new Map<string, EndpointSlice>();
    if (present) slices.set(slice.metadata.name, slice);
    else slices.delete(slice.metadata.name);
    if (slices.size > 0) this.slices.set(key, slices);
    else this.slices.delete(key);
  }
}

const serviceKey = ({ metadata }: EndpointSlice) =>
  `${metadata.namespace ?? ''}/${metadata.labels?.[WellKnown.SERVICE_NAME] ?? ''}`;

function isManaged({ metadata }: EndpointSlice): boolean {
  const manager = metadata.labels?.[WellKnown.MANAGED_BY];
  return manager === BY_PODS || manager === BY_MIRROR;
}

function handedOn(labels: Record<string, string> | undefined): Record<string, string> {
  return Object.fromEntries(Object.entries(labels ?? {}).filter(([label]) => !OWN_LABELS.includes(label)));
}

function ownerReference({ metadata: { name, uid } }: Service) {
  return { apiVersion: 'v1', kind: 'Service', name, uid, controller: true, blockOwnerDeletion: true };
}

const matters = (service: Service, old: Service) =>
  service.spec !== old.spec || service.metadata.labels !== old.metadata.labels;

/** Everything of a pod that affects its endpoints, as one text. */
function podState(pod: Pod): string {
  const ending = pod.metadata.deletionTimestamp !== undefined;
  return `${pod.status?.podIP} ${isEnded(pod)} ${ending} ${isReady(pod)} ${pod.spec.nodeName}`;
}

/** From here until it is in force on a node, a change is the node's network programming latency. */
const triggerTime = (): Record<string, string> => ({ [WellKnown.TRIGGER_TIME]: new Date().toISOString() });
