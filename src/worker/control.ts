/**
 * Control memory: one block of words per worker, through which the agent and its workers communicate without messages,
 * and from which any process can read whether a worker is alive.
 */
import {
  H_OWN,
  HEADER_WORDS,
  headerMatches,
  TableKind,
  writeHeader,
} from '../../native-free-dataplane/shared/layout.ts';

const VERSION = 2;
const CONTROL_WORDS_PER_WORKER = 32;

/** Word where the lock of the agent's main thread begins (linux/robust-lock.ts). */
export const LIFE_LOCK_AT: number = H_OWN;

/** Words of a worker's block. */
export const ControlWord = {
  /**
   * Number of the task that is to run. A thread leaves its loop at the next batch if this is not the number it was started
   * with, and pauses while it is its negative. Written by the agent; 0: stop.
   */
  RUN: 0,
  /** Failure that the thread is to have at its next batch. Written by tests, and by hand to watch it being replaced. */
  FAIL: 1,
  /** ThreadState. */
  STATE: 2,
  /** Low 32 bits of the monotonic milliseconds of the last batch. */
  HEARTBEAT_MS: 3,
  /** Turns completed, of ports and of the loop; wraps. A thread whose number stands still may hang (hang-detector.ts). */
  TURNS: 4,
  /** Restarts of the worker after a crash. */
  RESTARTS: 5,
  /** Thread id (gettid) of the worker. */
  THREAD: 6,
  /** Number of the last PortChange that the worker has applied. */
  CHANGES_DONE: 7,
  /** Low 32 bits of the monotonic milliseconds of the last crash; 0 when there was none. Written by the agent. */
  CRASHED_MS: 8,
  /** Node's number of the thread (node:worker_threads threadId). */
  NODE_THREAD: 9,
} as const;

/** Values of ControlWord.FAIL: throw an error; loop forever. */
export const Failure = { NONE: 0, THROW: 1, HANG: 2 } as const;

export const ThreadState = {
  ABSENT: 0,
  RUNNING: 1,
  SLEEPING: 2,
  CRASHED: 3,
  STOPPED: 4,
  STARTING: 5,
  PAUSED: 6,
} as const;
export const THREAD_STATE_NAMES: readonly string[] = [
  'absent',
  'running',
  'sleeping',
  'crashed',
  'stopped',
  'starting',
  'paused',
];

/** Is a thread in this state forwarding, or waiting for frames? */
export function isLooping(state: number): boolean {
  return state === ThreadState.RUNNING || state === ThreadState.SLEEPING;
}

/** Bytes of control memory for `workers` workers. */
export function controlBytes(workers: number): number {
  return (HEADER_WORDS + workers * CONTROL_WORDS_PER_WORKER) * 4;
}

/** Lay out control memory. @returns all its words */
export function createControl(buffer: ArrayBuffer): Int32Array {
  const words = new Int32Array(buffer);
  writeHeader(words, TableKind.CONTROL, VERSION, new Int32Array(4));
  return words;
}

/** Map existing control memory; undefined if the memory holds something else. */
export function attachControl(buffer: ArrayBuffer): Int32Array | undefined {
  const words = new Int32Array(buffer);
  return headerMatches(words, TableKind.CONTROL, VERSION) ? words : undefined;
}

/** Index of a worker's word. */
export function controlAt(worker: number, word: number): number {
  return HEADER_WORDS + worker * CONTROL_WORDS_PER_WORKER + word;
}
