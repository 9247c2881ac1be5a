/**
 * The end of another process, noticed as soon as its main thread begins to exit: a robust mutex in shared memory, which the
 * kernel marks then (linux Documentation/locking/robust-futexes.rst, kernel/futex/core.c). Sockets and other locks are
 * released 10 to 50 ms later, when the memory of the process has been freed.
 *
 * pthread_mutexattr_setrobust(3), futex(2). A pthread_mutex_t begins with its futex word: id of the owner, and flags.
 */
import koffi from 'koffi';
import { SystemError } from './ffi.ts';

/** Of a pthread_mutex_t, on all architectures (48 on arm64, 40 on x86-64). */
export const LOCK_BYTES = 64;

const PTHREAD_PROCESS_SHARED = 1;
const PTHREAD_MUTEX_ROBUST = 1;
const SYS_FUTEX = process.arch === 'x64' ? 202 : 98;
const FUTEX_WAIT = 0;
const FUTEX_WAKE = 1;
const WAITERS = 0x8000_0000 | 0;
const OWNER_DIED = 0x4000_0000;

const libc = koffi.load('libc.so.6');
const attributesInit = libc.func('int pthread_mutexattr_init(void *attributes)') as (attributes: Buffer) => number;
const setShared = libc.func('int pthread_mutexattr_setpshared(void *attributes, int shared)') as (
  attributes: Buffer,
  shared: number,
) => number;
const setRobust = libc.func('int pthread_mutexattr_setrobust(void *attributes, int robust)') as (
  attributes: Buffer,
  robust: number,
) => number;
const mutexInit = libc.func('int pthread_mutex_init(uintptr_t mutex, void *attributes)') as (
  mutex: number,
  attributes: Buffer,
) => number;
const mutexLock = libc.func('int pthread_mutex_lock(uintptr_t mutex)') as (mutex: number) => number;
const futex = libc.func('long syscall(long number, uintptr_t word, int operation, int value, void *timeout)') as (
  number: number,
  word: number,
  operation: number,
  value: number,
  timeout: Buffer | null,
) => number;

/**
 * Lock zeroed shared memory for the life of the calling thread. The mapping must stay.
 * @param address multiple of 8, with LOCK_BYTES of memory
 * @throws SystemError
 */
export function holdForLife(address: number): void {
  const attributes = Buffer.alloc(16);
  const failed =
    attributesInit(attributes) ||
    setShared(attributes, PTHREAD_PROCESS_SHARED) ||
    setRobust(attributes, PTHREAD_MUTEX_ROBUST) ||
    mutexInit(address, attributes) ||
    mutexLock(address);
  if (failed !== 0) throw new SystemError('pthread_mutex', 'robust lock', failed);
}

/** Wake a thread that waits in `DeathWatch.wait`. */
export function wakeWatch(address: number): void {
  futex(SYS_FUTEX, address, FUTEX_WAKE, 1, null);
}

/** Watches the thread that holds a lock. */
export class DeathWatch {
  private readonly word: Int32Array;
  private readonly address: number;
  private readonly timeout: Buffer;

  /** @param word the first word of the lock, at `address` */
  constructor(word: Int32Array, address: number, timeoutMs: number) {
    this.word = word;
    this.address = address;
    this.timeout = Buffer.alloc(16);
    this.timeout.writeBigInt64LE(BigInt(Math.trunc(timeoutMs / 1000)), 0);
    this.timeout.writeBigInt64LE(BigInt((timeoutMs % 1000) * 1_000_000), 8);
  }

  /** Wait until the holder ends, `wakeWatch` is called, or the time is over. @returns whether it has ended */
  wait(): boolean {
    // The kernel wakes somebody only if this bit is set.
    const value = Atomics.or(this.word, 0, WAITERS) | WAITERS;
    if ((value & OWNER_DIED) === 0) futex(SYS_FUTEX, this.address, FUTEX_WAIT, value, this.timeout);
    return (Atomics.load(this.word, 0) & OWNER_DIED) !== 0;
  }
}
