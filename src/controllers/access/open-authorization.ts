/** Roles and bindings in a cluster that authorizes everyone: they are stored, and whoever writes one is warned. */
import type { Admission, Admissions } from '../../api/store/registry.ts';

/** One text for all four kinds: clients print the same warning once. */
const message = 'roles and bindings have no effect in this cluster: it was started with --authorization open';

const warning: Admission<never> = { warn: () => [{ path: '', message }] };

export const openAuthorization: Admissions = {
  Role: warning,
  RoleBinding: warning,
  ClusterRole: warning,
  ClusterRoleBinding: warning,
};
