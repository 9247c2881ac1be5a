import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  allocateRecord,
  expireRecords,
  freeRecord,
  freeRecords,
  isBehind,
  recoverConntrack,
  scheduleRecord,
} from '../../../native-free-dataplane/conntrack/lifetime.ts';
import {
  type Conntrack,
  conntrackBytes,
  createConntrack,
  Rec,
  recordAt,
  StateWord,
  Status,
} from '../../../native-free-dataplane/conntrack/record.ts';
import {
  findTuple,
  hashTuple,
  InsertResult,
  insertRecord,
  removeRecord,
} from '../../../native-free-dataplane/conntrack/tuple-index.ts';

const SECRET = Int32Array.of(1, 2, 3, 4);

function table(max: number, addressWords = 1): Conntrack {
  const options = { addressWords, max, workers: 1, secret: SECRET };
  return createConntrack(new ArrayBuffer(conntrackBytes(options)), options);
}

/** Make and enter a flow src:port → 10.0.0.1:80; its record, or -1. */
function connect(ct: Conntrack, src: number, port: number, nowMs: number, ttlMs: number, status = 0): number {
  const record = allocateRecord(ct, 0, nowMs);
  if (record < 0) return -1;
  const at = recordAt(ct, record);
  ct.words.fill(0, at, at + ct.recordWords);
  ct.words[at + Rec.META] = (6 << 16) | status;
  ct.words[at + Rec.EXPIRES] = (nowMs + ttlMs) | 0;
  const a = ct.addressWords;
  const original = at + Rec.TUPLES;
  const reply = original + ct.tupleWords;
  ct.words[original + a - 1] = src;
  ct.words[original + 2 * a - 1] = 0x0a000001;
  ct.words[original + 2 * a] = (port << 16) | 80;
  ct.words[reply + a - 1] = 0x0a000001;
  ct.words[reply + 2 * a - 1] = src;
  ct.words[reply + 2 * a] = (80 << 16) | port;
  if (insertRecord(ct, record, 0) !== InsertResult.INSERTED) {
    freeRecord(ct, record, 0, nowMs);
    return -1;
  }
  scheduleRecord(ct, record, 0, nowMs);
  return record;
}

/** Reference of a direction of the flow, or -1. */
function find(ct: Conntrack, src: number, port: number, reply = false): number {
  const a = ct.addressWords;
  ct.key.fill(0);
  ct.key[reply ? 2 * a - 1 : a - 1] = src;
  ct.key[reply ? a - 1 : 2 * a - 1] = 0x0a000001;
  ct.key[2 * a] = reply ? (80 << 16) | port : (port << 16) | 80;
  ct.key[2 * a + 1] = 6;
  return findTuple(ct, hashTuple(ct, ct.key, 0, 6));
}

for (const addressWords of [1, 4]) {
  test(`a flow is found by both of its tuples (${addressWords} address words)`, () => {
    const ct = table(1024, addressWords);
    const record = connect(ct, 0x0a000102, 4000, 1000, 5000);
    assert.is(find(ct, 0x0a000102, 4000), record << 1);
    assert.is(find(ct, 0x0a000102, 4000, true), (record << 1) | 1);
    assert.is(find(ct, 0x0a000102, 4001), -1);
    assert.is(ct.state[StateWord.ENTRIES], 1);
    assert.ok(removeRecord(ct, record));
    assert.not.ok(removeRecord(ct, record), 'only the first remover did it');
    assert.is(find(ct, 0x0a000102, 4000), -1);
    assert.is(ct.state[StateWord.ENTRIES], 0);
  });
}

test('an IPv4 connection takes at most 128 bytes', () => {
  const million = 1 << 20;
  assert.ok(conntrackBytes({ addressWords: 1, max: million }) <= million * 128 + 1024 * 1024);
});

test('the same tuple is not inserted twice', () => {
  const ct = table(1024);
  const first = connect(ct, 1, 1, 0, 5000);
  assert.is(connect(ct, 1, 1, 0, 5000), -1);
  assert.is(ct.found[0], first << 1);
});

test('a full table evicts connections that are not assured, never assured ones', () => {
  const ct = table(1024);
  const assured: number[] = [];
  for (let i = 0; i < 512; i++) assured.push(connect(ct, 100 + i, 1, 0, 400_000, Status.ASSURED));
  let now = 0;
  let refused = 0;
  for (let i = 0; i < 10240; i++) {
    now += 1;
    if (connect(ct, 0x20000000 + i, 2, now, 120_000) < 0) refused++;
    if (now % 50 === 0) expireRecords(ct, 0, now);
  }
  assert.is(refused, 0, 'at 1000 new connections a second all are admitted');
  for (let i = 0; i < 512; i++) assert.is(find(ct, 100 + i, 1), (assured[i] as number) << 1);
});

