/** What an agent takes over from the tables of the agent before it. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Rec, recordAt, StateWord } from '../../../native-free-dataplane/conntrack/record.ts';
import { nextGeneration, routeGeneration } from '../../../native-free-dataplane/node/config.ts';
import { openNodeTables } from '../../../src/agent/tables.ts';

const options = { nodeName: `test-tables-${process.pid}`, workers: 1, maxConntrack: 1024, nowMs: 1000 };

test('connections that the standby forwards are left alone, but for their hops, which are numbers of the former table', () => {
  const former = openNodeTables({ ...options, log: () => {} });
  for (let change = 0; change < 5; change++) nextGeneration(former.node);
  const { conntrack } = former;
  const at = recordAt(conntrack, 0);
  const written = Array.from({ length: conntrack.recordWords }, (_, word) => 1000 + word);
  conntrack.words.set(written, at);
  conntrack.words[at + Rec.ROUTED] = (3 << 16) | routeGeneration(former.node);
  conntrack.state[StateWord.WATERMARK] = 1;

  const next = openNodeTables({ ...options, inUse: true, log: () => {} });
  try {
    const { words } = next.conntrack;
    const routed = words[at + Rec.ROUTED]!;
    assert.is(routed >>> 16, 3);
    const record = [...words.subarray(at, at + conntrack.recordWords)];
    assert.equal(record.toSpliced(Rec.ROUTED, 1), written.toSpliced(Rec.ROUTED, 1));
    // Neither that one, nor one that the standby enters again, is ever taken for current.
    for (let change = 0; change < 10_000; change++, nextGeneration(next.node)) {
      assert.is.not(routeGeneration(next.node), routed & 0xffff);
      assert.is.not(routeGeneration(next.node), routeGeneration(former.node));
    }
  } finally {
    former.close();
    next.close(true);
  }
});

test('connections that cannot be taken over are reported', () => {
  openNodeTables({ ...options, log: () => {} }).close();
  const lines: string[] = [];
  openNodeTables({ ...options, maxConntrack: 2048, log: (line) => lines.push(line) }).close(true);
  assert.equal(lines, [
    '0 connections of the previous agent end: its table was for 1024 connections, this one is for 2048',
  ]);
});

test.run();
