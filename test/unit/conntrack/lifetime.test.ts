/** Lifetime of records: allocation and quarantine, expiry, eviction from a full table, recovery after a crash. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  allocateRecord,
  expireRecords,
  freeRecord,
  freeRecords,
  isBehind,
  releaseLocksOf,
} from '../../../native-free-dataplane/conntrack/lifetime.ts';
import { Rec, recordAt, StateWord, Status } from '../../../native-free-dataplane/conntrack/record.ts';
import { recoverConntrack } from '../../../native-free-dataplane/conntrack/recovery.ts';
import { entryCount } from '../../../native-free-dataplane/conntrack/shares.ts';
import { stateOf, tcpBits } from '../../../native-free-dataplane/conntrack/tcp/connection.ts';
import { TcpState } from '../../../native-free-dataplane/conntrack/tcp/states.ts';
import { removeRecord } from '../../../native-free-dataplane/conntrack/tuple-index.ts';
import { lock } from '../../../native-free-dataplane/shared/spin-lock.ts';
import { conntrackFaults } from '../../lib/conntrack-check.ts';
import { addFlow, conntrackTable, findFlow } from '../../lib/conntrack-table.ts';

/** Word of a connection's state and flags among its TCP words (tcp/connection.ts). */
const TCP_BITS = 8;

test('a freed record is not reused for 20 ms, in which a packet may still hold it', () => {
  const table = conntrackTable(64);
  const record = allocateRecord(table, 0, 1000);
  freeRecord(table, record, 0, 1000);
  assert.is.not(allocateRecord(table, 0, 1019), record);
  assert.is(allocateRecord(table, 0, 1020), record);
});

test('freed records are reused in the order in which they were freed', () => {
  const table = conntrackTable(64);
  const records = [1, 2, 3].map(() => allocateRecord(table, 0, 1000));
  for (const [i, record] of records.entries()) freeRecord(table, record, 0, 1000 + i);
  assert.equal(
    records.map(() => allocateRecord(table, 0, 2000)),
    records,
  );
});

test('a packet in flight that refreshes a freed record delays its reuse by one quarantine, not by the refreshed timeout', () => {
  const table = conntrackTable(64);
  const record = allocateRecord(table, 0, 1000);
  freeRecord(table, record, 0, 1000);
  table.words[recordAt(table, record) + Rec.EXPIRES] = 1000 + 86_400_000;
  assert.is.not(allocateRecord(table, 0, 1100), record);
  assert.is(allocateRecord(table, 0, 1120), record);
});

test('if no record can be allocated the result is -1, and the table can be used again once one is freed', () => {
  const table = conntrackTable(16);
  const records = Array.from({ length: 16 }, () => allocateRecord(table, 0, 1000));
  assert.is(allocateRecord(table, 0, 1000), -1);
  freeRecord(table, records[3]!, 0, 1000);
  assert.is(allocateRecord(table, 0, 1010), -1, 'in quarantine');
  assert.is(allocateRecord(table, 0, 1020), records[3]);
});

test('one call expires at most 1024 records, and says that more are due', () => {
  const table = conntrackTable(8192);
  for (let n = 0; n < 3000; n++) addFlow(table, n, 1, 0, 1000);
  const ended: number[] = [];
  do ended.push(expireRecords(table, 0, 2000));
  while (isBehind(table, 0, 2000));
  assert.ok(Math.max(...ended) <= 1024, `${ended}`);
  assert.is(
    ended.reduce((sum, count) => sum + count),
    3000,
  );
  assert.is(entryCount(table), 0);
});

test('a TCP connection in TIME_WAIT or CLOSE is evicted although it is assured; one in another state is not', () => {
  for (let state: number = TcpState.SYN_SENT; state <= TcpState.SYN_SENT2; state++) {
    const table = conntrackTable(64);
    const records = Array.from({ length: 64 }, (_, i) => addFlow(table, i, 1, i * 30, 86_400_000, Status.ASSURED));
    for (const [i, record] of records.entries()) {
      const at = recordAt(table, record) + Rec.TCP;
      table.words[at + TCP_BITS] = i === 17 ? state : TcpState.ESTABLISHED;
      assert.is(stateOf(tcpBits(table.words, at)), i === 17 ? state : TcpState.ESTABLISHED);
    }
    for (let tries = 0; tries < 8; tries++) allocateRecord(table, 0, 10_000 + tries);
    const closed = state === TcpState.TIME_WAIT || state === TcpState.CLOSE;
    assert.is(findFlow(table, 17, 1) < 0, closed, `state ${state}`);
    assert.is(entryCount(table), closed ? 63 : 64, `state ${state}`);
  }
});

test('a worker evicts connections from the wheels of other workers too', () => {
  const table = conntrackTable(64, { workers: 2 });
  for (let i = 0; i < 64; i++) addFlow(table, i, 1, i * 30, 86_400_000, 0, 1);
  const entries = entryCount(table);
  assert.ok(entries > 32);
  allocateRecord(table, 0, 10_000);
  assert.is(entryCount(table), entries - 1);
});

