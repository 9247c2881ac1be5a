/** User, groups and capabilities of the calling thread, reduced before a program is executed (capabilities(7)). */
import koffi from 'koffi';
import { EINVAL, errno, SystemError } from './ffi.ts';

/** Names without `cap_`, in order of their numbers (include/uapi/linux/capability.h). */
export const CAPABILITIES: readonly string[] = (
  'chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service ' +
  'net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin ' +
  'sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap mac_override ' +
  'mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore'
).split(' ');

const PR_SET_DUMPABLE = 4;
const PR_CAPBSET_DROP = 24;
const PR_SET_NO_NEW_PRIVS = 38;
const PR_CAP_AMBIENT = 47;
const PR_CAP_AMBIENT_CLEAR_ALL = 4;
const CAPABILITY_VERSION_3 = 0x20080522;
/** struct __user_cap_header_struct; two of struct __user_cap_data_struct: effective, permitted, inheritable. */
const HEADER_BYTES = 8;
const DATA_BYTES = 24;

const libc = koffi.load('libc.so.6');
const prctl = libc.func(
  'int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)',
) as (option: number, a: number, b: number, c: number, d: number) => number;
const capset = libc.func('int capset(void *header, void *data)') as (header: Buffer, data: Buffer) => number;
const setgroups = libc.func('int setgroups(size_t count, void *groups)') as (count: number, groups: Buffer) => number;
const setresgid = libc.func('int setresgid(unsigned int real, unsigned int effective, unsigned int saved)') as (
  real: number,
  effective: number,
  saved: number,
) => number;
const setresuid = libc.func('int setresuid(unsigned int real, unsigned int effective, unsigned int saved)') as (
  real: number,
  effective: number,
  saved: number,
) => number;

export interface Credentials {
  uid: number;
  gid: number;
  /** Supplementary groups. */
  groups: readonly number[];
  /** Names without `cap_`; undefined: all. */
  capabilities: readonly string[] | undefined;
  noNewPrivileges: boolean;
}

/**
 * No process of another container may look into this one, even after it has given up its privileges: /proc/PID/exe is a
 * program of the host's (CVE-2019-5736). Executing a program ends this. @throws SystemError
 */
export function hideFromOthers(): void {
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) !== 0) throw new SystemError('prctl', 'PR_SET_DUMPABLE');
}

/** Become this user, with these capabilities at most. What is given up cannot be had again. @throws SystemError */
export function takeCredentials({ uid, gid, groups, capabilities, noNewPrivileges }: Credentials): void {
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) !== 0) throw new SystemError('prctl', 'PR_CAP_AMBIENT');
  const kept = capabilities === undefined ? undefined : new Set(capabilities);
  // The kernel may know more capabilities than the list: those have no name to be asked for by.
  for (let number = 0; kept !== undefined && number < 64; number++) {
    if (kept.has(CAPABILITIES[number] ?? '')) continue;
    if (prctl(PR_CAPBSET_DROP, number, 0, 0, 0) === 0) continue;
    if (errno() === EINVAL && number >= CAPABILITIES.length - 1) break;
    throw new SystemError('prctl', `PR_CAPBSET_DROP ${CAPABILITIES[number]}`);
  }
  const list = Buffer.alloc(4 * groups.length);
  for (const [i, group] of groups.entries()) list.writeUInt32LE(group, 4 * i);
  if (setgroups(groups.length, list) !== 0) throw new SystemError('setgroups', groups.join(','));
  if (setresgid(gid, gid, gid) !== 0) throw new SystemError('setresgid', String(gid));
  if (setresuid(uid, uid, uid) !== 0) throw new SystemError('setresuid', String(uid));
  limitCapabilities(uid === 0 ? kept : new Set());
  if (noNewPrivileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) !== 0) {
    throw new SystemError('prctl', 'PR_SET_NO_NEW_PRIVS');
  }
}

/** Effective and permitted: those kept; inheritable: none (CVE-2022-29162). undefined: nothing is changed. */
function limitCapabilities(kept: ReadonlySet<string> | undefined): void {
  if (kept === undefined) return;
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32LE(CAPABILITY_VERSION_3, 0);
  const data = Buffer.alloc(DATA_BYTES);
  for (const [number, name] of CAPABILITIES.entries()) {
    if (!kept.has(name)) continue;
    const at = number < 32 ? 0 : 12;
    const bit = 2 ** (number % 32);
    data.writeUInt32LE(data.readUInt32LE(at) + bit, at);
    data.writeUInt32LE(data.readUInt32LE(at + 4) + bit, at + 4);
  }
  if (capset(header, data) !== 0) throw new SystemError('capset', [...kept].join(','));
}
