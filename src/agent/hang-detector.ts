/**
 * Decides whether a worker thread hangs, from its count of turns and from what the kernel reports about the thread.
 *
 * Elapsed time proves nothing: on a busy machine a healthy thread may wait for a processor longer than any limit. A thread
 * counts as hung if it completes no turn although it has used more processor time than a turn takes, is stopped by a
 * debugger, or is blocked in a system call outside its wait for frames. Durations are counted in looks, not in time, so
 * that a process that was stopped as a whole (SIGSTOP) or slept with the machine is not blamed on its threads.
 *
 * linux fs/proc/array.c do_task_stat (state letters), kernel/sched/stats.h and fs/proc/base.c proc_pid_schedstat.
 */
import { closeSync, openSync, readSync } from 'node:fs';

/** How often to look, milliseconds. */
export const LOOK_MS = 20;
/** Processor time of one turn: 64 frames take 0.1 ms, and 3 ms in V8's interpreter. */
const TURN_CPU_MS = 50;
/**
 * Looks in /proc after which a thread counts as hung: stopped by a tracer, or frozen (a control group's freezer shows a sleeping
 * thread as waiting uninterruptibly); blocked in a system call; asleep (it wakes up every second).
 */
const HALTED_LOOKS = 2;
const BLOCKED_LOOKS = 6;
const ASLEEP_LOOKS = 150;
/** A sleeping thread is looked up in /proc every so many looks: most threads sleep most of the time. */
export const SLEEPER_LOOKS = 3;

/** What a thread has published about itself (worker/control.ts). */
export interface ThreadSample {
  /** Its id in the kernel; 0 while it has not started. */
  readonly thread: number;
  /** Turns completed. */
  readonly turns: number;
  /** Is it waiting for frames? */
  readonly sleeping: boolean;
}

/** Watches one worker. */
export class HangDetector {
  private thread = 0;
  private turns = 0;
  private cpuMs = 0;
  private looks = 0;
  private haltedLooks = 0;
  private blockedLooks = 0;
  private readonly files: [stat: number, schedstat: number] = [-1, -1];
  private readonly bytes = Buffer.alloc(512);

  /**
   * @param looks of LOOK_MS since the last one: SLEEPER_LOOKS while all threads sleep
   * @returns why the thread counts as hung; undefined if it does not
   */
  look(sample: ThreadSample, looks = 1): string | undefined {
    if (sample.thread !== this.thread) this.follow(sample.thread);
    if (sample.thread === 0) return undefined;
    if (sample.turns !== this.turns || this.looks === 0) {
      this.turns = sample.turns;
      this.cpuMs = this.readCpuMs();
      this.looks = 1;
      this.haltedLooks = 0;
      this.blockedLooks = 0;
      return undefined;
    }
    this.looks += looks;
    if (sample.sleeping && looks < SLEEPER_LOOKS && this.looks % SLEEPER_LOOKS !== 0) return undefined;
    const letter = this.readState();
    const isHalted = letter === 't' || letter === 'T' || (sample.sleeping && letter === 'D');
    this.haltedLooks = isHalted ? this.haltedLooks + 1 : 0;
    if (this.haltedLooks >= HALTED_LOOKS) return 'is stopped';
    const runnable = letter === 'R';
    if (sample.sleeping) return !runnable && this.looks >= ASLEEP_LOOKS ? 'does not wake up' : undefined;
    const usedMs = this.readCpuMs() - this.cpuMs;
    if (usedMs > TURN_CPU_MS) return `has used ${Math.round(usedMs)} ms of processor time in one turn`;
    // In a row: a thread that has waited long for a processor may wait for something else when it gets one.
    this.blockedLooks = runnable ? 0 : this.blockedLooks + 1;
    return this.blockedLooks >= BLOCKED_LOOKS ? 'is blocked in a system call' : undefined;
  }

  /** Stop watching, and forget the thread. */
  close(): void {
    this.follow(0);
  }

  private follow(thread: number): void {
    this.thread = thread;
    this.looks = 0;
    this.haltedLooks = 0;
    this.blockedLooks = 0;
    for (const [i, name] of ['stat', 'schedstat'].entries()) {
      if (this.files[i]! >= 0) closeSync(this.files[i]!);
      this.files[i] = thread === 0 ? -1 : openIfPresent(`/proc/self/task/${thread}/${name}`);
    }
  }

  private read(file: number): string {
    if (file < 0) return '';
    try {
      return this.bytes.toString('latin1', 0, readSync(file, this.bytes, 0, this.bytes.length, 0));
    } catch {
      return ''; // ESRCH: the thread has ended.
    }
  }

  /** The kernel's state letter of the thread; '' if it has ended. */
  private readState(): string {
    const text = this.read(this.files[0]);
    return text.charAt(text.lastIndexOf(')') + 2);
  }

  /** Processor time used so far; 0 if the kernel was built without schedstats. */
  private readCpuMs(): number {
    return Number.parseInt(this.read(this.files[1]), 10) / 1e6 || 0;
  }
}

function openIfPresent(path: string): number {
  try {
    return openSync(path, 'r');
  } catch {
    return -1;
  }
}
