/** Seccomp filters: what the program of the default profile returns for each system call, and that the kernel takes it. */
import { spawnSync } from 'node:child_process';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { seccompFilter } from '../../../../src/linux/seccomp/filter.ts';
import { AF_VSOCK, defaultProfile, NAMESPACE_FLAGS } from '../../../../src/linux/seccomp/profile.ts';
import { syscallsOf } from '../../../../src/linux/seccomp/syscalls.ts';
import { testUnless, whyNoRoot } from '../../../lib/test-unless.ts';

const test = suite('seccomp filter');
const DOCKER = ['chown', 'kill', 'net_bind_service', 'sys_chroot'];
const X64 = 0xc000_003e;

/** What the kernel's BPF machine returns for a call (Documentation/networking/filter.rst). */
function judge(filter: ReturnType<typeof seccompFilter>, nr: number, first = 0, arch = X64): string {
  const data = new Map([
    [0, nr],
    [4, arch],
    [16, first],
  ]);
  let accumulator = 0;
  for (let at = 0; at < filter.length; at++) {
    const [code, k, ifTrue = 0, ifFalse = 0] = filter[at]!;
    if (code === 0x20) accumulator = data.get(k)!;
    else if (code === 0x06) return k === 0x7fff_0000 ? 'allowed' : `errno ${k & 0xffff}`;
    else {
      const holds = code === 0x15 ? accumulator === k : code === 0x25 ? accumulator > k : (accumulator & k) >>> 0 !== 0;
      at += holds ? ifTrue : ifFalse;
    }
  }
  return 'ran off the end';
}

const x64 = syscallsOf('x64');
const verdict = (name: string, capabilities: readonly string[] | undefined, first = 0): string =>
  judge(seccompFilter(defaultProfile(capabilities), 'x64'), x64.get(name)!, first);

test('every known call has one verdict: what is denied by name fails with EPERM, the rest is allowed', () => {
  const rules = defaultProfile(DOCKER);
  const filter = seccompFilter(rules, 'x64');
  for (const [name, number] of x64) {
    const expected = rules.denied.includes(name) ? 'errno 1' : name === 'clone3' ? 'errno 38' : 'allowed';
    assert.is(judge(filter, number), expected, name);
  }
});

test('mounting, modules, keys and io_uring are denied; what programs need is not', () => {
  for (const name of [
    'mount',
    'setns',
    'unshare',
    'init_module',
    'bpf',
    'keyctl',
    'io_uring_setup',
    'kexec_load',
    'reboot',
  ])
    assert.is(verdict(name, DOCKER), 'errno 1', name);
  for (const name of [
    'read',
    'execve',
    'capset',
    'setuid',
    'prctl',
    'ptrace',
    'chroot',
    'futex',
    'openat2',
    'file_setattr',
  ])
    assert.is(verdict(name, DOCKER), 'allowed', name);
});

test('a capability permits its calls', () => {
  assert.is(verdict('chroot', []), 'errno 1');
  assert.is(verdict('mount', ['sys_admin']), 'allowed');
  assert.is(verdict('clone3', ['sys_admin']), 'allowed');
  assert.is(verdict('bpf', ['bpf']), 'allowed');
  assert.is(verdict('settimeofday', undefined), 'allowed');
  assert.is(verdict('keyctl', undefined), 'errno 1');
});

test('clone may make a thread or a process, and no namespace', () => {
  for (let bit = 0; bit < 32; bit++) {
    const flag = 2 ** bit;
    const isNamespace = (flag & NAMESPACE_FLAGS) >>> 0 !== 0;
    assert.is(verdict('clone', DOCKER, flag), isNamespace ? 'errno 1' : 'allowed', flag.toString(16));
  }
});

test('vsock sockets and unusual personalities are refused', () => {
  assert.is(verdict('socket', DOCKER, 2), 'allowed');
  assert.is(verdict('socket', DOCKER, AF_VSOCK), 'errno 97');
  assert.is(verdict('personality', DOCKER, 0xffff_ffff), 'allowed');
  assert.is(verdict('personality', DOCKER, 0x4_0000), 'errno 1');
});

test('calls of another ABI, and calls newer than the profile, do not exist', () => {
  const filter = seccompFilter(defaultProfile(DOCKER), 'x64');
  assert.is(judge(filter, x64.get('read')!, 0, 0x4000_0003), 'errno 38');
  assert.is(judge(filter, 0x4000_0000 + 1), 'errno 38');
  assert.is(judge(filter, Math.max(...x64.values()) + 1), 'errno 38');
});

test('the two tables agree on calls since Linux 5.1, and hold every call that the profile names', () => {
  const generic = syscallsOf('arm64');
  for (const [name, number] of x64) if (number >= 424) assert.is(generic.get(name), number, name);
  const old = ['uselib', 'ustat', 'sysfs', '_sysctl', 'create_module', 'get_kernel_syms', 'query_module', 'afs_syscall']
    .concat(['tuxcall', 'security', 'vserver', 'getpmsg', 'putpmsg', 'epoll_ctl_old', 'epoll_wait_old'])
    .concat(['ioperm', 'iopl']);
  for (const name of defaultProfile([]).denied) {
    assert.ok(x64.has(name), name);
    assert.is(generic.has(name), !old.includes(name), name);
  }
});

// Without no_new_privs the kernel requires CAP_SYS_ADMIN.
testUnless(whyNoRoot(), test)('the kernel accepts the filter, and applies it to what is executed', () => {
  const module = new URL('../../../../src/linux/seccomp/filter.js', import.meta.url);
  const script = `
    const { installFilter, seccompFilter } = await import(${JSON.stringify(module.href)});
    const { execute } = await import(${JSON.stringify(new URL('../execute.js', module).href)});
    const { takeCredentials } = await import(${JSON.stringify(new URL('../credentials.js', module).href)});
    const credentials = { uid: process.getuid(), gid: process.getgid(), groups: [], capabilities: undefined };
    if (process.getuid() === 0) takeCredentials({ ...credentials, noNewPrivileges: true });
    installFilter(seccompFilter({ denied: ['unshare'], namespaces: false }));
    execute('/bin/sh', ['sh', '-c', 'grep ^Seccomp: /proc/self/status; unshare --user true'], ['PATH=/usr/bin:/bin']);`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  assert.match(stdout, /^Seccomp:\t2$/m, stderr);
  assert.match(stderr, 'Operation not permitted');
});

test.run();
