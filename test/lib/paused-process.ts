/**
 * A process that gets no processor for a while: all its threads are stopped, as a debugger stops them. Its supervisor ends a
 * process stopped by SIGSTOP within 100 ms, and one that is traced after two seconds (src/linux/life-signs.ts).
 *
 * ptrace(2): PTRACE_SEIZE, PTRACE_INTERRUPT, and a wait for each thread before it can be detached.
 */
import { readdirSync } from 'node:fs';
import koffi from 'koffi';

const PTRACE_SEIZE = 0x4206;
const PTRACE_INTERRUPT = 0x4207;
const PTRACE_DETACH = 17;
/** Of linux/wait.h: also for threads that are no children of this process. */
const WALL = 0x40000000;

const libc = koffi.load('libc.so.6');
const ptrace = libc.func('long ptrace(long request, int thread, uintptr_t address, uintptr_t data)') as (
  request: number,
  thread: number,
  address: number,
  data: number,
) => number;
const waitpid = libc.func('int waitpid(int thread, uintptr_t status, int options)') as (
  thread: number,
  status: number,
  options: number,
) => number;

/** Stops all threads of a process. @returns lets them go on @throws Error if the kernel refuses */
export function pause(pid: number): () => void {
  const stopped = new Map<number, () => void>();
  const goOn = () => {
    for (const each of stopped.values()) each();
  };
  // A thread that still runs may start another.
  for (let fresh = threadsOf(pid); fresh.length > 0; fresh = threadsOf(pid).filter((thread) => !stopped.has(thread))) {
    try {
      for (const thread of fresh) stopped.set(thread, pauseThread(thread));
    } catch (error) {
      goOn();
      throw error;
    }
  }
  return goOn;
}

/** Stops one thread of any process. @returns lets it go on @throws Error if the kernel refuses */
export function pauseThread(thread: number): () => void {
  const calls = [ptrace(PTRACE_SEIZE, thread, 0, 0), ptrace(PTRACE_INTERRUPT, thread, 0, 0)];
  if (calls.includes(-1) || waitpid(thread, 0, WALL) !== thread) throw new Error(`thread ${thread} cannot be stopped`);
  return () => void ptrace(PTRACE_DETACH, thread, 0, 0);
}

const threadsOf = (pid: number): number[] => readdirSync(`/proc/${pid}/task`).map(Number);
