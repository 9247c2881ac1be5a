/** Changes of a container's record when it waits, starts, or ends. `get pod` shows the result. */
import { createHash } from 'node:crypto';
import type { ContainerRecord } from '../state.ts';

/** It cannot run now, with the reason. */
export function recordWaiting(record: ContainerRecord, reason: string, message?: string): void {
  record.phase = 'waiting';
  record.reason = reason;
  record.message = message;
  record.ready = false;
  record.started = false;
}

/** A new instance is about to start. @param specHash of its spec; @param podUid makes its id unique */
export function recordStart(record: ContainerRecord, specHash: string, nowMs: number, podUid: string): void {
  if (record.ended !== undefined) record.last = record.ended;
  record.ended = undefined;
  record.phase = 'starting';
  record.restartCount = record.instances;
  record.instances++;
  record.specHash = specHash;
  record.startedAtMs = nowMs;
  const text = `${podUid}/${record.name}/${record.instances}`;
  record.containerID = `dataplane://${createHash('sha256').update(text).digest('hex')}`;
}

/** An instance has ended. @param reason if it is not Completed or Error, which follow from the exit code */
export function recordEnd(
  record: ContainerRecord,
  startedAtMs: number,
  finishedAtMs: number,
  exitCode: number,
  message: string | undefined,
  reason: string | undefined,
): void {
  record.phase = 'terminated';
  record.ready = false;
  record.started = false;
  record.process = undefined;
  record.ended = {
    exitCode,
    reason: reason ?? (exitCode === 0 ? 'Completed' : 'Error'),
    ...(message && { message }),
    startedAtMs,
    finishedAtMs,
    ...(record.containerID !== undefined && { containerID: record.containerID }),
  };
}
