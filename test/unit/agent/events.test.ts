/** Events of a node: repetitions are counted, similar events are combined, and the events of one object are limited. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EventRecorder } from '../../../src/agent/events.ts';
import { ApiError } from '../../../src/api/errors.ts';
import type { EventObject, KubeObject, Status } from '../../../src/api/types/objects.ts';

const pod = (name: string): KubeObject =>
  ({ apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace: 'default', uid: `uid-${name}` } }) as KubeObject;

interface Trial {
  recorder: EventRecorder;
  events: Map<string, EventObject>;
  clock: { ms: number };
  /** Events as `reason message xCOUNT`. */
  lines: () => Promise<string[]>;
}

function trial(): Trial {
  const events = new Map<string, EventObject>();
  const clock = { ms: Date.UTC(2026, 0, 1) };
  const client = {
    create: async (event: EventObject) => {
      events.set(event.metadata.name, event);
      return event;
    },
    patch: async (_kind: string, name: string, change: object) => {
      const old = events.get(name);
      if (old === undefined) throw new ApiError({ code: 404, reason: 'NotFound' } as Status);
      events.set(name, { ...old, ...change });
      return events.get(name);
    },
  };
  const lines = async () => {
    await new Promise((done) => setTimeout(done, 1));
    return [...events.values()].map(({ reason, message, count }) => `${reason} ${message} x${count}`);
  };
  return { recorder: new EventRecorder(client as never, 'n1', () => clock.ms), events, clock, lines };
}

test('a repeated event is counted, with the time of its last repetition', async () => {
  const { recorder, events, clock, lines } = trial();
  for (let i = 0; i < 3; i++) {
    recorder.record(pod('a'), 'Warning', 'Unhealthy', 'probe failed');
    clock.ms += 10_000;
  }
  recorder.record(pod('a'), 'Warning', 'Unhealthy', 'another message');
  recorder.record(pod('b'), 'Warning', 'Unhealthy', 'probe failed');
  assert.equal(await lines(), [
    'Unhealthy probe failed x3',
    'Unhealthy another message x1',
    'Unhealthy probe failed x1',
  ]);
  const [first] = events.values();
  assert.is(first!.firstTimestamp, '2026-01-01T00:00:00Z');
  assert.is(first!.lastTimestamp, '2026-01-01T00:00:20Z');
  assert.equal(first!.source, { component: 'kubelet', host: 'n1' });
});

test('events about different containers of a pod are apart, each with the path of its own', async () => {
  const { recorder, events, lines } = trial();
  for (const name of ['a', 'b', 'a']) {
    recorder.record(pod('p'), 'Warning', 'BackOff', 'restarting', `spec.containers{${name}}`);
  }
  assert.equal(await lines(), ['BackOff restarting x2', 'BackOff restarting x1']);
  assert.equal(
    [...events.values()].map(({ involvedObject }) => involvedObject.fieldPath),
    ['spec.containers{a}', 'spec.containers{b}'],
  );
});

test('an event that has expired is created again, with the count so far', async () => {
  const { recorder, events, lines } = trial();
  recorder.record(pod('a'), 'Normal', 'Started', 'it runs');
  await lines();
  events.clear();
  recorder.record(pod('a'), 'Normal', 'Started', 'it runs');
  assert.equal(await lines(), ['Started it runs x2']);
  recorder.record(pod('a'), 'Normal', 'Started', 'it runs');
  assert.equal(await lines(), ['Started it runs x3']);
});

test('from the eleventh on, different messages with one reason within ten minutes share one event', async () => {
  const { recorder, clock, lines } = trial();
  for (let i = 1; i <= 13; i++) recorder.record(pod('a'), 'Warning', 'Failed', `try ${i}`);
  const found = await lines();
  assert.is(found.length, 11);
  assert.is(found[9], 'Failed try 10 x1');
  assert.is(found[10], 'Failed (combined from similar events): try 13 x3');
  clock.ms += 11 * 60_000;
  recorder.record(pod('a'), 'Warning', 'Failed', 'try 14');
  assert.ok((await lines()).includes('Failed try 14 x1'));
});

test('one object can cause 25 events at once and then one every five minutes; others are not affected', async () => {
  const { recorder, clock, lines } = trial();
  for (let i = 0; i < 100; i++) recorder.record(pod('a'), 'Warning', 'Unhealthy', 'probe failed');
  assert.equal(await lines(), ['Unhealthy probe failed x25']);
  recorder.record(pod('b'), 'Warning', 'Unhealthy', 'probe failed');
  clock.ms += 5 * 60_000;
  for (let i = 0; i < 100; i++) recorder.record(pod('a'), 'Warning', 'Unhealthy', 'probe failed');
  assert.equal(await lines(), ['Unhealthy probe failed x26', 'Unhealthy probe failed x1']);
});

test.run();
