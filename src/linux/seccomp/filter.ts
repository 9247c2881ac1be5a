/**
 * The default profile as a filter of the kernel's: a program for the BPF machine over `struct seccomp_data`
 * (Documentation/userspace-api/seccomp_filter.rst, include/uapi/linux/seccomp.h), and its installation.
 */
import koffi from 'koffi';
import { mapPrivate, munmap, SystemError } from '../ffi.ts';
import { AF_VSOCK, NAMESPACE_FLAGS, PERSONALITIES, type SeccompRules } from './profile.ts';
import { syscallsOf } from './syscalls.ts';

/** include/uapi/linux/audit.h */
const AUDIT_ARCH: Readonly<Partial<Record<NodeJS.Architecture, number>>> = {
  x64: 0xc000_003e,
  arm64: 0xc000_00b7,
  riscv64: 0xc000_00f3,
  loong64: 0xc000_0102,
};
/** Calls of the x32 ABI have this bit (arch/x86/include/uapi/asm/unistd.h). */
const X32_BIT = 0x4000_0000;

/** BPF_LD | BPF_W | BPF_ABS, BPF_JMP | BPF_JEQ/JGT/JSET | BPF_K, BPF_RET | BPF_K (linux/bpf_common.h). */
const LOAD = 0x20;
const JUMP_EQUAL = 0x15;
const JUMP_GREATER = 0x25;
const JUMP_SET = 0x45;
const RETURN = 0x06;
const INSTRUCTION_BYTES = 8;
const MAX_INSTRUCTIONS = 4096;

/** struct seccomp_data: nr, arch, instruction pointer, six arguments; their low halves on a little-endian machine. */
const NUMBER = 0;
const ARCH = 4;
const argument = (i: number): number => 16 + 8 * i;

const ALLOW = 0x7fff_0000;
const fail = (error: number): number => 0x0005_0000 | error;
const EPERM = fail(1);
const ENOSYS = fail(38);
const EAFNOSUPPORT = fail(97);

type Instruction = readonly [code: number, k: number, ifTrue?: number, ifFalse?: number];

/** Is there a filter for this machine's architecture? */
export const hasFilter = (arch: NodeJS.Architecture = process.arch): boolean => AUDIT_ARCH[arch] !== undefined;

/**
 * The program. Calls of another ABI, and calls that are newer than the profile, fail with ENOSYS, as on a kernel without
 * them, so that programs use what was there before.
 */
export function seccompFilter(
  { denied, namespaces }: SeccompRules,
  arch: NodeJS.Architecture = process.arch,
): Instruction[] {
  const known = syscallsOf(arch);
  const numberOf = (name: string): number => known.get(name)!;
  const last = Math.max(...known.values());
  const refuse = (name: string, error: number): Instruction[] => [
    [JUMP_EQUAL, numberOf(name), 0, 1],
    [RETURN, error],
  ];
  const whenArgument = (name: string, checks: readonly Instruction[]): Instruction[] => [
    [JUMP_EQUAL, numberOf(name), 0, checks.length + 1],
    [LOAD, argument(0)],
    ...checks,
  ];
  return [
    [LOAD, ARCH],
    [JUMP_EQUAL, AUDIT_ARCH[arch]!, 1, 0],
    [RETURN, ENOSYS],
    [LOAD, NUMBER],
    ...(arch === 'x64' ? ([[JUMP_SET, X32_BIT, 1, 0]] as Instruction[]) : []),
    [JUMP_GREATER, last, 0, 1],
    [RETURN, ENOSYS],
    ...denied.filter((name) => known.has(name)).flatMap((name) => refuse(name, EPERM)),
    ...(namespaces
      ? []
      : [
          ...refuse('clone3', ENOSYS),
          ...whenArgument('clone', [
            [JUMP_SET, NAMESPACE_FLAGS, 0, 1],
            [RETURN, EPERM],
            [RETURN, ALLOW],
          ]),
        ]),
    ...whenArgument('socket', [
      [JUMP_EQUAL, AF_VSOCK, 0, 1],
      [RETURN, EAFNOSUPPORT],
      [RETURN, ALLOW],
    ]),
    ...whenArgument('personality', [
      ...PERSONALITIES.map((value, i): Instruction => [JUMP_EQUAL, value, PERSONALITIES.length - i, 0]),
      [RETURN, EPERM],
      [RETURN, ALLOW],
    ]),
    [RETURN, ALLOW],
  ];
}

const libc = koffi.load('libc.so.6');
const prctl = libc.func('int prctl(int option, unsigned long a, uintptr_t b, unsigned long c, unsigned long d)') as (
  option: number,
  a: number,
  b: number,
  c: number,
  d: number,
) => number;
const PR_SET_SECCOMP = 22;
const SECCOMP_MODE_FILTER = 2;
/** struct sock_fprog: a count and a pointer. */
const PROGRAM_BYTES = 16;

/**
 * Install it for the calling thread, and what it executes; not for others of this process. Needs CAP_SYS_ADMIN, or
 * no_new_privs. @throws SystemError
 */
export function installFilter(filter: readonly Instruction[]): void {
  if (filter.length > MAX_INSTRUCTIONS) throw new Error(`a filter of ${filter.length} instructions is too long`);
  const memory = mapPrivate(PROGRAM_BYTES + filter.length * INSTRUCTION_BYTES);
  const view = new DataView(memory.buffer);
  view.setUint16(0, filter.length, true);
  view.setBigUint64(8, BigInt(memory.address + PROGRAM_BYTES), true);
  for (const [i, [code, k, ifTrue = 0, ifFalse = 0]] of filter.entries()) {
    const at = PROGRAM_BYTES + i * INSTRUCTION_BYTES;
    view.setUint16(at, code, true);
    view.setUint8(at + 2, ifTrue);
    view.setUint8(at + 3, ifFalse);
    view.setUint32(at + 4, k, true);
  }
  const result = prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, memory.address, 0, 0);
  if (result !== 0) throw new SystemError('prctl', 'PR_SET_SECCOMP');
  munmap(memory.address, memory.bytes);
}
