import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Pod } from '../../../../src/api/types/objects.ts';
import { backOff, printDelay } from '../../../../src/runtime/container/back-off.ts';
import { podStatus } from '../../../../src/runtime/pod/status.ts';
import { type ContainerRecord, newRecord, type PodState } from '../../../../src/runtime/state.ts';

const facts = { hostIP: '172.18.0.11', nowMs: 5000, conditions: [] };

function status(records: Partial<ContainerRecord>[], restartPolicy: 'Always' | 'OnFailure' | 'Never' = 'Always') {
  const names = records.map((_, i) => `c${i}`);
  const pod = {
    metadata: { name: 'p', uid: 'u' },
    spec: { restartPolicy, containers: names.map((name) => ({ name, image: 'i' })) },
  } as unknown as Pod;
  const containers = Object.fromEntries(names.map((name, i) => [name, { ...newRecord(name), ...records[i] }]));
  const state = { podIP: '10.244.1.2', startedAtMs: 0, initialized: true, containers } as unknown as PodState;
  return podStatus(pod, state, facts);
}

const running: Partial<ContainerRecord> = { phase: 'running', ready: true, started: true, startedAtMs: 1000 };
const ended = (exitCode: number): Partial<ContainerRecord> => ({
  phase: 'terminated',
  ended: { exitCode, reason: exitCode === 0 ? 'Completed' : 'Error', startedAtMs: 1000, finishedAtMs: 2000 },
});
const ready = (s: ReturnType<typeof status>) => s.conditions?.find(({ type }) => type === 'Ready');

test('phases', () => {
  assert.is(status([{}, running]).phase, 'Pending');
  assert.is(status([running, running]).phase, 'Running');
  assert.is(status([running, ended(1)], 'Never').phase, 'Running');
  assert.is(status([ended(0), ended(0)], 'Never').phase, 'Succeeded');
  assert.is(status([ended(0), ended(1)], 'Never').phase, 'Failed');
  assert.is(status([ended(0), ended(1)], 'OnFailure').phase, 'Running');
  assert.is(status([ended(0)], 'Always').phase, 'Running');
});

test('the Ready condition names the containers that are not ready', () => {
  assert.is(ready(status([running, running]))?.status, 'True');
  const unready = ready(status([running, { ...running, ready: false }]));
  assert.is(unready?.message, 'containers with unready status: [c1]');
  assert.is(ready(status([ended(0)], 'Never'))?.reason, 'PodCompleted');
});

test('a container that waits for its restart shows its last termination as lastState', () => {
  const waiting = status([{ ...ended(3), phase: 'waiting', reason: 'CrashLoopBackOff' }]).containerStatuses?.[0];
  assert.is(waiting?.state?.waiting?.reason, 'CrashLoopBackOff');
  assert.is(waiting?.lastState?.terminated?.exitCode, 3);
  assert.is(waiting?.lastState?.terminated?.finishedAt, '1970-01-01T00:00:02Z');
});

test('a condition keeps its time while it does not change', () => {
  const pod = { metadata: { name: 'p', uid: 'u' }, spec: { containers: [] } } as unknown as Pod;
  const state = { podIP: '', startedAtMs: 0, initialized: true, containers: {} } as unknown as PodState;
  const since = '2020-01-01T00:00:00Z';
  const conditions = [{ type: 'Initialized', status: 'True' as const, lastTransitionTime: since }];
  const found = podStatus(pod, state, { ...facts, conditions }).conditions ?? [];
  assert.is(found.find(({ type }) => type === 'Initialized')?.lastTransitionTime, since);
  assert.is(found.find(({ type }) => type === 'Ready')?.lastTransitionTime, '1970-01-01T00:00:05Z');
});

test('back-off: none, 10 s, doubling to 5 min, reset after 10 minutes of running', () => {
  const record = newRecord('c');
  const delays: number[] = [];
  for (let i = 0; i < 8; i++) {
    backOff(record, 1000, 0, 10_000);
    delays.push(record.notBeforeMs / 1000);
  }
  assert.equal(delays, [0, 10, 20, 40, 80, 160, 300, 300]);
  backOff(record, 600_000, 0, 10_000);
  assert.is(record.notBeforeMs, 0);
  assert.equal([500, 10_000, 160_000].map(printDelay), ['500ms', '10s', '2m40s']);
});

test.run();
