/**
 * Role-based access control over the objects in the store (plugin/pkg/auth/authorizer/rbac). An action is allowed if it
 * is covered by a rule of a role bound to the user, one of the user's groups or the service account. No rule can deny.
 */
import type { Store } from '../store/store.ts';
import type { StoredObject } from '../types/objects.ts';
import { type Action, type Authorize, isPathAction, type ResourceAction } from './authorization.ts';
import { AUTHENTICATED, BOOTSTRAPPERS, MASTERS, NODES, type User } from './user.ts';

export interface PolicyRule {
  verbs: string[];
  apiGroups?: string[];
  resources?: string[];
  resourceNames?: string[];
  nonResourceURLs?: string[];
}

interface Subject {
  kind: string;
  name: string;
  namespace?: string;
}

interface Binding extends StoredObject {
  subjects?: Subject[];
  roleRef: { kind: string; name: string };
}

/** What a user may do in a namespace, as SelfSubjectRulesReview answers it. */
export type RulesOf = (user: User, namespace: string) => object;

const EVERYTHING = {
  resourceRules: [{ verbs: ['*'], apiGroups: ['*'], resources: ['*'] }],
  nonResourceRules: [{ verbs: ['*'], nonResourceURLs: ['*'] }],
  incomplete: false,
};

/** What machines may do is no list of rules (machines.ts). */
const isMachine = ({ groups }: User): boolean => groups.includes(NODES) || groups.includes(BOOTSTRAPPERS);

/** The rules without RBAC: every authenticated user may do everything, except machines. */
export const rulesWithoutRbac: RulesOf = (user) =>
  isMachine(user)
    ? { resourceRules: [], nonResourceRules: [], incomplete: true }
    : user.groups.includes(AUTHENTICATED) || user.groups.includes(MASTERS)
      ? EVERYTHING
      : { resourceRules: [], nonResourceRules: [], incomplete: false };

export class Rbac {
  private readonly store: Store;

  constructor(store: Store) {
    this.store = store;
  }

  readonly authorize: Authorize = (user, action) => {
    for (const { rule, reason } of this.rules(user, isPathAction(action) ? undefined : action.namespace)) {
      if (covers(rule, action)) return { allowed: true, reason };
    }
    return { allowed: false, reason: '' };
  };

  readonly rulesOf: RulesOf = (user, namespace) => {
    if (user.groups.includes(MASTERS)) return EVERYTHING;
    const rules = [...this.rules(user, namespace)].map(({ rule }) => rule);
    return {
      resourceRules: rules
        .filter(({ resources }) => resources !== undefined)
        .map(({ verbs, apiGroups, resources, resourceNames }) => ({ verbs, apiGroups, resources, resourceNames })),
      nonResourceRules: rules
        .filter(({ nonResourceURLs }) => nonResourceURLs !== undefined)
        .map(({ verbs, nonResourceURLs }) => ({ verbs, nonResourceURLs })),
      incomplete: isMachine(user),
    };
  };

  /** Rules of cluster-wide bindings first, then those of the namespace. */
  private *rules(user: User, namespace: string | undefined): Generator<{ rule: PolicyRule; reason: string }> {
    for (const binding of this.store.list('ClusterRoleBinding') as Binding[]) yield* this.rulesBy(binding, user);
    if (namespace === undefined) return;
    for (const binding of this.store.list('RoleBinding', namespace) as Binding[]) yield* this.rulesBy(binding, user);
  }

  private *rulesBy(binding: Binding, user: User): Generator<{ rule: PolicyRule; reason: string }> {
    const { namespace, name } = binding.metadata;
    const subject = binding.subjects?.find((each) => means(each, user, namespace));
    if (subject === undefined) return;
    const { kind, name: roleName } = binding.roleRef;
    const role =
      kind === 'ClusterRole'
        ? this.store.get('ClusterRole', undefined, roleName)
        : this.store.get('Role', namespace, roleName);
    const where = namespace === undefined ? `ClusterRoleBinding "${name}"` : `RoleBinding "${name}/${namespace}"`;
    const who = subject.kind === 'ServiceAccount' ? `${subject.name}/${subject.namespace ?? namespace}` : subject.name;
    const reason = `RBAC: allowed by ${where} of ${kind} "${roleName}" to ${subject.kind} "${who}"`;
    for (const rule of (role?.rules as PolicyRule[] | undefined) ?? []) yield { rule, reason };
  }
}

function means({ kind, name, namespace }: Subject, user: User, bindingNamespace: string | undefined): boolean {
  switch (kind) {
    case 'User':
      return user.name === name;
    case 'Group':
      return user.groups.includes(name);
    case 'ServiceAccount':
      return user.name === `system:serviceaccount:${namespace ?? bindingNamespace}:${name}`;
    default:
      return false;
  }
}

/**
 * rbac/v1 evaluation helpers: VerbMatches, APIGroupMatches, ResourceMatches, ResourceNameMatches,
 * NonResourceURLMatches.
 */
function covers(rule: PolicyRule, action: Action): boolean {
  if (!has(rule.verbs, action.verb)) return false;
  if (isPathAction(action)) {
    return (rule.nonResourceURLs ?? []).some(
      (url) => url === '*' || url === action.path || (url.endsWith('*') && action.path.startsWith(url.slice(0, -1))),
    );
  }
  return has(rule.apiGroups, action.apiGroup) && coversResource(rule, action) && coversName(rule, action);
}

const has = (all: readonly string[] | undefined, one: string): boolean =>
  all !== undefined && (all.includes('*') || all.includes(one));

function coversResource({ resources = [] }: PolicyRule, { resource, subresource }: ResourceAction): boolean {
  const whole = subresource === undefined ? resource : `${resource}/${subresource}`;
  return resources.some(
    (each) => each === '*' || each === whole || (subresource !== undefined && each === `*/${subresource}`),
  );
}

function coversName({ resourceNames = [] }: PolicyRule, { name }: ResourceAction): boolean {
  return resourceNames.length === 0 || (name !== undefined && resourceNames.includes(name));
}
