/** The custom kinds of one cluster, kept up to date with its CustomResourceDefinitions. */
import { apiVersionOf, type Resource, resourceOfKind, resourceOfPath } from '../resources.ts';
import type { Store } from '../store/store.ts';
import { type Definition, resourceOf } from './definition.ts';

export class CustomKinds {
  /** Incremented whenever the kinds that are served change. */
  generation = 0;
  private readonly byDefinition = new Map<string, Resource[]>();
  private readonly byPath = new Map<string, Resource>();
  private readonly listeners: ((resource: Resource) => void)[] = [];
  private readonly followed = new Set<string>();

  constructor(store: Store) {
    for (const definition of store.list('CustomResourceDefinition')) this.put(definition as unknown as Definition);
    store.onCommit('CustomResourceDefinition', ({ type, object }) => {
      if (type === 'DELETED') this.take(object.metadata.name);
      else this.put(object as unknown as Definition);
    });
  }

  /** Every served version of every kind. */
  resources(): Resource[] {
    return [...this.byDefinition.values()].flat();
  }

  /** One resource per kind. */
  kinds(): Resource[] {
    return [...new Map(this.resources().map((resource) => [resource.key, resource])).values()];
  }

  /** A resource by its URL: one of Kubernetes' own, or a custom one. */
  ofPath(apiVersion: string, plural: string): Resource | undefined {
    return resourceOfPath(apiVersion, plural) ?? this.byPath.get(`${apiVersion}/${plural}`);
  }

  /** The resource that an owner reference means. */
  ofKind(apiVersion: string, kind: string): Resource | undefined {
    const own = resourceOfKind(kind);
    if (own !== undefined && own.group === groupOf(apiVersion)) return own;
    return this.kinds().find((resource) => resource.kind === kind && resource.group === groupOf(apiVersion));
  }

  ofKey(key: string): Resource | undefined {
    return resourceOfKind(key) ?? this.kinds().find((resource) => resource.key === key);
  }

  /** Calls `listener` once for every present and future kind. */
  onKind(listener: (resource: Resource) => void): void {
    this.listeners.push(listener);
    for (const resource of this.kinds()) listener(resource);
  }

  private put(definition: Definition): void {
    this.forget(definition.metadata.name);
    this.generation++;
    const resources = definition.spec.versions
      .filter(({ served }) => served)
      .map((version) => resourceOf(definition, version))
      // A kind that is served anyway, of whose definition a copy is stored.
      .filter((resource) => resourceOfPath(apiVersionOf(resource), resource.plural) === undefined);
    this.byDefinition.set(definition.metadata.name, resources);
    for (const resource of resources) this.byPath.set(`${apiVersionOf(resource)}/${resource.plural}`, resource);
    const [first] = resources;
    if (first === undefined || this.followed.has(first.key)) return;
    this.followed.add(first.key);
    for (const listener of this.listeners) listener(first);
  }

  private take(name: string): void {
    this.forget(name);
    this.byDefinition.delete(name);
    this.generation++;
  }

  private forget(name: string): void {
    for (const resource of this.byDefinition.get(name) ?? []) {
      this.byPath.delete(`${apiVersionOf(resource)}/${resource.plural}`);
    }
  }
}

const groupOf = (apiVersion: string) => (apiVersion.includes('/') ? apiVersion.slice(0, apiVersion.indexOf('/')) : '');
