/** Discovery documents, from which clients learn what is served: one per group and version, and aggregated. */
import { apiVersionOf, type Resource } from '../resources.ts';
import { isReview, REVIEWS } from '../reviews.ts';
import { KUBERNETES_VERSION } from '../version.ts';
import { subresourcesOf } from './subresources.ts';

const VERBS = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'];

function verbsOf(resource: Resource): readonly string[] {
  if (isReview(resource)) return ['create'];
  return resource.readOnly ? ['get', 'list'] : VERBS;
}

/** The Kubernetes version whose API is served, in part. */
const VERSION = {
  major: '1',
  minor: '34',
  gitVersion: KUBERNETES_VERSION,
  gitCommit: '',
  gitTreeState: 'clean',
  buildDate: '2025-08-27T00:00:00Z',
  goVersion: '',
  compiler: '',
  platform: 'linux/amd64',
};

interface Part {
  name: string;
  kind: string;
  verbs: readonly string[];
  /** Set if they differ from the resource's. */
  group?: string;
  version?: string;
}

/** Subresources of one resource. */
function parts(resource: Resource): Part[] {
  const status = { name: 'status', kind: resource.kind, verbs: ['get', 'patch', 'update'] };
  const others = Object.entries(subresourcesOf(resource)).map(([name, { methods, ...part }]) => ({ name, ...part }));
  return [...(resource.status ? [status] : []), ...others];
}

function apiResources(resource: Resource) {
  const { plural, singular, namespaced, kind, shortNames, categories } = resource;
  const main = {
    name: plural,
    singularName: singular,
    namespaced,
    kind,
    verbs: verbsOf(resource),
    ...(shortNames.length > 0 && { shortNames }),
    ...(categories.length > 0 && { categories }),
  };
  return [
    main,
    ...parts(resource).map(({ name, ...part }) => ({
      name: `${plural}/${name}`,
      singularName: '',
      namespaced,
      ...part,
    })),
  ];
}

/** The resource in aggregated discovery (apidiscovery.k8s.io). */
function discovered(resource: Resource) {
  const { plural, singular, namespaced, kind, group, version, shortNames, categories } = resource;
  const own = { group, version };
  const subresources = parts(resource).map((part) => ({
    subresource: part.name,
    responseKind: { group: part.group ?? group, version: part.version ?? version, kind: part.kind },
    verbs: part.verbs,
  }));
  return {
    resource: plural,
    responseKind: { ...own, kind },
    scope: namespaced ? 'Namespaced' : 'Cluster',
    singularResource: singular,
    verbs: verbsOf(resource),
    ...(shortNames.length > 0 && { shortNames }),
    ...(categories.length > 0 && { categories }),
    ...(subresources.length > 0 && { subresources }),
  };
}

/** Resources by group and, within it, by version. */
function byGroup(resources: readonly Resource[]): Map<string, Map<string, Resource[]>> {
  const groups = new Map<string, Map<string, Resource[]>>();
  for (const resource of resources) {
    const versions = groups.get(resource.group) ?? new Map<string, Resource[]>();
    versions.set(resource.version, [...(versions.get(resource.version) ?? []), resource]);
    groups.set(resource.group, versions);
  }
  return groups;
}

function apiGroup(name: string, versions: Iterable<string>) {
  const all = [...versions].map((version) => ({ groupVersion: `${name}/${version}`, version }));
  return { name, versions: all, preferredVersion: all[0] };
}

/** The discovery documents of a set of resources. */
export class Discovery {
  private readonly groups: Map<string, Map<string, Resource[]>>;
  private readonly documents: Map<string, unknown>;

  /** @param stored the resources without the review kinds, which are always served */
  constructor(stored: readonly Resource[]) {
    const resources = [...stored, ...REVIEWS];
    this.groups = byGroup(resources);
    this.documents = documentsOf(resources, this.groups);
  }

  /** The document at a path, without query and trailing slash; undefined if there is none. */
  document(path: string): unknown {
    return this.documents.get(path);
  }

  /** Aggregated discovery: all of `/api` (the core group) or of `/apis` (all other groups). */
  aggregated(core: boolean, version: 'v2' | 'v2beta1'): object {
    const items = [...this.groups]
      .filter(([name]) => (name === '') === core)
      .map(([name, versions]) => ({
        metadata: { ...(name !== '' && { name }), creationTimestamp: null },
        versions: [...versions].map(([v, resources]) => ({
          version: v,
          resources: resources.map(discovered),
          freshness: 'Current',
        })),
      }));
    return { kind: 'APIGroupDiscoveryList', apiVersion: `apidiscovery.k8s.io/${version}`, metadata: {}, items };
  }
}

function documentsOf(
  resources: readonly Resource[],
  byName: Map<string, Map<string, Resource[]>>,
): Map<string, unknown> {
  const groups = [...byName].filter(([name]) => name !== '').map(([name, versions]) => apiGroup(name, versions.keys()));
  const all = new Map<string, unknown>([
    ['/version', VERSION],
    ['/api', { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] }],
    ['/apis', { kind: 'APIGroupList', apiVersion: 'v1', groups }],
  ]);
  for (const group of groups) all.set(`/apis/${group.name}`, { kind: 'APIGroup', apiVersion: 'v1', ...group });
  for (const groupVersion of new Set(resources.map(apiVersionOf))) {
    const list = resources.filter((r) => apiVersionOf(r) === groupVersion).flatMap(apiResources);
    const path = groupVersion.includes('/') ? `/apis/${groupVersion}` : `/api/${groupVersion}`;
    all.set(path, { kind: 'APIResourceList', apiVersion: 'v1', groupVersion, resources: list });
  }
  return all;
}