test('the locks of a dead worker are released; those of others stay', () => {
  const table = conntrackTable(64, { workers: 2 });
  lock(table.locks, 3, 1);
  lock(table.locks, 4, 0);
  lock(table.state, StateWord.FREE_LOCK, 1);
  lock(table.state, StateWord.WHEELS, 1);
  releaseLocksOf(table, 1);
  assert.equal([table.locks[3], table.locks[4]], [0, 1]);
  assert.equal([table.state[StateWord.FREE_LOCK], table.state[StateWord.WHEELS]], [0, 0]);
});

test('a full table evicts connections that are not assured, never assured ones', () => {
  const ct = conntrackTable(1024);
  const assured: number[] = [];
  for (let i = 0; i < 512; i++) assured.push(addFlow(ct, 100 + i, 1, 0, 400_000, Status.ASSURED));
  let now = 0;
  let refused = 0;
  for (let i = 0; i < 10240; i++) {
    now += 1;
    if (addFlow(ct, 0x20000000 + i, 2, now, 120_000) < 0) refused++;
    if (now % 50 === 0) expireRecords(ct, 0, now);
  }
  assert.is(refused, 0, 'at 1000 new connections a second all are admitted');
  for (let i = 0; i < 512; i++) assert.is(findFlow(ct, 100 + i, 1), (assured[i] as number) << 1);
});

test('a table full of assured connections refuses a new one', () => {
  const ct = conntrackTable(256);
  let now = 0;
  let made = 0;
  for (let i = 0; i < 400; i++) {
    now += 30;
    if (addFlow(ct, i + 1, 1, now, 400_000_000, Status.ASSURED) >= 0) made++;
  }
  assert.is(made, 256);
});

test('a worker stopped for longer than a turn of its wheel catches up', () => {
  const ct = conntrackTable(65536);
  for (let n = 0; n < 3000; n++) addFlow(ct, n, 1, 0, 100_000);
  const calls: number[] = [];
  for (let now = 60_000, n = 0; now < 63_000; now += 64) {
    for (let i = 0; i < 100; i++) addFlow(ct, 1_000_000 + n++, 1, now, 1000);
    let called = 0;
    do expireRecords(ct, 0, now);
    while (++called < 50 && isBehind(ct, 0, now));
    assert.not(isBehind(ct, 0, now), `after ${called} calls at ${now}`);
    calls.push(called);
  }
  assert.ok(calls[0]! <= 10, `caught up in ${calls[0]} calls`);
  assert.equal([...new Set(calls.slice(1))], [1], 'and one call was enough from then on');
  assert.is(entryCount(ct), 3000 + 100 * 16, 'those that live for a second: sixteen ticks of them');
});

test('records expire at their time, wherever they were scheduled, and are reused', () => {
  const ct = conntrackTable(1024);
  const early = addFlow(ct, 1, 1, 0, 1000);
  const late = addFlow(ct, 2, 1, 0, 100_000);
  const shortened = addFlow(ct, 3, 1, 0, 100_000);
  ct.words[recordAt(ct, shortened) + Rec.EXPIRES] = 2000;
  for (let now = 0; now <= 1200; now += 64) expireRecords(ct, 0, now);
  assert.is(findFlow(ct, 1, 1), -1);
  assert.is(findFlow(ct, 2, 1), late << 1);
  for (let now = 1200; now <= 20_000; now += 64) expireRecords(ct, 0, now);
  assert.is(findFlow(ct, 3, 1), -1, 'a shortened life ends within the horizon');
  assert.is(findFlow(ct, 2, 1), late << 1);
  for (let now = 20_000; now <= 120_000; now += 500) expireRecords(ct, 0, now);
  assert.is(entryCount(ct), 0);
  assert.is(freeRecords(ct), 1024);
  assert.ok(early >= 0);
});

test('churn conserves records: each is live or free', () => {
  const ct = conntrackTable(4096);
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
      const record = addFlow(ct, src, 7, now, 1_000_000, Status.ASSURED);
      if (record >= 0) live.set(src, record);
    }
    if (step % 100 === 0) expireRecords(ct, 0, now);
  }
  assert.is(entryCount(ct), live.size);
  for (const [src, record] of live) assert.is(findFlow(ct, src, 7), record << 1);
  now += 20_000;
  for (let i = 0; i < 400; i++) {
    now += 64;
    expireRecords(ct, 0, now);
  }
  assert.is(freeRecords(ct) + live.size, 4096);
});

test('recovery: index, wheels and counts are rebuilt from the records alone', () => {
  const ct = conntrackTable(4096);
  const flows = new Map<number, number>();
  for (let i = 1; i <= 3000; i++) flows.set(i, addFlow(ct, i, 9, 1000, i % 3 === 0 ? 500 : 60_000));
  ct.index.fill(-1);
  ct.shares.fill(0);
  ct.state[StateWord.FREE_LOCK] = 7;
  const live = recoverConntrack(ct, 2000, 2);
  assert.is(live, 2000);
  for (const [i, record] of flows) assert.is(findFlow(ct, i, 9), i % 3 === 0 ? -1 : record << 1);
  assert.is(freeRecords(ct), 4096 - 2000);
  assert.equal(conntrackFaults(ct), []);
  assert.ok(addFlow(ct, 5000, 9, 2100, 1000) >= 0);
});

test.run();
