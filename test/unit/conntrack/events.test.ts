import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  advanceClock,
  EVENT_RECORD,
  EventKind,
  eventHead,
  eventMicros,
  eventTime,
  expireFollower,
  FOLLOW_MS,
  follow,
  isFollowed,
  NOT_YET,
  OVERTAKEN,
  publishEvent,
  readEvent,
  stampEvents,
} from '../../../native-free-dataplane/conntrack/events.ts';
import {
  type Conntrack,
  conntrackBytes,
  createConntrack,
  EVENT_SLOTS,
  EVENT_WORDS,
  Rec,
  recordAt,
} from '../../../native-free-dataplane/conntrack/record.ts';
import { recoverConntrack } from '../../../native-free-dataplane/conntrack/recovery.ts';
import { flowText } from '../../../native-free-dataplane/print/record.ts';
import { TestNode } from '../../lib/test-node.ts';

const test = suite('conntrack events');

const OPTIONS = { addressWords: 1, max: 64, workers: 1, secret: new Int32Array([1, 2, 3, 4]) };
const make = (): Conntrack => createConntrack(new ArrayBuffer(conntrackBytes(OPTIONS)), OPTIONS);

test('a follower counts as attached for three seconds', () => {
  const table = make();
  assert.not(isFollowed(table));
  follow(table, 1000);
  expireFollower(table, 1000 + FOLLOW_MS);
  assert.ok(isFollowed(table));
  expireFollower(table, 1001 + FOLLOW_MS);
  assert.not(isFollowed(table));
});

test('events come in order, each with a copy of its record at that moment', () => {
  const table = make();
  const copy = new Int32Array(EVENT_WORDS);
  const first = eventHead(table);
  assert.is(readEvent(table, first, copy), NOT_YET);
  for (const [kind, packets] of [
    [EventKind.NEW, 1],
    [EventKind.UPDATE, 2],
    [EventKind.DESTROY, 3],
  ] as const) {
    table.words[recordAt(table, 5) + Rec.PACKETS_ORIGINAL] = packets;
    publishEvent(table, kind, 5);
  }
  table.words[recordAt(table, 5) + Rec.PACKETS_ORIGINAL] = 99;
  for (const [i, kind] of [EventKind.NEW, EventKind.UPDATE, EventKind.DESTROY].entries()) {
    assert.is(readEvent(table, first + i, copy), kind);
    assert.is(copy[EVENT_RECORD + Rec.PACKETS_ORIGINAL], i + 1);
  }
  assert.is(readEvent(table, first + 3, copy), NOT_YET);
});

test('an event carries the time of its batch, and no timestamp is written without a follower', () => {
  const table = make();
  const copy = new Int32Array(EVENT_WORDS);
  stampEvents(table, 500, 0);
  publishEvent(table, EventKind.NEW, 0);
  follow(table, 1000);
  stampEvents(table, 2 ** 32 + 1001, 250);
  publishEvent(table, EventKind.UPDATE, 0);
  readEvent(table, 0, copy);
  assert.is(eventTime(copy), 0);
  readEvent(table, 1, copy);
  assert.is(eventTime(copy), 1001, 'milliseconds wrap at 32 bits');
  assert.is(eventMicros(copy), 250);
  advanceClock(table, 2 ** 32 + 1001);
  publishEvent(table, EventKind.UPDATE, 0);
  readEvent(table, 2, copy);
  assert.equal([eventTime(copy), eventMicros(copy)], [1001, 250], 'a follower does not set the clock back');
  advanceClock(table, 2 ** 32 + 1002);
  publishEvent(table, EventKind.UPDATE, 0);
  readEvent(table, 3, copy);
  assert.equal([eventTime(copy), eventMicros(copy)], [1002, 0]);
});

test('the longest record leaves room for the time in a slot', () => {
  const options = { ...OPTIONS, addressWords: 4, max: 1 };
  const table = createConntrack(new ArrayBuffer(conntrackBytes(options)), options);
  assert.ok(EVENT_RECORD + table.recordWords < EVENT_WORDS - 1);
});

test('a reader that is too slow gets OVERTAKEN, and can continue from the head', () => {
  const table = make();
  const copy = new Int32Array(EVENT_WORDS);
  for (let i = 0; i < EVENT_SLOTS + 1; i++) publishEvent(table, EventKind.NEW, 0);
  assert.is(readEvent(table, 0, copy), OVERTAKEN);
  assert.is(readEvent(table, 1, copy), EventKind.NEW);
});

test('recovery of the table keeps followers at their position', () => {
  const table = make();
  follow(table, 1000);
  publishEvent(table, EventKind.NEW, 0);
  recoverConntrack(table, 2000, 1);
  assert.is(eventHead(table), 1);
  assert.ok(isFollowed(table));
});

test('the events of a connection from creation to removal; nothing is written without a follower', () => {
  const node = new TestNode().pod('a', '10.244.1.2').pod('b', '10.244.1.3');
  const { conntrack } = node;
  node.receive('a', 'udp 10.244.1.2:1000 > 10.244.1.3:53 len 4');
  assert.is(eventHead(conntrack), 0);
  follow(conntrack, node.nowMs);
  node.receive('a', 'udp 10.244.1.2:1001 > 10.244.1.3:53 len 4');
  node.receive('b', 'udp 10.244.1.3:53 > 10.244.1.2:1001 len 4');
  const copy = new Int32Array(EVENT_WORDS);
  const seen: string[] = [];
  for (let i = 0; i < eventHead(conntrack); i++) {
    const kind = readEvent(conntrack, i, copy);
    const { original, status } = flowText(conntrack, copy, new Float64Array(copy.buffer), EVENT_RECORD, node.nowMs);
    seen.push(`${kind} ${original.src}:${original.srcPort} ${status.includes('SEEN_REPLY')}`);
  }
  assert.equal(seen, ['1 10.244.1.2:1001 false', '2 10.244.1.2:1001 true']);
});

test.run();
