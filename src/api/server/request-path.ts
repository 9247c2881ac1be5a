/** Parses the URL paths of the API (apiserver/pkg/endpoints/request/requestinfo.go). */
import type { CustomKinds } from '../custom/kinds.ts';
import type { Resource } from '../resources.ts';

export interface ResourcePath {
  resource: Resource;
  /** Undefined: all namespaces, or a cluster-scoped kind. */
  namespace: string | undefined;
  /** Undefined: the collection. */
  name: string | undefined;
  subresource: string | undefined;
}

/** The resource that a path, without its query, addresses; undefined if no such resource is served. */
export function parseResourcePath(path: string, kinds: CustomKinds): ResourcePath | undefined {
  let parts: string[];
  try {
    parts = path.split('/').filter(Boolean).map(decodeURIComponent);
  } catch {
    return undefined;
  }
  const core = parts[0] === 'api';
  if (!core && parts[0] !== 'apis') return undefined;
  const apiVersion = core ? parts[1] : `${parts[1]}/${parts[2]}`;
  let rest = parts.slice(core ? 2 : 3);
  let namespace: string | undefined;
  // `/namespaces/x` is the object x, `/namespaces/x/pods` the pods in it; `status` and `finalize` are subresources of
  // x.
  const inside = rest[0] === 'namespaces' && rest.length > 2 && rest[2] !== 'status' && rest[2] !== 'finalize';
  if (inside) {
    namespace = rest[1];
    rest = rest.slice(2);
  }
  const [plural, name, subresource, ...more] = rest;
  const resource = kinds.ofPath(apiVersion ?? '', plural ?? '');
  if (resource === undefined || more.length > 0) return undefined;
  if (resource.namespaced ? name !== undefined && namespace === undefined : inside) return undefined;
  return { resource, namespace, name, subresource };
}
