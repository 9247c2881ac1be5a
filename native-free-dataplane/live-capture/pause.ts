/**
 * A pause of all workers of a node, so that another process can copy the tables: for a snapshot. Workers notice it where
 * they notice a capture that begins, between two turns, and go on when it is over or its time is up, whatever has become
 * of the process that asked for it.
 */
import { announceChange, type CaptureMemory, pausedAt, pauseWords } from './memory.ts';

/** The longest pause, milliseconds. */
export const PAUSE_MS = 50;

/** Ask for a pause; workers stop at their next turn. @returns its number */
export function beginPause(memory: CaptureMemory, nowMs: number): number {
  const { words } = memory;
  const { number, until } = pauseWords;
  const next = (Atomics.load(words, number) + 1) & 0x7fffffff || 1;
  Atomics.store(words, until, (nowMs + PAUSE_MS) | 0 || 1);
  Atomics.store(words, number, next);
  announceChange(memory);
  return next;
}

/** Let the workers go on. */
export function endPause({ words }: CaptureMemory): void {
  Atomics.store(words, pauseWords.until, 0);
}

/** Is there a pause, and time left? */
export function isPaused({ words }: CaptureMemory, nowMs: number): boolean {
  const until = Atomics.load(words, pauseWords.until);
  return until !== 0 && ((until - (nowMs | 0)) | 0) > 0;
}

/** A worker has stopped for the present pause. */
export function enterPause({ words }: CaptureMemory, worker: number): void {
  Atomics.store(words, pausedAt(worker), Atomics.load(words, pauseWords.number));
}

/** Has the worker stopped for this pause? */
export function hasStopped({ words }: CaptureMemory, worker: number, pause: number): boolean {
  return Atomics.load(words, pausedAt(worker)) === pause;
}
