/**
 * The default roles and bindings of a cluster with RBAC (plugin/pkg/auth/authorizer/rbac/bootstrappolicy), restricted
 * to the resources served here. They are created if missing; changes by users are kept.
 */
import type { PolicyRule } from '../../api/access/rbac.ts';
import { AUTHENTICATED, MASTERS, UNAUTHENTICATED } from '../../api/access/user.ts';
import { resourceOfKind } from '../../api/resources.ts';
import type { Cluster } from '../cluster.ts';

const READ = ['get', 'list', 'watch'];
const WRITE = ['create', 'delete', 'deletecollection', 'patch', 'update'];
const GROUP = 'rbac.authorization.k8s.io';

const on = (apiGroup: string, resources: readonly string[], verbs: readonly string[]): PolicyRule => ({
  apiGroups: [apiGroup],
  resources: [...resources],
  verbs: [...verbs],
});

/** Namespaced resources for everyday work, except Secrets. */
const VIEWED: Readonly<Record<string, readonly string[]>> = {
  '': [
    ...[
      'configmaps',
      'endpoints',
      'events',
      'limitranges',
      'namespaces',
      'namespaces/status',
      'persistentvolumeclaims',
    ],
    ...['persistentvolumeclaims/status', 'pods', 'pods/log', 'pods/status', 'replicationcontrollers'],
    ...['replicationcontrollers/scale', 'replicationcontrollers/status', 'resourcequotas', 'resourcequotas/status'],
    ...['serviceaccounts', 'services', 'services/status'],
  ],
  apps: [
    ...['controllerrevisions', 'daemonsets', 'daemonsets/status', 'deployments', 'deployments/scale'],
    ...['deployments/status', 'replicasets', 'replicasets/scale', 'replicasets/status', 'statefulsets'],
    ...['statefulsets/scale', 'statefulsets/status'],
  ],
  autoscaling: ['horizontalpodautoscalers', 'horizontalpodautoscalers/status'],
  batch: ['cronjobs', 'cronjobs/status', 'jobs', 'jobs/status'],
  'discovery.k8s.io': ['endpointslices'],
  'networking.k8s.io': ['ingresses', 'ingresses/status', 'networkpolicies'],
  policy: ['poddisruptionbudgets', 'poddisruptionbudgets/status'],
};

const EDITED: Readonly<Record<string, readonly string[]>> = {
  '': [
    ...['configmaps', 'endpoints', 'events', 'persistentvolumeclaims', 'pods', 'pods/attach', 'pods/exec'],
    ...['pods/portforward', 'pods/proxy', 'replicationcontrollers', 'replicationcontrollers/scale', 'secrets'],
    ...['serviceaccounts', 'services', 'services/proxy'],
  ],
  apps: [
    ...['daemonsets', 'deployments', 'deployments/rollback', 'deployments/scale', 'replicasets', 'replicasets/scale'],
    ...['statefulsets', 'statefulsets/scale'],
  ],
  autoscaling: ['horizontalpodautoscalers'],
  batch: ['cronjobs', 'jobs'],
  'coordination.k8s.io': ['leases'],
  'networking.k8s.io': ['ingresses', 'networkpolicies'],
  policy: ['poddisruptionbudgets'],
};

const each = (table: Readonly<Record<string, readonly string[]>>, verbs: readonly string[]): PolicyRule[] =>
  Object.entries(table).map(([group, resources]) => on(group, resources, verbs));

const view = each(VIEWED, READ);
const edit = [
  ...view,
  ...each(EDITED, WRITE),
  on('', ['secrets', 'pods/attach', 'pods/exec', 'pods/portforward', 'pods/proxy', 'services/proxy'], READ),
  on('coordination.k8s.io', ['leases'], READ),
  on('', ['pods/eviction', 'serviceaccounts/token'], ['create']),
  on('', ['serviceaccounts'], ['impersonate']),
];

const PUBLIC_URLS = ['/healthz', '/livez', '/readyz', '/version', '/version/'];

const ROLES: Readonly<Record<string, PolicyRule[]>> = {
  'cluster-admin': [
    { apiGroups: ['*'], resources: ['*'], verbs: ['*'] },
    { nonResourceURLs: ['*'], verbs: ['*'] },
  ],
  admin: [
    ...edit,
    on(GROUP, ['roles', 'rolebindings'], [...READ, ...WRITE]),
    on('authorization.k8s.io', ['localsubjectaccessreviews'], ['create']),
  ],
  edit,
  view,
  'system:discovery': [
    {
      nonResourceURLs: ['/api', '/api/*', '/apis', '/apis/*', '/openapi', '/openapi/*', ...PUBLIC_URLS],
      verbs: ['get'],
    },
  ],
  'system:public-info-viewer': [{ nonResourceURLs: PUBLIC_URLS, verbs: ['get'] }],
  'system:basic-user': [
    on('authorization.k8s.io', ['selfsubjectaccessreviews', 'selfsubjectrulesreviews'], ['create']),
    on('authentication.k8s.io', ['selfsubjectreviews'], ['create']),
  ],
  'system:service-account-issuer-discovery': [
    {
      nonResourceURLs: [
        ...['/.well-known/openid-configuration', '/.well-known/openid-configuration/'],
        ...['/openid/v1/jwks', '/openid/v1/jwks/'],
      ],
      verbs: ['get'],
    },
  ],
};

/** Role → groups it is bound to. */
const BINDINGS: Readonly<Record<string, readonly string[]>> = {
  'cluster-admin': [MASTERS],
  'system:discovery': [AUTHENTICATED],
  'system:public-info-viewer': [AUTHENTICATED, UNAUTHENTICATED],
  'system:basic-user': [AUTHENTICATED],
  'system:service-account-issuer-discovery': ['system:serviceaccounts'],
};

export function makeBootstrapRoles({ store, registry }: Cluster): void {
  const metadata = (name: string) => ({ name, labels: { 'kubernetes.io/bootstrapping': 'rbac-defaults' } });
  const apiVersion = `${GROUP}/v1`;
  for (const [name, rules] of Object.entries(ROLES)) {
    if (store.get('ClusterRole', undefined, name) !== undefined) continue;
    const role = { apiVersion, kind: 'ClusterRole', metadata: metadata(name), rules };
    registry.create(resourceOfKind('ClusterRole')!, undefined, role);
  }
  for (const [name, groups] of Object.entries(BINDINGS)) {
    if (store.get('ClusterRoleBinding', undefined, name) !== undefined) continue;
    registry.create(resourceOfKind('ClusterRoleBinding')!, undefined, {
      apiVersion,
      kind: 'ClusterRoleBinding',
      metadata: metadata(name),
      roleRef: { apiGroup: GROUP, kind: 'ClusterRole', name },
      subjects: groups.map((group) => ({ apiGroup: GROUP, kind: 'Group', name: group })),
    });
  }
}
