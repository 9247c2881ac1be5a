/**
 * What a `securityContext` means for a container's process: user, groups, capabilities, and what it may gain. A field of
 * the container replaces the pod's.
 */
import type { Container, Pod, PodSecurityContext, SecurityContext } from '../../api/types/objects.ts';
import { ContainerConfigError } from '../files/config-source.ts';

/** The capabilities that Docker and containerd grant by default. */
const DEFAULT_CAPABILITIES: readonly string[] =
  'chown dac_override fsetid fowner mknod net_raw setgid setuid setfcap setpcap net_bind_service sys_chroot kill audit_write'.split(
    ' ',
  );

export interface Privileges {
  /** Undefined: root. */
  user: number | undefined;
  group: number | undefined;
  /** Supplementary groups. */
  groups: readonly number[];
  /** Names without `cap_`; undefined: all of them. */
  capabilities: readonly string[] | undefined;
  /** Programs that it executes gain nothing by set-user-ID or file capabilities. */
  noNewPrivileges: boolean;
  /** Its system calls are filtered: seccompProfile RuntimeDefault. */
  filtered: boolean;
}

/**
 * @param imageUser `USER` of the image; programs of the catalogue run as root
 * @throws ContainerConfigError if the container would run as root and must not
 */
export function privilegesOf(pod: Pod, container: Container, imageUser = ''): Privileges {
  const own: SecurityContext = container.securityContext ?? {};
  const common: PodSecurityContext = pod.spec.securityContext ?? {};
  const user = own.runAsUser ?? common.runAsUser;
  const profile = own.privileged === true ? undefined : (own.seccompProfile ?? common.seccompProfile);
  if (profile?.type === 'Localhost')
    throw new ContainerConfigError(
      `cannot load seccomp profile "${profile.localhostProfile}": only RuntimeDefault is available`,
    );
  if (own.runAsNonRoot ?? common.runAsNonRoot) refuseRoot(pod, container, user, imageUser);
  return {
    user,
    group: own.runAsGroup ?? common.runAsGroup,
    groups: [...(common.supplementalGroups ?? []), ...(common.fsGroup === undefined ? [] : [common.fsGroup])],
    capabilities: capabilitiesOf(own),
    noNewPrivileges: own.allowPrivilegeEscalation === false,
    // Without a profile there is no filter, as kubelet does it; a privileged container has none (security_context.go).
    filtered: profile?.type === 'RuntimeDefault',
  };
}

/** With kubelet's texts (kuberuntime/security_context.go, verifyRunAsNonRoot). */
function refuseRoot({ metadata }: Pod, { name }: Container, user: number | undefined, imageUser: string): void {
  const [named = ''] = imageUser.split(':');
  const numeric = /^\d*$/.test(named);
  if (user === undefined ? numeric && Number(named) !== 0 : user !== 0) return;
  const where = `(pod: "${metadata.name}_${metadata.namespace}(${metadata.uid})", container: ${name})`;
  const why =
    user === 0
      ? "container's runAsUser breaks non-root policy"
      : numeric
        ? 'container has runAsNonRoot and image will run as root'
        : `container has runAsNonRoot and image has non-numeric user (${named}), cannot verify user is non-root`;
  throw new ContainerConfigError(`${why} ${where}`);
}

function capabilitiesOf({ privileged, capabilities }: SecurityContext): readonly string[] | undefined {
  if (privileged === true || capabilities?.add?.includes('ALL')) return undefined;
  const plain = (names: string[] | undefined) => (names ?? []).map((name) => name.toLowerCase().replace(/^cap_/, ''));
  const dropped = new Set(plain(capabilities?.drop));
  const kept = dropped.has('all') ? [] : DEFAULT_CAPABILITIES.filter((name) => !dropped.has(name));
  return [...new Set([...kept, ...plain(capabilities?.add)])];
}

/** Command prefix that reduces root's privileges to these. */
export function privilegeCommand({ user, group, groups, capabilities, noNewPrivileges }: Privileges): string[] {
  const words: string[] = [];
  if (capabilities !== undefined) {
    const set = ['-all', ...capabilities.map((name) => `+${name}`)].join(',');
    words.push('--inh-caps=-all', `--bounding-set=${set}`);
  }
  const changesUser = user !== undefined || group !== undefined;
  if (changesUser) words.push(`--reuid=${user ?? 0}`, `--regid=${group ?? 0}`);
  if (groups.length > 0) words.push(`--groups=${groups.join(',')}`);
  else if (changesUser) words.push('--clear-groups');
  if (noNewPrivileges) words.push('--no-new-privs');
  return words.length === 0 ? [] : ['setpriv', ...words, '--'];
}
