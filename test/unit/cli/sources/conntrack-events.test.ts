/** `conntrack --follow`: events of a node's ring in the order in which they happened. */
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { EventKind, publishEvent, stampEvents } from '../../../../native-free-dataplane/conntrack/events.ts';
import { conntrackBytes, createConntrack } from '../../../../native-free-dataplane/conntrack/record.ts';
import { type FlowEvent, followFlows } from '../../../../src/cli/sources/conntrack-events.ts';
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
      stampEvents(table, atMs);
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

test.run();
