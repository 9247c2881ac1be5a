/** `dataplane top` and drops: what has happened since the previous measurement, from tables in shared memory. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  conntrackBytes,
  createConntrack,
  Rec,
  recordAt,
  StateWord,
  Status,
} from '../../../../native-free-dataplane/conntrack/record.ts';
import { addUnseenDrop } from '../../../../native-free-dataplane/drops/ring.ts';
import { countersBytes, createCounters } from '../../../../native-free-dataplane/shared/counters.ts';
import { Verdict } from '../../../../native-free-dataplane/verdicts.ts';
import { FlowRates } from '../../../../src/cli/sources/flow-rates.ts';
import { openShared } from '../../../../src/linux/shm.ts';
import { unlinkShared } from '../../../../src/linux/shm-files.ts';
import { NodeDrops } from '../../../../src/observe/drops/reader.ts';
import { memoryName } from '../../../../src/shm-names.ts';

const test = suite('load');
const NODE = `load-${process.pid}`;
const CONNTRACK = memoryName(NODE, 'conntrack');
const COUNTERS = memoryName(NODE, 'counters');
const SECRET = Int32Array.of(1, 2, 3, 4);
const SHAPE = { workers: 2, ports: 2, secret: SECRET };

test.after(() => {
  unlinkShared(CONNTRACK);
  unlinkShared(COUNTERS);
});

test('the connections with the most bytes since the last measurement come first, and a reused record starts at 0', () => {
  const options = { addressWords: 1, max: 8, workers: 1, secret: SECRET };
  const shared = openShared(CONNTRACK, { bytes: conntrackBytes(options), create: true });
  const table = createConntrack(shared.buffer, options);
  table.state[StateWord.WATERMARK] = 4;
  const carry = (record: number, port: number, bytes: number, packets: number): void => {
    const at = recordAt(table, record);
    table.words[at + Rec.META] = (6 << 16) | Status.CONFIRMED;
    table.words[at + Rec.TUPLES + 2] = port << 16;
    table.words[at + Rec.PACKETS_ORIGINAL] = packets;
    table.doubles[(at + Rec.BYTES_ORIGINAL) >> 1] = bytes;
  };
  carry(0, 1000, 500, 5);
  const rates = new FlowRates(NODE);
  const look = (most: number) =>
    rates.look(most).map(({ flow, bytes, packets }) => [flow.original.srcPort, bytes, packets]);
  assert.equal(look(3), [], 'what was carried before is not of this interval');
  carry(0, 1000, 700, 7);
  carry(1, 2000, 300, 3);
  carry(2, 3000, 100, 1);
  assert.equal(look(2), [
    [2000, 300, 3],
    [1000, 200, 2],
  ]);
  carry(0, 4000, 900, 9);
  assert.equal(look(8), [[4000, 900, 9]], 'another connection in the same record');
  table.words[recordAt(table, 0) + Rec.META] = (6 << 16) | Status.CONFIRMED | Status.DEAD;
  carry(1, 2000, 300, 3);
  assert.equal(look(8), [], 'ended, or idle');
  rates.close();
  shared.close();
});

test('drops are those since the last reading, and all of an agent that was started again', () => {
  const open = () => {
    const shared = openShared(COUNTERS, { bytes: countersBytes(SHAPE), create: true });
    return { shared, counters: createCounters(shared.buffer, SHAPE) };
  };
  const first = open();
  addUnseenDrop(first.counters.drops[0]!, Verdict.NO_ROUTE, 1);
  const drops = new NodeDrops(NODE);
  const look = (): number[] => {
    const found: number[] = [];
    assert.ok(drops.reopen());
    assert.is(
      drops.read(({ drop }) => found.push(drop.timeMs)),
      0,
    );
    return found;
  };
  assert.equal(look(), []);
  addUnseenDrop(first.counters.drops[0]!, Verdict.NO_ROUTE, 2);
  addUnseenDrop(first.counters.drops[1]!, Verdict.NO_ROUTE, 3);
  assert.equal(look(), [2, 3]);
  unlinkShared(COUNTERS);
  assert.not(drops.reopen(), 'the node is gone');
  const second = open();
  addUnseenDrop(second.counters.drops[1]!, Verdict.NO_ROUTE, 4);
  assert.equal(look(), [4]);
  drops.close();
  for (const { shared } of [first, second]) shared.close();
});

test.run();
