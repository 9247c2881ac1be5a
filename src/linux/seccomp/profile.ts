/**
 * Which system calls a container with `seccompProfile: RuntimeDefault` may make. Our own profile, with the purpose and the
 * conditions of the one that container engines use by default (containerd, contrib/seccomp/seccomp_default.go): what a
 * container would need a capability for anyway, what is older than namespaces and knows nothing of them, and what has
 * let programs out of containers before. A capability that the container has been given permits its calls.
 */

/** No container may make them. */
const NEVER: readonly string[] =
  // Keys and pages are not separated by namespaces; the kernel itself; interfaces that have been replaced.
  (
    'add_key keyctl request_key kexec_load kexec_file_load swapon swapoff pivot_root migrate_pages move_pages ' +
    'userfaultfd io_uring_setup io_uring_enter io_uring_register nfsservctl uselib ustat sysfs _sysctl create_module ' +
    'get_kernel_syms query_module afs_syscall tuxcall security vserver getpmsg putpmsg epoll_ctl_old epoll_wait_old'
  ).split(' ');

/** One of these capabilities is needed. */
const BY_CAPABILITY: readonly (readonly [capabilities: string, calls: string])[] = [
  [
    'sys_admin',
    'fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount open_tree open_tree_attr ' +
      'quotactl quotactl_fd setdomainname sethostname setns umount2 unshare lsm_set_self_attr',
  ],
  ['sys_admin bpf', 'bpf'],
  ['sys_admin perfmon', 'perf_event_open'],
  ['sys_admin syslog', 'syslog'],
  ['dac_read_search', 'open_by_handle_at'],
  ['sys_boot', 'reboot'],
  ['sys_chroot', 'chroot'],
  ['sys_module', 'delete_module init_module finit_module'],
  ['sys_nice', 'get_mempolicy mbind set_mempolicy set_mempolicy_home_node'],
  ['sys_pacct', 'acct'],
  ['sys_ptrace', 'kcmp pidfd_getfd process_madvise'],
  ['sys_rawio', 'ioperm iopl'],
  ['sys_time', 'clock_settime settimeofday'],
  ['sys_tty_config', 'vhangup'],
];

/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET (linux/sched.h), in the first argument of clone(2). */
export const NAMESPACE_FLAGS = 0x7e02_0000;
/** Reaches the hypervisor past every network namespace. */
export const AF_VSOCK = 40;
/** personality(2) may ask for the present one, and choose Linux, 32 bits or the uname of 2.6; not e.g. ADDR_NO_RANDOMIZE. */
export const PERSONALITIES: readonly number[] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

export interface SeccompRules {
  /** They fail with EPERM. */
  denied: readonly string[];
  /** New namespaces may be made; if not, clone(2) with NAMESPACE_FLAGS fails with EPERM, and clone3(2), whose flags a filter cannot see, with ENOSYS. */
  namespaces: boolean;
}

/** @param capabilities without `cap_`; undefined: all of them */
export function defaultProfile(capabilities: readonly string[] | undefined): SeccompRules {
  const has = (names: string): boolean =>
    capabilities === undefined || names.split(' ').some((name) => capabilities.includes(name));
  const withheld = BY_CAPABILITY.filter(([names]) => !has(names)).flatMap(([, calls]) => calls.split(' '));
  return { denied: [...NEVER, ...withheld], namespaces: has('sys_admin') };
}
