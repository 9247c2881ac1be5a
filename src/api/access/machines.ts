/**
 * What machines may do that have joined the cluster, or are about to. A node reads what an agent forwards by and runs
 * pods with, and writes its own Node, its Lease, events, and the pods that are bound to it
 * (plugin/pkg/auth/authorizer/node; objects that are created are checked in controllers/nodes/node-restriction.ts). Unlike
 * kubelet's authorizer, it may read all Secrets and ConfigMaps: an agent watches them as wholes.
 */
import type { Store } from '../store/store.ts';
import { type Action, type Decision, isPathAction, type ResourceAction } from './authorization.ts';
import { BOOTSTRAPPERS, NODE_PREFIX, NODES, type User } from './user.ts';

const READ = ['get', 'list', 'watch'];
const CHANGE = ['patch', 'update'];
const LEASES = 'kube-node-lease';

const READABLE: Readonly<Record<string, readonly string[]>> = {
  '': [
    ...['configmaps', 'endpoints', 'events', 'namespaces', 'nodes', 'persistentvolumeclaims', 'persistentvolumes'],
    ...['pods', 'secrets', 'serviceaccounts', 'services'],
  ],
  'discovery.k8s.io': ['endpointslices'],
  'networking.k8s.io': ['networkpolicies'],
  'node.k8s.io': ['runtimeclasses'],
  'policy.networking.k8s.io': ['clusternetworkpolicies'],
  'storage.k8s.io': ['storageclasses'],
};

const REQUESTS = 'certificatesigningrequests';

/** The name of the node whose certificate the user has; undefined for other users. */
export const nodeOfUser = ({ name, groups }: User): string | undefined =>
  groups.includes(NODES) && name.startsWith(NODE_PREFIX) ? name.slice(NODE_PREFIX.length) : undefined;

/** Undefined for users that are not machines. */
export function machineMay(store: Store, user: User, action: Action): Decision | undefined {
  const node = nodeOfUser(user);
  if (node !== undefined) {
    const allowed = nodeMay(store, node, action);
    return { allowed, reason: allowed ? '' : `a node may not do this, or only with its own objects` };
  }
  if (!user.groups.includes(BOOTSTRAPPERS)) return undefined;
  const allowed = bootstrapperMay(action);
  return { allowed, reason: allowed ? '' : 'a bootstrap token is only for asking for a certificate' };
}

/** Ask for a certificate, and see whether the name is taken (kubeadm:get-nodes). */
function bootstrapperMay(action: Action): boolean {
  if (isPathAction(action)) return action.verb === 'get';
  const { verb, resource, subresource } = action;
  if (subresource !== undefined) return false;
  return resource === REQUESTS ? ['create', 'get'].includes(verb) : resource === 'nodes' && verb === 'get';
}

function nodeMay(store: Store, node: string, action: Action): boolean {
  if (isPathAction(action)) return action.verb === 'get';
  const { verb, apiGroup, resource, subresource } = action;
  if (subresource === undefined && READ.includes(verb) && READABLE[apiGroup]?.includes(resource)) return true;
  const what = [apiGroup, resource, subresource].filter(Boolean).join('/');
  return WRITES[what]?.(action, node, store) ?? false;
}

type Rule = (action: ResourceAction, node: string, store: Store) => boolean;

const ownNode: Rule = ({ verb, name }, node) => CHANGE.includes(verb) && name === node;
const createOrOwnNode: Rule = (action, node, store) => action.verb === 'create' || ownNode(action, node, store);
const changesEvents: Rule = ({ verb }) => verb === 'create' || CHANGE.includes(verb);
const isBound = (store: Store, { namespace, name }: ResourceAction, node: string): boolean =>
  name !== undefined && store.get('Pod', namespace, name)?.spec.nodeName === node;

const WRITES: Readonly<Record<string, Rule>> = {
  nodes: createOrOwnNode,
  'nodes/status': ownNode,
  events: changesEvents,
  'events.k8s.io/events': changesEvents,
  'coordination.k8s.io/leases': ({ verb, namespace, name }, node) =>
    namespace === LEASES && (verb === 'create' || (name === node && ['get', ...CHANGE].includes(verb))),
  pods: (action, node, store) => action.verb === 'delete' && isBound(store, action, node),
  'pods/status': (action, node, store) => CHANGE.includes(action.verb) && isBound(store, action, node),
  // Only of accounts that pods of the node use.
  'serviceaccounts/token': ({ verb, namespace, name }, node, store) =>
    verb === 'create' &&
    store
      .list('Pod', namespace)
      .some(({ spec }) => spec.nodeName === node && (spec.serviceAccountName ?? 'default') === name),
  // Its next certificate.
  [`certificates.k8s.io/${REQUESTS}`]: ({ verb }) => verb === 'create' || verb === 'get',
};