test('a table full of assured connections refuses a new one', () => {
  const ct = table(256);
  let now = 0;
  let made = 0;
  for (let i = 0; i < 400; i++) {
    now += 30;
    if (connect(ct, i + 1, 1, now, 400_000_000, Status.ASSURED) >= 0) made++;
  }
  assert.is(made, 256);
});

test('a worker stopped for longer than a turn of its wheel catches up', () => {
  const ct = table(65536);
  for (let n = 0; n < 3000; n++) connect(ct, n, 1, 0, 100_000);
  const calls: number[] = [];
  for (let now = 60_000, n = 0; now < 63_000; now += 64) {
    for (let i = 0; i < 100; i++) connect(ct, 1_000_000 + n++, 1, now, 1000);
    let called = 0;
    do expireRecords(ct, 0, now);
    while (++called < 50 && isBehind(ct, 0, now));
    assert.not(isBehind(ct, 0, now), `after ${called} calls at ${now}`);
    calls.push(called);
  }
  assert.ok(calls[0]! <= 10, `caught up in ${calls[0]} calls`);
  assert.equal([...new Set(calls.slice(1))], [1], 'and one call was enough from then on');
  assert.is(ct.state[StateWord.ENTRIES], 3000 + 100 * 16, 'those that live for a second: sixteen ticks of them');
});

test('records expire at their time, wherever they were scheduled, and are reused', () => {
  const ct = table(1024);
  const early = connect(ct, 1, 1, 0, 1000);
  const late = connect(ct, 2, 1, 0, 100_000);
  const shortened = connect(ct, 3, 1, 0, 100_000);
  ct.words[recordAt(ct, shortened) + Rec.EXPIRES] = 2000;
  for (let now = 0; now <= 1200; now += 64) expireRecords(ct, 0, now);
  assert.is(find(ct, 1, 1), -1);
  assert.is(find(ct, 2, 1), late << 1);
  for (let now = 1200; now <= 20_000; now += 64) expireRecords(ct, 0, now);
  assert.is(find(ct, 3, 1), -1, 'a shortened life ends within the horizon');
  assert.is(find(ct, 2, 1), late << 1);
  for (let now = 20_000; now <= 120_000; now += 500) expireRecords(ct, 0, now);
  assert.is(ct.state[StateWord.ENTRIES], 0);
  assert.is(freeRecords(ct), 1024);
  assert.ok(early >= 0);
});

test('churn conserves records: each is live or free', () => {
  const ct = table(4096);
  let seed = 12345;
  const random = (): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) | 0;
    return seed >>> 8;
  };
  const live = new Map<number, number>();
  let now = 0;
  for (let step = 0; step < 60_000; step++) {
    now += random() % 3;
    const src = 1 + (random() % 3000);
    if (live.has(src) && random() % 2 === 0) {
      removeRecord(ct, live.get(src) as number);
      live.delete(src);
    } else if (!live.has(src)) {
      const record = connect(ct, src, 7, now, 1_000_000, Status.ASSURED);
      if (record >= 0) live.set(src, record);
    }
    if (step % 100 === 0) expireRecords(ct, 0, now);
  }
  assert.is(ct.state[StateWord.ENTRIES], live.size);
  for (const [src, record] of live) assert.is(find(ct, src, 7), record << 1);
  now += 20_000;
  for (let i = 0; i < 400; i++) {
    now += 64;
    expireRecords(ct, 0, now);
  }
  assert.is(freeRecords(ct) + live.size, 4096);
});

test('recovery: index, wheels and counts are rebuilt from the records alone', () => {
  const ct = table(4096);
  const flows = new Map<number, number>();
  for (let i = 1; i <= 3000; i++) flows.set(i, connect(ct, i, 9, 1000, i % 3 === 0 ? 500 : 60_000));
  ct.index.fill(-1);
  ct.state[StateWord.FREE_LOCK] = 7;
  const live = recoverConntrack(ct, 2000, 2);
  assert.is(live, 2000);
  for (const [i, record] of flows) assert.is(find(ct, i, 9), i % 3 === 0 ? -1 : record << 1);
  assert.is(freeRecords(ct), 4096 - 2000);
  assert.ok(connect(ct, 5000, 9, 2100, 1000) >= 0);
});

test('half a million tuples at half load: every one is inserted and found', () => {
  const ct = table(262_144);
  let made = 0;
  for (let i = 0; i < 240_000; i++) if (connect(ct, i, 5, 0, 60_000, Status.ASSURED) >= 0) made++;
  assert.is(made, 240_000);
  for (let i = 0; i < 240_000; i++) if (find(ct, i, 5) < 0) assert.unreachable(`flow ${i} is lost`);
});

test.run();
