/** When the operator is informed that connections are refused because no source port is free. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  countersBytes,
  countVerdict,
  createCounters,
  workerCounters,
} from '../../../../native-free-dataplane/shared/counters.ts';
import { Verdict } from '../../../../native-free-dataplane/verdicts.ts';
import { PortExhaustion } from '../../../../src/agent/connections/port-exhaustion.ts';

const shape = { workers: 2, ports: 4, secret: Int32Array.of(1, 2, 3, 4) };

test('refused connections are reported in the same second, then once a minute with their number', () => {
  const counters = createCounters(new ArrayBuffer(countersBytes(shape)), shape);
  const [one, two] = [workerCounters(counters, 0), workerCounters(counters, 1)];
  countVerdict(one, Verdict.REJECTED_PROHIBITED);
  const reports: string[] = [];
  const watch = new PortExhaustion(counters, (message) => reports.push(message));
  watch.check();
  assert.equal(reports, [], 'what a former agent has counted is old');
  countVerdict(two, Verdict.REJECTED_PROHIBITED);
  watch.check();
  assert.is(reports.length, 1);
  assert.match(reports[0]!, /^1 new connection refused: /);
  for (let second = 1; second < 60; second++) {
    countVerdict(one, Verdict.SNAT_EXHAUSTED);
    watch.check();
  }
  assert.is(reports.length, 1);
  watch.check();
  assert.is(reports.length, 2);
  assert.match(reports[1]!, /^59 new connections refused: /);
  for (let second = 0; second < 200; second++) watch.check();
  assert.is(reports.length, 2);
});

test.run();
