/** The default profile as a runtime's configuration has it (runtime-spec 1.0, config-linux.md, "Seccomp"). */
import { AF_VSOCK, NAMESPACE_FLAGS, PERSONALITIES, type SeccompRules } from '../../linux/seccomp/profile.ts';
import { syscallsOf } from '../../linux/seccomp/syscalls.ts';

const EPERM = 1;
const ENOSYS = 38;
const ARCHITECTURES: Readonly<Partial<Record<NodeJS.Architecture, readonly string[]>>> = {
  x64: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86'],
  arm64: ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM'],
};
/** Calls that only the 32-bit ABIs have. */
const OLDER =
  '_llseek _newselect chown32 clock_getres_time64 clock_gettime64 clock_nanosleep_time64 fadvise64_64 fchown32 fcntl64 ' +
  'fstat64 fstatat64 fstatfs64 ftruncate64 futex_time64 getegid32 geteuid32 getgid32 getgroups32 getresgid32 ' +
  'getresuid32 getuid32 io_pgetevents_time64 ipc lchown32 lstat64 mmap2 mq_timedreceive_time64 mq_timedsend_time64 nice ' +
  'ppoll_time64 pselect6_time64 recv recvmmsg_time64 rt_sigtimedwait_time64 sched_rr_get_interval_time64 ' +
  'semtimedop_time64 send sendfile64 setfsgid32 setfsuid32 setgid32 setgroups32 setregid32 setresgid32 setresuid32 ' +
  'setreuid32 setuid32 sigaction signal sigpending sigprocmask sigreturn sigsuspend socketcall stat64 statfs64 ' +
  'timer_gettime64 timer_settime64 timerfd_gettime64 timerfd_settime64 truncate64 ugetrlimit utimensat_time64 waitpid';

interface Argument {
  index: 0;
  value: number;
  valueTwo?: number;
  op: 'SCMP_CMP_EQ' | 'SCMP_CMP_NE' | 'SCMP_CMP_MASKED_EQ';
}

interface Rule {
  names: readonly string[];
  action: 'SCMP_ACT_ALLOW' | 'SCMP_ACT_ERRNO';
  errnoRet?: number;
  args?: Argument[];
}

const allow = (name: string, arg: Argument): Rule => ({ names: [name], action: 'SCMP_ACT_ALLOW', args: [arg] });

/** What is not in the list does not exist for the container: calls that are newer than the profile. */
export function ociSeccomp({ denied, namespaces }: SeccompRules): object {
  const judged = ['socket', 'personality', ...(namespaces ? [] : ['clone', 'clone3'])];
  const withheld = new Set([...denied, ...judged]);
  const known = syscallsOf();
  const names = [...new Set([...known.keys(), ...OLDER.split(' ')])].filter((name) => !withheld.has(name));
  const syscalls: Rule[] = [
    { names, action: 'SCMP_ACT_ALLOW' },
    { names: denied.filter((name) => known.has(name)), action: 'SCMP_ACT_ERRNO', errnoRet: EPERM },
    allow('socket', { index: 0, value: AF_VSOCK, op: 'SCMP_CMP_NE' }),
    ...PERSONALITIES.map((value) => allow('personality', { index: 0, value, op: 'SCMP_CMP_EQ' })),
    ...(namespaces ? [] : cloneRules()),
  ];
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: ENOSYS,
    architectures: ARCHITECTURES[process.arch] ?? [],
    syscalls,
  };
}

/** Without new namespaces it is allowed; a flag of one fails with EPERM, as in unshare(2). */
function cloneRules(): Rule[] {
  const flags = Array.from({ length: 32 }, (_, bit) => 2 ** bit).filter(
    (flag) => Math.floor(NAMESPACE_FLAGS / flag) % 2 === 1,
  );
  return [
    allow('clone', { index: 0, value: NAMESPACE_FLAGS, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }),
    ...flags.map(
      (flag): Rule => ({
        names: ['clone'],
        action: 'SCMP_ACT_ERRNO',
        errnoRet: EPERM,
        args: [{ index: 0, value: flag, valueTwo: flag, op: 'SCMP_CMP_MASKED_EQ' }],
      }),
    ),
  ];
}
