/** `conntrack --follow`: events of a node's ring in the order in which they happened. */
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { EventKind, follow, publishEvent, stampEvents } from '../../../../native-free-dataplane/conntrack/events.ts';
import {
  type Conntrack,
  conntrackBytes,
  createConntrack,
  EVENT_SLOTS,
} from '../../../../native-free-dataplane/conntrack/record.ts';
import { type FlowEvent, followFlows, pastFlows } from '../../../../src/cli/sources/conntrack-events.ts';
import { monotonicMs } from '../../../../src/linux/clock.ts';
import { openShared } from '../../../../src/linux/shm.ts';
import { unlinkShared } from '../../../../src/linux/shm-files.ts';
import { memoryName } from '../../../../src/shm-names.ts';

const test = suite('conntrack events');
const NODE = `events-${process.pid}`;
const MEMORY = memoryName(NODE, 'conntrack');
const OPTIONS = { addressWords: 1, max: 16, workers: 1, secret: new Int32Array(4) };

test('a clock that a preempted thread set back does not change the order of events', async () => {
  const shared = openShared(MEMORY, { bytes: conntrackBytes(OPTIONS), create: true });
  try {
    const table = createConntrack(shared.buffer, OPTIONS);
    const seen: FlowEvent[] = [];
    const ended = new AbortController();
    const following = followFlows([NODE], {
      ended: ended.signal,
      onEvent: (event) => seen.push(event),
      onMissed: () => assert.unreachable('nothing is overwritten'),
    });
    const startMs = Math.floor(monotonicMs());
    for (const [kind, atMs] of [
      [EventKind.NEW, startMs],
      [EventKind.UPDATE, startMs - 1],
      [EventKind.DESTROY, startMs + 1],
    ] as const) {
      stampEvents(table, atMs, 0);
      publishEvent(table, kind, 0);
    }
    await sleep(100);
    ended.abort();
    await following;
    assert.equal(
      seen.map(({ kind }) => kind),
      ['NEW', 'UPDATE', 'DESTROY'],
    );
    assert.equal(
      seen.map(({ atMs }) => atMs - startMs),
      [0, 0, 1],
    );
  } finally {
    shared.close();
    unlinkShared(MEMORY);
  }
});

test('what an earlier follower caused to be recorded is read again, oldest first, and nothing that was never written', async () => {
  const shared = openShared(MEMORY, { bytes: conntrackBytes(OPTIONS), create: true });
  try {
    const table = createConntrack(shared.buffer, OPTIONS);
    assert.equal(pastFlows([NODE]), []);
    follow(table, monotonicMs());
    stampEvents(table, monotonicMs(), 0);
    for (const kind of [EventKind.NEW, EventKind.UPDATE, EventKind.DESTROY]) publishEvent(table, kind, 0);
    const kinds = (events: readonly FlowEvent[]) => events.map(({ kind }) => kind);
    assert.equal(kinds(pastFlows([NODE])), ['NEW', 'UPDATE', 'DESTROY']);
    const past: FlowEvent[] = [];
    const seen: FlowEvent[] = [];
    const ended = new AbortController();
    const following = followFlows([NODE], {
      ended: ended.signal,
      onPast: (events) => past.push(...events),
      onEvent: (event) => seen.push(event),
      onMissed: () => assert.unreachable('nothing is overwritten'),
    });
    stampEvents(table, monotonicMs(), 0);
    publishEvent(table, EventKind.NEW, 1);
    await sleep(100);
    ended.abort();
    await following;
    assert.equal(kinds(past), ['NEW', 'UPDATE', 'DESTROY']);
    assert.equal(kinds(seen), ['NEW'], 'an event is either past or new');
    for (let i = 0; i < EVENT_SLOTS; i++) publishEvent(table, EventKind.UPDATE, 0);
    assert.is(pastFlows([NODE]).length, EVENT_SLOTS, 'what was overwritten is gone');
  } finally {
    shared.close();
    unlinkShared(MEMORY);
  }
});

test('events of two nodes within one millisecond keep the order in which a packet passed them', async () => {
  const others = ['a', 'b'].map((end) => `${NODE}-${end}`);
  const memories = others.map((node) => ({ node, name: memoryName(node, 'conntrack') }));
  const shared = memories.map(({ name }) => openShared(name, { bytes: conntrackBytes(OPTIONS), create: true }));
  try {
    const [first, second] = shared.map(({ buffer }) => createConntrack(buffer, OPTIONS)) as [Conntrack, Conntrack];
    const atMs = monotonicMs();
    for (const table of [first, second]) follow(table, atMs);
    // The request at the second node, then at the first, and the answer.
    stampEvents(second, atMs, 100);
    publishEvent(second, EventKind.NEW, 0);
    stampEvents(first, atMs, 220);
    publishEvent(first, EventKind.NEW, 0);
    publishEvent(first, EventKind.UPDATE, 0);
    stampEvents(second, atMs, 300);
    publishEvent(second, EventKind.UPDATE, 0);
    assert.equal(
      pastFlows(others).map(({ node, kind }) => `${node.slice(-1)} ${kind}`),
      ['b NEW', 'a NEW', 'a UPDATE', 'b UPDATE'],
    );
  } finally {
    for (const each of shared) each.close();
    for (const { name } of memories) unlinkShared(name);
  }
});

test.run();
