/**
 * ResourceQuotas: the usage of their namespaces is a running sum over the store, so that no write can exceed a limit.
 * Errors have the text of Kubernetes. `status.used` is updated shortly after a change.
 */
import { forbidden } from '../../api/errors.ts';
import { type Amounts, amountsOf, Quantity, sumOf } from '../../api/quantity.ts';
import { qualifiedName, RESOURCES, type Resource } from '../../api/resources.ts';
import type { Registry } from '../../api/store/registry.ts';
import type { Store } from '../../api/store/store.ts';
import type { Kind, KubeObject, Pod, ResourceQuota } from '../../api/types/objects.ts';
import type { Cluster } from '../cluster.ts';
import { keyOf, splitKey, type WorkQueue } from '../work-queue.ts';
import { inScope, missingDemands, usageOf } from './quota-usage.ts';

/** Kinds that are never limited, because they are written for every pod. */
const UNCOUNTED = new Set<string>(['Event']);

export class Quotas {
  private readonly store: Store;
  /** Namespace → quota's name → used amounts. */
  private readonly used = new Map<string, Map<string, Amounts>>();
  private readonly followed = new Set<Kind>();
  private changed: (quota: ResourceQuota) => void = () => {};
  private custom: readonly Resource[] = [];

  constructor(store: Store) {
    this.store = store;
    store.onCommit('ResourceQuota', ({ type, object, old }) => {
      if (type === 'DELETED') this.forget(object);
      else if (old === undefined || JSON.stringify(old.spec) !== JSON.stringify(object.spec)) this.count(object);
    });
    for (const resource of RESOURCES) this.follow(resource);
    for (const quota of store.list('ResourceQuota')) this.count(quota);
  }

  /** Starts to maintain the statuses, and to count custom resources. */
  start(cluster: Cluster): void {
    const { store, registry } = cluster;
    const queue: WorkQueue = cluster.queue('quotas', (key) => {
      const quota = store.get('ResourceQuota', ...splitKey(key));
      if (quota !== undefined) this.writeStatus(registry, quota);
    });
    this.changed = (quota) => queue.add(keyOf(quota));
    registry.kinds.onKind((resource) => {
      this.custom = [...this.custom, resource];
      this.follow(resource);
      const name = `count/${qualifiedName(resource)}`;
      for (const quota of store.list('ResourceQuota')) if (quota.spec?.hard?.[name] !== undefined) this.count(quota);
    });
    for (const quota of store.list('ResourceQuota')) queue.add(keyOf(quota));
  }

  /** @throws ApiError 403 if the write would exceed a quota */
  check(resource: Resource, object: KubeObject, old: KubeObject | undefined): void {
    const { namespace = '', name } = object.metadata;
    const used = this.used.get(namespace);
    if (used === undefined || UNCOUNTED.has(resource.key)) return;
    // The requests of a pod do not change, and its end only releases resources.
    if (old !== undefined && resource.key === 'Pod') return;
    const before = old === undefined ? {} : usageOf(resource, old);
    const usage = usageOf(resource, object);
    for (const quota of this.store.list('ResourceQuota', namespace)) {
      if (!inScope(quota, resource, object)) continue;
      const hard = amountsOf(quota.spec?.hard);
      if (resource.key === 'Pod') {
        const missing = missingDemands(Object.keys(hard), object as Pod);
        const why = `failed quota: ${quota.metadata.name}: must specify ${missing}`;
        if (missing !== undefined) throw forbidden(resource, name, why);
      }
      const now = used.get(quota.metadata.name) ?? {};
      const exceeded: { name: string; asked: Quantity; has: Quantity; most: Quantity }[] = [];
      for (const [what, most] of Object.entries(hard)) {
        const asked = (usage[what] ?? Quantity.ZERO).minus(before[what] ?? Quantity.ZERO);
        const has = now[what] ?? Quantity.ZERO;
        if (asked.nanos > 0n && has.plus(asked).exceeds(most)) exceeded.push({ name: what, asked, has, most });
      }
      if (exceeded.length === 0) continue;
      exceeded.sort((a, b) => (a.name < b.name ? -1 : 1));
      const list = (of: 'asked' | 'has' | 'most') => exceeded.map((e) => `${e.name}=${e[of]}`).join(',');
      const why = `requested: ${list('asked')}, used: ${list('has')}, limited: ${list('most')}`;
      throw forbidden(resource, name, `exceeded quota: ${quota.metadata.name}, ${why}`);
    }
  }

  /** Counts the usage from the present objects. */
  private count(quota: ResourceQuota): void {
    const { namespace = '', name } = quota.metadata;
    let total: Amounts = {};
    for (const resource of [...RESOURCES, ...this.custom]) {
      if (!resource.namespaced || UNCOUNTED.has(resource.key)) continue;
      for (const object of this.store.list(resource.key, namespace)) {
        if (inScope(quota, resource, object)) total = sumOf(total, usageOf(resource, object));
      }
    }
    const ofNamespace = this.used.get(namespace) ?? new Map<string, Amounts>();
    this.used.set(namespace, ofNamespace.set(name, total));
    this.changed(quota);
  }

  private forget({ metadata: { namespace = '', name } }: ResourceQuota): void {
    const ofNamespace = this.used.get(namespace);
    ofNamespace?.delete(name);
    if (ofNamespace?.size === 0) this.used.delete(namespace);
  }

  private follow(resource: Resource): void {
    if (!resource.namespaced || UNCOUNTED.has(resource.key) || this.followed.has(resource.key)) return;
    this.followed.add(resource.key);
    this.store.onCommit(resource.key, ({ type, object, old }) => {
      const ofNamespace = this.used.get(object.metadata.namespace ?? '');
      if (ofNamespace === undefined) return;
      for (const [name, before] of ofNamespace) {
        const quota = this.store.get('ResourceQuota', object.metadata.namespace, name);
        // A quota that was counted in this same commit already includes the change.
        if (quota === undefined || (type === 'ADDED' && object === (quota as KubeObject))) continue;
        let total = before;
        if (old !== undefined && inScope(quota, resource, old)) total = differenceOf(total, usageOf(resource, old));
        if (type !== 'DELETED' && inScope(quota, resource, object)) total = sumOf(total, usageOf(resource, object));
        if (total === before) continue;
        ofNamespace.set(name, total);
        this.changed(quota);
      }
    });
  }

  private writeStatus(registry: Registry, quota: ResourceQuota): void {
    const { namespace = '', name } = quota.metadata;
    const now = this.used.get(namespace)?.get(name) ?? {};
    const hard = quota.spec?.hard ?? {};
    const used = Object.fromEntries(Object.keys(hard).map((what) => [what, String(now[what] ?? Quantity.ZERO)]));
    registry.write({ ...quota, status: { hard, used } }, quota);
  }
}

function differenceOf(a: Amounts, b: Amounts): Amounts {
  const negative = Object.entries(b).map(([name, amount]) => [name, Quantity.ZERO.minus(amount)] as const);
  return sumOf(a, Object.fromEntries(negative));
}
