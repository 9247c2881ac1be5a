/** How a container's record changes when it waits, is started, has ended. What `get pod` shows is made from it. */
import { createHash } from 'node:crypto';
import type { ContainerRecord } from '../state.ts';

/** It cannot run now, and why. */
export function recordWaiting(record: ContainerRecord, reason: string, message?: string): void {
  record.phase = 'waiting';
  record.reason = reason;
  record.message = message;
  record.ready = false;
  record.started = false;
}

/** A new instance is about to be started. @param specHash of what it is started from; @param podUid makes its id unique */
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

/** An instance has ended. @param reason when it is another than Completed or Error, as the exit code says */
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
