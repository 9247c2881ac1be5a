/** What the pool of workers knows of one of them, across all threads that run it one after the other. */
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { eventfd, SystemError } from '../linux/ffi.ts';
import type { PortOfWorker } from '../worker/messages.ts';
import { HangDetector } from './hang-detector.ts';

const EFD_NONBLOCK_CLOEXEC = 0o4000 | 0o2000000;

export interface Thread {
  readonly wakeFd: number;
  messages: MessagePort;
  readonly ports: Map<number, PortOfWorker>;
  /** Number of the last change sent to it. */
  changesSent: number;
  /** Number of its current task (ControlWord.RUN). */
  run: number;
  startedMs: number;
  backoffMs: number;
  /** When it failed, within the last STEADY_MS. */
  failures: number[];
  /** Since when it does not forward; undefined while it does. */
  absentSinceMs: number | undefined;
  readonly detector: HangDetector;
  /** Ends the current task. */
  abort: AbortController;
}

/** A worker that has not run yet. @throws SystemError */
export function newThread(): Thread {
  const wakeFd = eventfd(0, EFD_NONBLOCK_CLOEXEC);
  if (wakeFd < 0) throw new SystemError('eventfd', '');
  return {
    wakeFd,
    messages: new MessageChannel().port1,
    ports: new Map(),
    changesSent: 0,
    run: 0,
    startedMs: 0,
    backoffMs: 0,
    failures: [],
    absentSinceMs: undefined,
    detector: new HangDetector(),
    abort: new AbortController(),
  };
}
