/**
 * The resources the API serves: one row per kind, from which paths, discovery documents and the CLI's names come.
 */
import type { Kind } from './types/objects.ts';

export interface Resource {
  kind: Kind;
  /** Empty for the core group. */
  group: string;
  version: string;
  plural: string;
  singular: string;
  shortNames: readonly string[];
  namespaced: boolean;
  /** Has a `/status` subresource: a write to the object leaves `status` alone, and the other way round. */
  status: boolean;
}

const row = (
  kind: Kind,
  apiVersion: string,
  plural: string,
  shortNames: readonly string[],
  scope: 'namespaced' | 'cluster',
  status: 'status' | 'no-status',
): Resource => {
  const slash = apiVersion.indexOf('/');
  return {
    kind,
    group: slash < 0 ? '' : apiVersion.slice(0, slash),
    version: apiVersion.slice(slash + 1),
    plural,
    singular: kind.toLowerCase(),
    shortNames,
    namespaced: scope === 'namespaced',
    status: status === 'status',
  };
};

export const RESOURCES: readonly Resource[] = [
  row('Pod', 'v1', 'pods', ['po'], 'namespaced', 'status'),
  row('Service', 'v1', 'services', ['svc'], 'namespaced', 'status'),
  row('Endpoints', 'v1', 'endpoints', ['ep'], 'namespaced', 'no-status'),
  row('ConfigMap', 'v1', 'configmaps', ['cm'], 'namespaced', 'no-status'),
  row('Secret', 'v1', 'secrets', [], 'namespaced', 'no-status'),
  row('Event', 'v1', 'events', ['ev'], 'namespaced', 'no-status'),
  row('Node', 'v1', 'nodes', ['no'], 'cluster', 'status'),
  row('Namespace', 'v1', 'namespaces', ['ns'], 'cluster', 'status'),
  row('EndpointSlice', 'discovery.k8s.io/v1', 'endpointslices', [], 'namespaced', 'no-status'),
  row('Deployment', 'apps/v1', 'deployments', ['deploy'], 'namespaced', 'status'),
  row('ReplicaSet', 'apps/v1', 'replicasets', ['rs'], 'namespaced', 'status'),
];

const byKind = new Map<string, Resource>(RESOURCES.map((r) => [r.kind, r]));
const byPath = new Map<string, Resource>(RESOURCES.map((r) => [`${apiVersionOf(r)}/${r.plural}`, r]));

/** `v1`, `discovery.k8s.io/v1`, … */
export function apiVersionOf(resource: Resource): string {
  return resource.group === '' ? resource.version : `${resource.group}/${resource.version}`;
}

/** Root of the resource's URLs: `/api/v1`, `/apis/apps/v1`, … */
export function apiRootOf(resource: Resource): string {
  return resource.group === '' ? `/api/${resource.version}` : `/apis/${resource.group}/${resource.version}`;
}

/** `pods`, `deployments.apps`: as error texts name a resource. */
export function qualifiedName(resource: Resource): string {
  return resource.group === '' ? resource.plural : `${resource.plural}.${resource.group}`;
}

/** `pod/mc3`, `deployment.apps/web`: as kubectl names an object. */
export function displayName(resource: Resource, name: string): string {
  const group = resource.group === '' ? '' : `.${resource.group}`;
  return `${resource.singular}${group}/${name}`;
}

export function resourceOfKind(kind: string): Resource | undefined {
  return byKind.get(kind);
}

export function resourceOfPath(apiVersion: string, plural: string): Resource | undefined {
  return byPath.get(`${apiVersion}/${plural}`);
}

/** The resource a person means by `po`, `pod`, `pods`, `Pod` or `endpointslices.discovery.k8s.io`. */
export function resourceNamed(word: string): Resource | undefined {
  const name = word.toLowerCase();
  return RESOURCES.find(
    (r) => r.plural === name || r.singular === name || r.shortNames.includes(name) || qualifiedName(r) === name,
  );
}

/** URL path of a collection, an object or its subresource. `namespace` undefined: all namespaces. */
export function resourcePath(resource: Resource, namespace?: string, name?: string, subresource?: string): string {
  let path = apiRootOf(resource);
  if (resource.namespaced && namespace !== undefined) path += `/namespaces/${encodeURIComponent(namespace)}`;
  path += `/${resource.plural}`;
  if (name !== undefined) path += `/${encodeURIComponent(name)}`;
  return subresource === undefined ? path : `${path}/${subresource}`;
}
