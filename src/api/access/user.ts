/** The user of a request (k8s.io/apiserver/pkg/authentication/user). */
export interface User {
  name: string;
  uid?: string;
  groups: readonly string[];
  extra?: Readonly<Record<string, readonly string[]>>;
}

export const AUTHENTICATED = 'system:authenticated';
export const UNAUTHENTICATED = 'system:unauthenticated';
/** Members may do everything, regardless of RBAC. */
export const MASTERS = 'system:masters';

/** Machines that show a bootstrap token (cluster-bootstrap/token/api). */
export const BOOTSTRAPPERS = 'system:bootstrappers';
/** Machines that have joined; their users' names begin with NODE_PREFIX. */
export const NODES = 'system:nodes';
export const NODE_PREFIX = 'system:node:';

export const ANONYMOUS: User = { name: 'system:anonymous', groups: [UNAUTHENTICATED] };

/** Whoever may open the unix socket (mode 0600) is root on this machine. */
export const ROOT_USER: User = { name: 'system:admin', groups: [MASTERS, AUTHENTICATED] };
