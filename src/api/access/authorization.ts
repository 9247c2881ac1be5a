/**
 * Authorization. An action is what a request does, in the terms of RBAC: a verb on a resource, or a verb on a
 * non-resource path (apiserver/pkg/authorization/authorizer, endpoints/request/requestinfo.go).
 */
import { ANONYMOUS, AUTHENTICATED, MASTERS, type User } from './user.ts';

export interface ResourceAction {
  verb: string;
  /** Empty for the core group. */
  apiGroup: string;
  resource: string;
  subresource?: string;
  namespace?: string;
  name?: string;
}

export interface PathAction {
  verb: string;
  path: string;
}

export type Action = ResourceAction | PathAction;

export interface Decision {
  allowed: boolean;
  /** Appended to the error message; may be empty. */
  reason: string;
}

export type Authorize = (user: User, action: Action) => Decision;

export const isPathAction = (action: Action): action is PathAction => 'path' in action;

/** Paths that anonymous users may read (the ClusterRole system:public-info-viewer). */
const PUBLIC = new Set(['/version', '/livez', '/readyz', '/healthz']);

/** The ConfigMap by which machines that join find the authority; they know its hash (kubeadm's role bootstrap-signer-clusterinfo). */
export const CLUSTER_INFO = { namespace: 'kube-public', name: 'cluster-info', key: 'kubeconfig' } as const;

const readsClusterInfo = ({ verb, apiGroup, resource, namespace, name }: ResourceAction): boolean =>
  verb === 'get' &&
  apiGroup === '' &&
  resource === 'configmaps' &&
  namespace === CLUSTER_INFO.namespace &&
  name === CLUSTER_INFO.name;

export interface Authorizers {
  /** Decides for machines (machines.ts); undefined for other users. */
  readonly machines?: (user: User, action: Action) => Decision | undefined;
  /** Decides what the others have not allowed; if left out, authenticated users that are not machines may do everything. */
  readonly further?: Authorize | undefined;
}

/** Version, health and the authority's certificate are open to everybody. */
export function authorizer({ machines, further }: Authorizers = {}): Authorize {
  return (user, action) => {
    if (user.groups.includes(MASTERS)) return { allowed: true, reason: '' };
    if (!isPathAction(action) && readsClusterInfo(action)) return { allowed: true, reason: '' };
    const asMachine = machines?.(user, action);
    if (asMachine?.allowed || (asMachine !== undefined && further === undefined)) return asMachine;
    if (isPathAction(action) && action.verb === 'get' && PUBLIC.has(action.path.replace(/(?<=.)\/$/, ''))) {
      return { allowed: true, reason: '' };
    }
    if (further !== undefined) return further(user, action);
    if (user.groups.includes(AUTHENTICATED)) return { allowed: true, reason: '' };
    return {
      allowed: false,
      reason: user.name === ANONYMOUS.name ? 'show a client certificate or a bearer token' : '',
    };
  };
}

const VERBS: Record<string, string> = { POST: 'create', PUT: 'update', PATCH: 'patch', DELETE: 'delete' };

/** The action of a request. Paths that name no resource are actions on the path itself. */
export function actionOf(method: string, url: string): Action {
  const mark = url.indexOf('?');
  const path = mark < 0 ? url : url.slice(0, mark);
  const query = new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1));
  const parts = path.split('/').filter(Boolean).map(decoded);
  const core = parts[0] === 'api';
  const rest = parts.slice(core ? 2 : 3);
  if ((!core && parts[0] !== 'apis') || rest.length === 0) return { verb: method.toLowerCase(), path };
  // Deprecated forms: /watch/ before the resource is a watch of it, /proxy/ is a proxied request.
  const prefix = rest[0] === 'watch' || rest[0] === 'proxy' ? rest.shift() : undefined;
  const inside = rest[0] === 'namespaces' && rest.length > 2 && rest[2] !== 'status' && rest[2] !== 'finalize';
  const namespace = inside ? rest[1] : rest[0] === 'namespaces' ? rest[1] : undefined;
  const [resource = '', inPath, subresource] = inside ? rest.slice(2) : rest;
  const verb = prefix ?? verbOf(method, inPath, query);
  const name = inPath ?? (verb === 'list' || verb === 'watch' ? selectedName(query) : undefined);
  return {
    verb,
    apiGroup: core ? '' : (parts[1] ?? ''),
    resource,
    ...(subresource !== undefined && { subresource }),
    ...(namespace !== undefined && { namespace }),
    ...(name !== undefined && { name }),
  };
}

/**
 * The only object that a list or a watch can contain, by its field selector: a rule with resourceNames allows it
 * (apiserver pkg/endpoints/request/requestinfo.go).
 */
function selectedName(query: URLSearchParams): string | undefined {
  const requirements = (query.get('fieldSelector') ?? '').split(',');
  return requirements
    .map((one) => /^metadata\.name==?([^=!]+)$/.exec(one.trim())?.[1])
    .find((name) => name !== undefined);
}

function verbOf(method: string, name: string | undefined, query: URLSearchParams): string {
  if (method === 'GET' || method === 'HEAD') {
    const watch = query.get('watch');
    if (watch !== null && watch !== '0' && watch !== 'false') return 'watch';
    return name === undefined ? 'list' : 'get';
  }
  if (method === 'DELETE' && name === undefined) return 'deletecollection';
  return VERBS[method] ?? method.toLowerCase();
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
