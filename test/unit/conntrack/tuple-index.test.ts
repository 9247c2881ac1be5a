/** The index of the connection table: both tuples of a record are found, and none is entered twice. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { conntrackBytes, Status } from '../../../native-free-dataplane/conntrack/record.ts';
import { entryCount } from '../../../native-free-dataplane/conntrack/shares.ts';
import { removeRecord } from '../../../native-free-dataplane/conntrack/tuple-index.ts';
import { addFlow, conntrackTable, findFlow } from '../../lib/conntrack-table.ts';

for (const addressWords of [1, 4]) {
  test(`a flow is found by both of its tuples (${addressWords} address words)`, () => {
    const ct = conntrackTable(1024, { addressWords });
    const record = addFlow(ct, 0x0a000102, 4000, 1000, 5000);
    assert.is(findFlow(ct, 0x0a000102, 4000), record << 1);
    assert.is(findFlow(ct, 0x0a000102, 4000, true), (record << 1) | 1);
    assert.is(findFlow(ct, 0x0a000102, 4001), -1);
    assert.is(entryCount(ct), 1);
    assert.ok(removeRecord(ct, record));
    assert.not.ok(removeRecord(ct, record), 'only the first remover did it');
    assert.is(findFlow(ct, 0x0a000102, 4000), -1);
    assert.is(entryCount(ct), 0);
  });
}

test('an IPv4 connection takes at most 128 bytes', () => {
  const million = 1 << 20;
  assert.ok(conntrackBytes({ addressWords: 1, max: million }) <= million * 128 + 1280 * 1024);
});

test('the same tuple is not inserted twice', () => {
  const ct = conntrackTable(1024);
  const first = addFlow(ct, 1, 1, 0, 5000);
  assert.is(addFlow(ct, 1, 1, 0, 5000), -1);
  assert.is(ct.found[0], first << 1);
});

test('half a million tuples at half load: every one is inserted and found', () => {
  const ct = conntrackTable(262_144);
  let made = 0;
  for (let i = 0; i < 240_000; i++) if (addFlow(ct, i, 5, 0, 60_000, Status.ASSURED) >= 0) made++;
  assert.is(made, 240_000);
  for (let i = 0; i < 240_000; i++) if (findFlow(ct, i, 5) < 0) assert.unreachable(`flow ${i} is lost`);
});

test.run();
